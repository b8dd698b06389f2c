"""Lessons: what a language model is asked about a run so far, what it may answer, and how it is told again. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from core.agents.base import Context
from core.agents.llm import prompt, thoughts
from core.agents.llm.json_objects import Schema, objects_in
from core.agents.llm.prompt import Message
from core.agents.llm.understanding import says_something
from core.change.edits import NotRead
from core.text import sanitize_line

MOST, LONGEST = 5, 200  # lines, and characters of one
SCHEMA: Schema = {
    "type": "object",
    "properties": {"lessons": {"type": "array", "items": {"type": "string", "maxLength": LONGEST}, "maxItems": MOST}},
    "required": ["lessons"],
}
ORDER = f"""\
You research a small language model. One file, train.py, is changed in small experiments, and each is scored in validation bits per byte \
(val_bpb; lower is better). Write down what the experiments so far have taught: what helps, what does not, and what that means for \
the next ones. Name constants and parts of train.py, and say in which direction. Drop a lesson that later experiments contradict.

Answer with one JSON object and nothing else: {{"lessons": [at most {MOST} lines, each at most {LONGEST} characters]}}."""


def messages(context: Context, tokens: int) -> list[Message]:
    """Return the question for lessons, in a context of so many tokens. The record is cut to fit."""
    before = "\n".join(f"- {line}" for line in context.lessons)
    known = f"# Your lessons so far\n\n{before}" if before else ""
    room = tokens - prompt.ANSWER_TOKENS - prompt.FRAME_TOKENS - prompt.estimate(ORDER + known)
    parts = (prompt.results(replace(context, lessons=()), max(0, room)), known)
    return [
        {"role": "system", "content": ORDER},
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
    ]


def lines(text: str) -> tuple[str, ...]:
    """Return the lessons in an answer, or () if it is not usable."""
    try:
        found = thoughts.answers(text, objects_in(text, lambda found: isinstance(found.get("lessons"), list)))
    except NotRead:
        return ()
    for _, _, content in reversed(found):
        given = content.get("lessons")
        texts = [item for item in given if isinstance(item, str)] if isinstance(given, list) else []
        every = [sanitize_line(item, LONGEST).lstrip("-*• ") for item in texts]
        if lessons := tuple(dict.fromkeys(item for item in every if says_something(item)))[:MOST]:
            return lessons
    return ()
