"""The backlog of ideas for a language model: what it is shown, and what it says about it in its answer. Pure."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from core.agents.base import GIVEN, Context
from core.agents.llm import formats
from core.agents.llm.formats import Tier
from core.agents.llm.json_objects import objects_in
from core.agents.llm.quoting import BEGIN, END, data
from core.change import knobs
from core.charter.directions import NotUsable, parse
from core.model import Proposal
from core.record import backlog

AMPLE = 2000  # characters from which the record has room for more than what is known
MOST_LATER = 2  # ideas that an answer may add
TITLE = "# The backlog\n\n"
TAKE = "Ideas that were not tried, the most urgent first. Take the first one that can work now, or propose something better."
FOLLOWS: dict[Tier, str] = {  # how an answer names the idea that it takes; the simplest format has no place for it
    "knob": "",
    "edits": 'If you take one, add "follows": its number.',
    "blocks": "If you take one, write the line FOLLOWS: its number, before the blocks.",
}
LATER: dict[Tier, str] = {
    "knob": "",
    "edits": 'You may add "later": a list of at most two short ideas of yours for later experiments.',
    "blocks": "You may write at most two lines LATER: a short idea of yours for later experiments, before the blocks.",
}
_LINE = re.compile(r"^(?P<name>FOLLOWS|LATER):[ \t]*(?P<words>.*)$\n?", re.MULTILINE)


def section(context: Context, tier: Tier, room: int) -> str:
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
    follows = context.backlog[number - 1] if 1 <= number <= len(context.backlog[:GIVEN]) else _about(context, proposal)
    ideas = tuple(words for idea in later[-MOST_LATER:] if (words := backlog.bare(idea)))
    return replace(proposal, notes=replace(proposal.notes, follows=follows, later=ideas or None))


def _said_in_lines(text: str) -> tuple[int, list[str]]:
    """Return the number of the idea that a text follows, 0 for none, and its ideas for later."""
    said = [(match["name"], match["words"]) for match in _LINE.finditer(text)]
    numbers = [int(found[0]) for name, words in said if name == "FOLLOWS" and (found := re.search(r"\d{1,3}", words))]
    return (numbers[-1] if numbers else 0), [words for name, words in said if name == "LATER"]


def _said_in_json(text: str) -> tuple[int, list[str]]:
    """Return the same of the last JSON object that says it."""
    found = [content for _, _, content in objects_in(text, lambda one: "hypothesis" in one)]
    number, later = _last(found, "follows"), _last(found, "later")
    words = (
        re.search(r"\d{1,3}", str(number)) if isinstance(number, int | str) and not isinstance(number, bool) else None
    )
    ideas = later if isinstance(later, list) else [later]
    return (int(words[0]) if words else 0), [idea for idea in ideas if isinstance(idea, str)]


def _last(found: list[dict[str, Any]], name: str) -> Any:
    return next((content[name] for content in reversed(found) if name in content), None)


def _about(context: Context, proposal: Proposal) -> str:
    """Return the first idea that asks for a change of the constant that a proposal changes; "" for none."""
    changed = set(proposal.notes.knobs or {})
    if not changed:
        return ""
    known = {knob.name for knob in knobs.read(context.source)}
    for idea in context.backlog[:GIVEN]:
        try:
            wishes = parse(idea, known)
        except NotUsable:
            continue
        if any(wish.kind in ("try", "set") and changed & set(wish.names) for wish in wishes):
            return idea
    return ""
