"""The backlog of ideas for a language model: what it is shown, and what it says about it in its answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec.structs import replace

from core.agents.base import GIVEN, MOST_LATER, Context
from core.agents.llm import formats
from core.agents.llm.formats import Tier
from core.agents.llm.json_objects import objects_in
from core.agents.llm.quoting import BEGIN, END, data
from core.agents.search.steering import setting
from core.change import knobs
from core.charter.directions import Direction, NotUsable, parse
from core.model import Proposal, Value
from core.record import backlog

AMPLE = 2000  # characters from which the record has room for more than what is known
TITLE = "# The backlog\n\n"
TAKE = "Ideas that were not tried, the most urgent first. Take the first one that can work now, or propose something better."
Form = Tier | Literal["tool"]  # "tool": a coding agent, which changes the file and prints text
Moved = Mapping[str, tuple[Value, Value]]  # constant -> its values before and after
FOLLOWS: dict[Form, str] = {  # how an answer names the idea that it takes; the simplest format has no place for it
    "knob": "",
    "edits": 'If you take one, add "follows": its number.',
    "blocks": "If you take one, write the line FOLLOWS: its number, before the blocks.",
    "tool": "If you take one, print the line FOLLOWS: its number, before your last sentence.",
}
LATER: dict[Form, str] = {
    "knob": "",
    "edits": 'You may add "later": a list of at most two short ideas of yours for later experiments.',
    "blocks": "You may write at most two lines LATER: a short idea of yours for later experiments, before the blocks.",
    "tool": "",
}
_LINE = re.compile(r"^(?P<name>FOLLOWS|LATER):[ \t]*(?P<words>.*)$\n?", re.MULTILINE)
_TOOL_LINE = re.compile(r"^[ \t>*_`#-]*FOLLOWS:[ \t*_`]*(?P<words>.*)$\n?", re.MULTILINE)  # a tool may print Markdown
_NUMBER = re.compile(r"(?<![-.\d])[1-9]\d{0,2}(?![\d]|\.\d)")


def section(context: Context, tier: Form, room: int) -> str:
    """Return the first ideas as a part of a prompt, with at most `room` characters; "" for none.

    A model is asked for ideas of its own while there are fewer than it can be shown, and in a small context not at all.
    """
    later = LATER[tier] if len(context.backlog) < GIVEN and room >= AMPLE else ""
    left = room - len(f"{TITLE}{TAKE}\n{BEGIN}\n{END}\n{FOLLOWS[tier]} {later}")
    lines = []
    for number, idea in enumerate(context.backlog[:GIVEN], 1):
        line = f"{number}. {data(idea, backlog.LONGEST)}"
        left -= len(line) + 1
        if left < 0:
            break
        lines.append(line)
    if left < 0 and not lines:
        return ""
    shown = [TAKE, BEGIN, *lines, END, f"{FOLLOWS[tier]} {later}".strip()] if lines else [later]
    words = "\n".join(line for line in shown if line)
    return f"{TITLE}{words}" if words else ""


def parsed(tier: Tier, text: str, context: Context) -> Proposal:
    """Parse an answer into a proposal, with a note of the idea that it follows and of its ideas for later. Raises EditError."""
    proposal = formats.parse(tier, _LINE.sub("", text) if tier == "blocks" else text, context.source)
    number, later = _said_in_lines(text) if tier == "blocks" else _said_in_json(text)
    follows = _named(context, number) or _about(context, _moved(context, proposal))
    ideas = tuple(words for idea in later[-MOST_LATER:] if (words := backlog.bare(idea)))
    return replace(proposal, notes=replace(proposal.notes, follows=follows, later=ideas or None))


def of_tool(text: str, context: Context, source: str) -> tuple[str, str]:
    """Return the idea that a coding agent followed, "" for none, and its output without the lines that say so.

    Args:
        text: The output.
        context: What the agent was told.
        source: The train.py that it has left. If the output names no idea, the constants that moved show which one it was.
    """
    numbers = [number for match in _TOOL_LINE.finditer(text) if (number := _number(match["words"]))]
    try:
        follows = _named(context, numbers[-1] if numbers else 0) or _about(context, knobs.moved(context.source, source))
    except SyntaxError:  # the loop refuses it
        follows = ""
    return follows, _TOOL_LINE.sub("", text)


def _named(context: Context, number: int) -> str:
    """Return the idea that was shown with a number; "" for none."""
    return context.backlog[number - 1] if 1 <= number <= len(context.backlog[:GIVEN]) else ""


def _number(text: str) -> int:
    """Return the first number above 0 in the words; 0 for none."""
    match = _NUMBER.search(text)
    return int(match[0]) if match else 0


def _said_in_lines(text: str) -> tuple[int, list[str]]:
    """Return the number of the idea that a text follows, 0 for none, and its ideas for later."""
    fields = [(match["name"], match["words"]) for match in _LINE.finditer(text)]
    numbers = [number for name, words in fields if name == "FOLLOWS" and (number := _number(words))]
    return (numbers[-1] if numbers else 0), [words for name, words in fields if name == "LATER"]


def _said_in_json(text: str) -> tuple[int, list[str]]:
    """Return the same of the last JSON object that says it."""
    answers = [content for _, _, content in objects_in(text, lambda answer: "hypothesis" in answer)]
    number, later = _last(answers, "follows"), _last(answers, "later")
    given = _number(str(number)) if isinstance(number, int | str) and not isinstance(number, bool) else 0
    ideas = later if isinstance(later, list) else [later]
    return given, [idea for idea in ideas if isinstance(idea, str)]


def _last(objects: list[dict[str, Any]], name: str) -> Any:
    return next((content[name] for content in reversed(objects) if name in content), None)


def _moved(context: Context, proposal: Proposal) -> Moved:
    """Return the constants that a proposal says it moves, with their values before and after."""
    after = proposal.notes.knobs or {}
    return {knob.name: (knob.value, after[knob.name]) for knob in knobs.read(context.source) if knob.name in after}


def _about(context: Context, moved: Moved) -> str:
    """Return the first idea that asks for a move of a constant that was made; "" for none."""
    known = {knob.name for knob in knobs.read(context.source)} if moved else set()
    for idea in context.backlog[:GIVEN] if moved else ():
        try:
            wishes = parse(idea, known)
        except NotUsable:
            continue
        if any(
            _is_met(wish, name, moved[name], context.source) for wish in wishes for name in wish.names if name in moved
        ):
            return idea
    return ""


def _is_met(wish: Direction, name: str, values: tuple[Value, Value], source: str) -> bool:
    """Return whether a move of a constant is what a wish asks for: its value, its direction, or any move."""
    before, after = values
    if wish.kind == "set":
        try:
            return setting(wish, source)[name] == after
        except NotUsable:
            return False
    if wish.kind != "try" or not wish.way:
        return wish.kind == "try"
    if isinstance(before, str) or isinstance(after, str):
        return False  # words have no direction
    return after > before if wish.way == "up" else after < before
