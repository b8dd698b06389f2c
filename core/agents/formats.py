"""The forms in which a language model may answer, and how an answer becomes a proposal. Pure: any text in, never an exception but EditError.

Three tiers, by what models of a size can do: `knob` (one constant, by a factor or a choice), `edits` (search and replace, as
JSON), `blocks` (SEARCH/REPLACE text, for large models without a JSON mode).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from core import edits, knobs
from core.agents import thoughts
from core.charter import CharterError, binding
from core.edits import EditError, NotRead
from core.knobs import Knob, Value
from core.model import Data, Edit, Proposal
from core.plain import clean

Tier = Literal["knob", "edits", "blocks"]
Answer = TypeVar("Answer", bound=Data)
TIERS: tuple[Tier, ...] = ("knob", "edits", "blocks")  # from the simplest
FACTORS = ("0.25", "0.5", "0.7", "0.85", "1.2", "1.4", "2", "4")
MOST_OBJECTS = 200  # of JSON, from the end of an answer on, that are looked at
WORDS, SHORT_WORDS = 400, 160  # characters of a hypothesis


class KnobAnswer(Data, frozen=True, kw_only=True):
    """One constant, moved by a factor or set to a choice."""

    hypothesis: str
    knob: str
    move: str


class EditsAnswer(Data, frozen=True, kw_only=True):
    """Replacements in train.py."""

    hypothesis: str
    edits: tuple[Edit, ...]


def moves(knob: Knob) -> tuple[str, ...]:
    """What may be done with a knob: its other values for a choice, else factors."""
    if isinstance(knob.value, bool):
        return (str(not knob.value),)
    if isinstance(knob.value, str):
        return tuple(pattern for pattern in ("L", "S", "SL", "SSL", "SSSL") if pattern != knob.value)
    if knob.value == 0:
        return ("0.01", "0.1", "1") if isinstance(knob.value, float) else ("1",)
    return tuple(factor for factor in FACTORS if _scaled(knob.value, float(factor)) != knob.value)


def schema(tier: Tier, source: str, left_out: Sequence[str] = ()) -> dict[str, Any] | None:
    """The JSON schema of an answer, None for text. Enumerations leave a small model no room for nonsense.

    `left_out`: constants that are not offered, being off limits or used up.
    """
    words: dict[str, Any] = {"type": "string", "maxLength": WORDS}
    if tier == "knob":
        short = {"type": "string", "maxLength": SHORT_WORDS}
        known = offered(source, left_out)
        return {
            "anyOf": [_object(hypothesis=short, knob={"const": k.name}, move={"enum": list(moves(k))}) for k in known]
        }
    if tier == "edits":
        edit = _object(search={"type": "string"}, replace={"type": "string"})
        return _object(hypothesis=words, edits={"type": "array", "items": edit, "minItems": 1, "maxItems": 6})
    return None


def offered(source: str, left_out: Sequence[str] = ()) -> list[Knob]:
    """The constants that may be moved; where nothing would be left all of them, and the check says what is wrong with each."""
    every = knobs.read(source)
    return [knob for knob in every if knob.name not in left_out] or list(every)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def parse(tier: Tier, text: str, source: str) -> Proposal:
    """An answer as a proposal on this source, applied once to see that it fits. Raises EditError, written for the model."""
    if tier == "knob":
        return _knob(_validated(KnobAnswer, text), source)
    answer = _validated(EditsAnswer, text) if tier == "edits" else _blocks(text)
    fixed = tuple(_lines_as_in(edit, source) for edit in answer.edits)
    edits.apply(source, fixed)
    return Proposal(hypothesis=clean(answer.hypothesis, WORDS) or "No reason was given.", edits=fixed)


_WORDS = {"type": "array", "items": {"type": "string", "maxLength": 160}, "maxItems": 6}
_LIMITS = {
    "type": "object",
    "properties": {
        "max_params": {"type": ["integer", "null"]},
        "max_memory_gb": {"type": ["number", "null"]},
        "off_limits": {"type": "array", "items": {"type": "string", "maxLength": 60}, "maxItems": 12},
    },
}
UNDERSTANDING: dict[str, Any] = {
    "type": "object",
    "properties": {"goals": _WORDS, "directions": _WORDS, "avoid": _WORDS, "limits": _LIMITS},
    "required": ["goals", "directions", "avoid"],
}


FIELD_NAMES = {"goals", "directions", "avoid", "limits", *_LIMITS["properties"]}
STAMMER = re.compile(r"([^\W\d_]\S{2,19})\1{3,}")  # one piece of a word four times on end


def understanding(text: str, charter: str = "") -> tuple[str, ...]:
    """A restated program.md as lines for a human; () for anything that is none.

    Limits that the model found and that are not checked yet are shown as proposed, with what the human has to do: a model
    that misread a number must not make every experiment of a night invalid.
    """
    try:
        found = _json(text, lambda found: bool(found.keys() & {"goals", "directions", "avoid"})) or {}
    except NotRead:
        return ()
    lines = []
    for name in ("goals", "directions", "avoid"):
        words = [clean(word, 160) for word in _list(found.get(name)) if _says_something(word)]
        if words:
            lines.append(f"{name}: {'; '.join(list(dict.fromkeys(words))[:6])}")
    if proposed := _proposed(found.get("limits"), charter):
        lines.append(
            f"proposed limits, not checked: {'; '.join(proposed)} (add them to the front matter of program.md to have them checked)"
        )
    return tuple(lines)


def _says_something(text: str) -> bool:
    """Small models fill a form with its own field names, or stammer."""
    words = text.strip(" .:;").lower()
    return bool(words) and words not in FIELD_NAMES and not STAMMER.search(words)


def _proposed(given: object, charter: str) -> list[str]:
    """Limits as lines of front matter, without those that it has already."""
    if not isinstance(given, dict):
        return []
    names = [clean(name, 60) for name in _list(given.get("off_limits")) if re.fullmatch(r"[A-Za-z_][\w.]{0,39}", name)]
    try:
        known = binding(charter)
    except CharterError:
        return []
    lines = []
    for name, bound in (("max_params", known.max_params), ("max_memory_gb", known.max_memory_gb)):
        value = given.get(name)
        if bound is None and isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e15:
            lines.append(f"{name}: {value:g}" if value < 1e6 else f"{name}: {int(value)}")
    fresh = [name for name in dict.fromkeys(names) if name not in known.off_limits]
    return lines + ([f"off_limits: [{', '.join(fresh[:12])}]"] if fresh else [])


def _list(given: object) -> list[str]:
    return [word for word in given if isinstance(word, str)] if isinstance(given, list) else []


def said(text: str) -> str:
    """What a model said after its thoughts; '' where there are thoughts alone."""
    try:
        return text[thoughts.end(text, [*_spans(_objects(text)), *_spans(_block_edits(text))]) :].strip()
    except NotRead:
        return ""


def _validated(kind: type[Answer], text: str) -> Answer:
    names = set(kind.__struct_fields__)
    found = _json(text, names.issubset)
    if found is None:
        raise NotRead(
            "The answer is no JSON object (or it was cut off). Answer with the JSON object alone, and keep it short."
        )
    try:
        return msgspec.convert({key: value for key, value in found.items() if key in names}, kind)
    except msgspec.ValidationError as error:
        raise NotRead(f"The JSON object is not of the form asked for: {error}.") from None


Found = tuple[int, int, dict[str, Any]]  # where a JSON object begins and ends, and what it says


def _json(text: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """The last JSON object after the thoughts that fits, among prose or in a fence; else the last one, for the reason.

    Raises NotRead where the thoughts did not end.
    """
    fitting = list(_objects(text, fits))
    begin = thoughts.end(text, _spans(fitting))
    rest = text[begin:]
    last = [found for start, _, found in fitting if start >= begin]
    last = last or [found for _, _, found in _objects(_TRAILING_COMMA.sub(r"\1", rest), fits)]
    last = last or [found for _, _, found in _objects(rest)]
    return last[-1] if last else None


_TRAILING_COMMA = re.compile(r"(\"(?:[^\"\\\n]|\\.)*\")|,(?=\s*[}\]])")  # strings are passed over


def _objects(text: str, fits: Callable[[dict[str, Any]], bool] = bool) -> Iterator[Found]:
    """The JSON objects of a text that fit, also those inside others that do not."""
    decoder, end = json.JSONDecoder(), 0
    starts = list(re.finditer(r"\{(?=\s*[\"}])", text))
    for match in starts[-MOST_OBJECTS:]:  # the answer is the last one; a text of 200,000 braces would take minutes
        if match.start() < end:
            continue
        try:
            found, stop = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if fits(found):
            end = stop
            yield match.start(), stop, found


def _spans(found: Iterable[tuple[int, int, object]]) -> list[thoughts.Span]:
    return [(start, stop) for start, stop, _ in found]


def _knob(answer: KnobAnswer, source: str) -> Proposal:
    known = {knob.name: knob for knob in knobs.read(source)}
    knob = known.get(answer.knob)
    if knob is None:
        raise EditError(f"There is no constant {clean(answer.knob, 60)!r}. There are: {', '.join(known)}.")
    value = _moved(knob, answer.move)
    candidate = knobs.set_knobs(source, {knob.name: value})
    words = clean(answer.hypothesis, WORDS) or f"Set {knob.name} from {knob.value} to {value}."
    return Proposal(hypothesis=words, source=candidate, meta={"knobs": {knob.name: value}})


def _moved(knob: Knob, move: str) -> Value:
    """The new value: a choice as it is, a factor rounded to what the knob may be."""
    if isinstance(knob.value, bool | str):
        allowed = moves(knob)
        if move not in allowed:
            raise EditError(f"{knob.name} can be moved to {', '.join(allowed)}, not to {clean(move, 40)!r}.")
        return (move == "True") if isinstance(knob.value, bool) else move
    try:
        factor = float(move)
    except ValueError:
        factor = -1.0
    if not 0 < factor <= 100:
        raise EditError(f"{knob.name} is a number: move it by one of {', '.join(moves(knob))}.")
    return _scaled(knob.value, factor)


def _scaled(value: int | float, factor: float) -> Value:
    """A number times a factor, as what it is: a power of two stays one, a whole number stays whole and at least 1."""
    if isinstance(value, float):
        return float(f"{factor if value == 0 else value * factor:.3g}")
    if knobs.is_power_of_two(value) and value > 2:
        return int(2 ** max(0, value.bit_length() - 1 + _log2(factor)))
    return max(1, round(value * factor)) if value else 1


def _log2(factor: float) -> float:
    """In whole steps, at least one: a power of two stays one."""
    steps = round(math.log2(factor))
    return steps or (1 if factor > 1 else -1)


_MARK = re.compile(
    r"(?P<search><{5,9} ?SEARCH[^\n]*\n)|(?P<middle>^[ \t]*={5,9}(?!=)[^\n]*\n)|(?P<end>\n?>{5,9} ?REPLACE)",
    re.MULTILINE,
)


def _block_edits(text: str) -> Iterator[tuple[int, int, Edit]]:
    """The whole SEARCH/REPLACE blocks of a text, with where they begin and end; one that another interrupts is none."""
    begin = middle = None
    for mark in _MARK.finditer(text):
        if mark["search"]:
            begin, middle = mark, None
        elif mark["middle"]:
            middle = middle or mark
        elif begin and middle:
            search = text[begin.end() : middle.start()].removesuffix("\n")
            yield begin.start(), mark.end(), Edit(search=search, replace=text[middle.end() : mark.start()])
            begin = middle = None


def _blocks(text: str) -> EditsAnswer:
    """The SEARCH/REPLACE blocks after the thoughts; what stands before the first is the hypothesis."""
    text = text.replace("\r\n", "\n")
    every = list(_block_edits(text))
    begin = thoughts.end(text, _spans(every))
    found = [(start, edit) for start, _, edit in every if start >= begin]
    if not found:
        raise NotRead(
            "There is no SEARCH/REPLACE block. Write one as: <<<<<<< SEARCH, the old lines, =======, the new lines, >>>>>>> REPLACE."
        )
    before = thoughts.unframed(text[begin : found[0][0]])
    before = re.sub(r"```\w*|nanochat/train\.py|(?i:hypothesis:)", " ", before)
    return EditsAnswer(hypothesis=before, edits=tuple(edit for _, edit in found))


def _lines_as_in(edit: Edit, source: str) -> Edit:
    """Small slips of small models: line numbers copied along, a trailing line break, CRLF."""
    search, replace = edit.search.replace("\r\n", "\n"), edit.replace.replace("\r\n", "\n")
    if search and search not in source:
        numbered = re.compile(r"^ *\d+[:|] ?", re.MULTILINE)
        bare = numbered.sub("", search)
        if bare != search and bare in source:
            search, replace = bare, numbered.sub("", replace)
        elif search.strip("\n") and source.count(search.strip("\n")) == 1:
            search, replace = search.strip("\n"), replace.strip("\n")
    return Edit(search=search, replace=replace)
