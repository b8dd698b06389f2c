"""The answer formats of language models, and parsing an answer into a proposal. Pure. The only exception is EditError.

There are three formats, for models of different sizes: `knob` (one constant, by a factor or to a choice), `edits` (search and
replace, as JSON) and `blocks` (SEARCH/REPLACE text, for large models without a JSON mode).
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from core.agents.llm import thoughts
from core.agents.llm.answers import LONGEST_HYPOTHESIS, EditsAnswer, KnobAnswer
from core.agents.llm.json_objects import Schema, objects_in
from core.agents.llm.knob_moves import knob_proposal, moves, offered
from core.agents.llm.search_replace import answers_in, blocks_in
from core.agents.llm.thoughts import Found
from core.change import edits, knobs
from core.change.edits import EditError, NotRead
from core.model import Edit, Proposal
from core.text import sanitize_line

Tier = Literal["knob", "edits", "blocks"]
Content = TypeVar("Content")
TIERS: tuple[Tier, ...] = ("knob", "edits", "blocks")  # from the simplest on
MOST_TRIED = 8  # the most answers in a text that are tried, from the last one on
NO_BLOCK = "There is no SEARCH/REPLACE block. Write one as: <<<<<<< SEARCH, the old lines, =======, the new lines, >>>>>>> REPLACE."
NO_OBJECT = "The answer is not a JSON object (or it was cut off). Answer with the JSON object alone, and keep it short."
SHORT_HYPOTHESIS = 160  # characters
OF_BACKLOG: Schema = {
    "follows": {"type": "integer"},
    "later": {"type": "array", "items": {"type": "string", "maxLength": SHORT_HYPOTHESIS}, "maxItems": 2},
}
_BEGUN = re.compile(
    r"(?P<block>^<{5,9} ?(?:SEARCH[ \t]*$|S?E?A?R?C?H?\Z))|\{\s*\"(?:hypothesis|knob|edits|move)\"\s*:", re.MULTILINE
)
_ASIDE = re.compile(
    r"(?<![/\w])(?:considered|rejected|discarded|drafts?|alternatives?|instead of|rather than|e\.g\.|for example)\W*\Z",
    re.IGNORECASE,
)


def schema(
    tier: Tier, source: str, left_out: Sequence[str] = (), only: tuple[str, Sequence[str]] = ("", ())
) -> Schema | None:
    """Return the JSON schema of an answer, or None for text. Enumerations keep small models from invalid answers.

    `left_out`: constants that are not offered. `only`: the only constant that is offered, and its moves.
    """
    hypothesis = {"type": "string", "maxLength": LONGEST_HYPOTHESIS}
    if tier == "knob":
        short = {"type": "string", "maxLength": SHORT_HYPOTHESIS}
        known = [only] if only[0] else [(k.name, moves(k)) for k in offered(source, left_out)]
        return {
            "anyOf": [
                _object(hypothesis=short, knob={"const": name}, move={"enum": list(some)}) for name, some in known
            ]
        }
    if tier == "edits":
        edit = _object(search={"type": "string"}, replace={"type": "string"})
        required = {"hypothesis": hypothesis, "edits": {"type": "array", "items": edit, "minItems": 1, "maxItems": 6}}
        return _object(**required) | {"properties": required | OF_BACKLOG}
    return None


def _object(**properties: object) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def parse(tier: Tier, text: str, source: str) -> Proposal:
    """Parse the answer in a text and return it as a proposal that applies to this source.

    If the text has several answers, the last one that applies counts. Answers before one that was meant to apply do not count.

    Raises:
        EditError: No answer applies. The message is written for the model.
    """
    if tier == "blocks":
        text = text.replace("\r\n", "\n")
        return _last_applicable(text, answers_in(text), lambda answer: answer, source, NO_BLOCK)
    kind: type[KnobAnswer] | type[EditsAnswer] = KnobAnswer if tier == "knob" else EditsAnswer
    objects = objects_in(text, set(kind.__struct_fields__).issubset)
    return _last_applicable(text, objects, lambda content: _converted(kind, content), source, NO_OBJECT)


def _last_applicable(
    text: str,
    answers_found: Sequence[Found[Content]],
    convert: Callable[[Content], KnobAnswer | EditsAnswer],
    source: str,
    missing: str,
) -> Proposal:
    """Return the last one of `found` that is part of the answer and applies.

    Raises EditError, with the message `missing` if no answer is found.
    """
    reason: EditError | None = None
    options = thoughts.answers(text, answers_found)
    if options and _is_cut_off(text, options[-1][1]):
        raise NotRead("The answer was cut off. Answer in the form asked for, and keep it short.")
    # A stable sort: from the last one on, but those that the text calls alternatives come last.
    options = sorted(reversed(options), key=lambda one: _ASIDE.search(text, max(0, one[0] - 60), one[0]) is not None)
    for _, _, content in options[:MOST_TRIED]:
        try:
            return _applied(convert(content), source)
        except EditError as error:
            reason = reason or error
            if _is_meant(content, source):
                break
    raise reason or NotRead(missing)


def _applied(answer: KnobAnswer | EditsAnswer, source: str) -> Proposal:
    """Return the answer as a proposal, applied once. Raises EditError."""
    if isinstance(answer, KnobAnswer):
        proposal = knob_proposal(answer, source)
        changed = proposal.source
    else:
        fixed = tuple(_without_slips(edit, source) for edit in answer.edits)
        changed = edits.apply(source, fixed)
        proposal = Proposal(
            hypothesis=sanitize_line(answer.hypothesis, LONGEST_HYPOTHESIS) or "No reason was given.", edits=fixed
        )
    if changed == source:
        raise EditError("It does not change train.py. Propose another change.")
    return proposal


def _is_meant(content: object, source: str) -> bool:
    """Return whether an answer that does not apply is about this train.py, and not an empty template."""
    given = msgspec.to_builtins(content)
    if "edits" not in given:
        return any(knob.name == given.get("knob") for knob in knobs.read(source))
    every = given["edits"] if isinstance(given["edits"], list | tuple) else [given["edits"]]
    searches = [edit["search"] for edit in every if isinstance(edit, dict) and isinstance(edit.get("search"), str)]
    known = set(_names(source))
    names = [name for search in searches for name in _names(search)]
    hits = sum(name in known for name in names)
    return hits > 0 and 2 * hits >= len(names)


def _names(code: str) -> list[str]:
    """Return the names and numbers in code, without comments."""
    return re.findall(r"\w+", re.sub(r"#.*", "", code))


def _is_cut_off(text: str, stop: int) -> bool:
    """Return whether the text ends in the middle of another answer after the last complete one."""
    begun = next(iter(reversed(list(_BEGUN.finditer(text, stop)))), None)
    if begun is None:
        return False
    if begun["block"]:
        return not re.search(r">{5,9} ?REPLACE", text[begun.end() :])
    try:
        json.JSONDecoder().raw_decode(text, begun.start())
    except json.JSONDecodeError as error:
        return error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    except RecursionError:
        pass
    return False


def _without_slips(edit: Edit, source: str) -> Edit:
    """Correct small mistakes of small models: copied line numbers, surrounding line breaks, CRLF."""
    search, replace = edit.search.replace("\r\n", "\n"), edit.replace.replace("\r\n", "\n")
    if search and search not in source:
        numbered = re.compile(r"^ *\d+[:|] ?", re.MULTILINE)
        bare = numbered.sub("", search)
        if bare != search and bare in source:
            search, replace = bare, numbered.sub("", replace)
        elif search.strip("\n") and source.count(search.strip("\n")) == 1:
            search, replace = search.strip("\n"), replace.strip("\n")
    return Edit(search=search, replace=replace)


def _converted(kind: type[KnobAnswer] | type[EditsAnswer], content: dict[str, Any]) -> KnobAnswer | EditsAnswer:
    """Return a JSON object as an answer. Raises NotRead."""
    try:
        return msgspec.convert({key: content[key] for key in content if key in kind.__struct_fields__}, kind)
    except msgspec.ValidationError as error:
        raise NotRead(f"The JSON object is not of the form asked for: {error}.") from None


def after_thoughts(text: str) -> str:
    """Return the text after a model's thoughts, or '' if there are only thoughts."""
    blocks: list[Found[object]] = list(blocks_in(text))
    ends = [stop for _, stop, _ in blocks]
    for one in objects_in(text, bool):
        after = bisect.bisect_right(ends, one[0])
        if after == len(ends) or one[1] <= blocks[after][0]:  # it is not inside a block
            blocks.append(one)
    return thoughts.after_thoughts(text, sorted(blocks, key=lambda one: one[0]))
