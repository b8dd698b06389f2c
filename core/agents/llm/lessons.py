"""Lessons: what a language model is asked about a run so far, what it may answer, and how it is told again. Pure."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from core.agents.base import Context, LessonsLearned
from core.agents.llm import prompt, thoughts
from core.agents.llm.json_objects import Schema, objects_in
from core.agents.llm.prompt import Message
from core.agents.llm.quoting import BEGIN, END, data
from core.agents.llm.understanding import says_something
from core.change.edits import NotRead
from core.record import backlog
from core.text import sanitize_line

MOST, LONGEST = 5, 200  # lines, and characters of one
QUESTION = f"""\
You research a small language model. One file, train.py, is changed in small experiments, and each is scored in validation bits per byte \
(val_bpb; lower is better). Write down what the experiments so far have taught: what helps, what does not, and what that means for \
the next ones. Name constants and parts of train.py, and say in which direction. Drop a lesson that later experiments contradict.

Answer with one JSON object and nothing else: {{"lessons": [at most {MOST} lines, each at most {LONGEST} characters]}}."""
REORDER = 'You may add "order": the numbers of these ideas, the one to try first at the front.'


def schema(context: Context) -> Schema:
    """Return the JSON schema of an answer. It has a place for the order of the model's ideas if there are two or more."""
    lines = {"type": "array", "items": {"type": "string", "maxLength": LONGEST}, "maxItems": MOST}
    order = {"type": "array", "items": {"type": "integer"}, "maxItems": backlog.MOST_OPEN}
    more = {"order": order} if len(context.own_ideas) > 1 else {}
    return {"type": "object", "properties": {"lessons": lines} | more, "required": ["lessons"]}


def messages(context: Context, tokens: int) -> list[Message]:
    """Return the question for lessons, in a context of so many tokens. The record is cut to fit."""
    before = "\n".join(f"- {line}" for line in context.lessons)
    known = f"# Your lessons so far\n\n{before}" if before else ""
    ideas = _backlog(context)
    room = tokens - prompt.ANSWER_TOKENS - prompt.FRAME_TOKENS - prompt.estimate(QUESTION + known + ideas)
    parts = (prompt.results(replace(context, lessons=()), max(0, room)), known, ideas)
    return [
        {"role": "system", "content": QUESTION},
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
    ]


def learned(text: str, context: Context) -> LessonsLearned | None:
    """Return what an answer says, or None if it is not usable. `context`: what the model was told."""
    try:
        found = thoughts.answers(text, objects_in(text, lambda found: isinstance(found.get("lessons"), list)))
    except NotRead:
        return None
    for _, _, content in reversed(found):
        given = content.get("lessons")
        texts = [item for item in given if isinstance(item, str)] if isinstance(given, list) else []
        every = [sanitize_line(item, LONGEST).lstrip("-*• ") for item in texts]
        if lines := tuple(dict.fromkeys(item for item in every if says_something(item)))[:MOST]:
            return LessonsLearned(lines=lines, order=_order(content.get("order"), context))
    return None


def _backlog(context: Context) -> str:
    """Return the model's ideas as a part of the question; "" if there is no order to choose."""
    ideas = context.own_ideas[: backlog.MOST_OPEN]
    if len(ideas) < 2:
        return ""
    numbered = "\n".join(f"{number}. {data(idea, backlog.LONGEST)}" for number, idea in enumerate(ideas, 1))
    return f"# Your ideas\n\nThe first one is tried first.\n{BEGIN}\n{numbered}\n{END}\n{REORDER}"


def _order(given: Any, context: Context) -> tuple[str, ...]:
    """Return the model's ideas in the order of the numbers given."""
    numbers = [one for one in given if type(one) is int] if isinstance(given, list) else []
    shown = context.own_ideas[: backlog.MOST_OPEN]
    return tuple(dict.fromkeys(shown[one - 1] for one in numbers if 1 <= one <= len(shown)))
