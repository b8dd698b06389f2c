"""The forms in which a language model may answer, and how an answer becomes a proposal. Pure: any text in, never an exception but EditError.

Three tiers, by what models of a size can do: `knob` (one constant, by a factor or a choice), `edits` (search and replace, as
JSON), `blocks` (SEARCH/REPLACE text, for large models without a JSON mode).
"""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from core.agents.llm import thoughts
from core.agents.llm.thoughts import Found
from core.change import edits, knobs
from core.change.edits import EditError, NotRead
from core.change.knobs import Knob, Value
from core.charter import CharterError, binding
from core.model import Edit, Proposal
from core.text import sanitize_line
from nanochat.contract.value import Data

Tier = Literal["knob", "edits", "blocks"]
Content = TypeVar("Content")
TIERS: tuple[Tier, ...] = ("knob", "edits", "blocks")  # from the simplest
FACTORS = ("0.25", "0.5", "0.7", "0.85", "1.2", "1.4", "2", "4")
MOST_OBJECTS = 200  # of JSON, from the end of an answer on, that are looked at
MOST_TRIED = 8  # of answers, from the last one on, that are applied to train.py
NO_BLOCK = "There is no SEARCH/REPLACE block. Write one as: <<<<<<< SEARCH, the old lines, =======, the new lines, >>>>>>> REPLACE."
NO_OBJECT = "The answer is no JSON object (or it was cut off). Answer with the JSON object alone, and keep it short."
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
    """Return the answer in a text as a proposal on this source, applied once to see that it fits.

    Where there are several, the last one that applies counts, but none before one that was meant to. Raises EditError, written for
    the model.
    """
    if tier == "blocks":
        text = text.replace("\r\n", "\n")
        return _last(text, _groups(text), lambda answer: answer, source, NO_BLOCK)
    kind: type[KnobAnswer] | type[EditsAnswer] = KnobAnswer if tier == "knob" else EditsAnswer
    found = _json(text, set(kind.__struct_fields__).issubset)
    return _last(text, found, lambda content: _converted(kind, content), source, NO_OBJECT)


def _last(
    text: str,
    found: Sequence[Found[Content]],
    read: Callable[[Content], KnobAnswer | EditsAnswer],
    source: str,
    missing: str,
) -> Proposal:
    """The last one of `found` that applies, where it is in the answer. Raises EditError, with `missing` where none is."""
    reason: EditError | None = None
    options = thoughts.answers(text, found)
    if options and _is_cut_off(text, options[-1][1]):
        raise NotRead("The answer was cut off. Answer in the form asked for, and keep it short.")
    # Stable: from the last one on, and those after all others that the text itself calls an aside.
    options = sorted(reversed(options), key=lambda one: _ASIDE.search(text, max(0, one[0] - 60), one[0]) is not None)
    for _, _, content in options[:MOST_TRIED]:
        try:
            return _applied(read(content), source)
        except EditError as error:
            reason = reason or error
            if _is_meant(content, source):
                break
    raise reason or NotRead(missing)


def _applied(answer: KnobAnswer | EditsAnswer, source: str) -> Proposal:
    """Raises EditError."""
    if isinstance(answer, KnobAnswer):
        found = _knob(answer, source)
        changed = found.source
    else:
        fixed = tuple(_lines_as_in(edit, source) for edit in answer.edits)
        changed = edits.apply(source, fixed)
        found = Proposal(hypothesis=sanitize_line(answer.hypothesis, WORDS) or "No reason was given.", edits=fixed)
    if changed == source:
        raise EditError("It does not change train.py. Propose another change.")
    return found


def _is_meant(content: object, source: str) -> bool:
    """Whether an answer that does not apply is about this train.py: a form with dots or words to be filled in is not."""
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
    """The names and numbers in code, without comments."""
    return re.findall(r"\w+", re.sub(r"#.*", "", code))


_BEGUN = re.compile(
    r"(?P<block>^<{5,9} ?(?:SEARCH[ \t]*$|S?E?A?R?C?H?\Z))|\{\s*\"(?:hypothesis|knob|edits|move)\"\s*:", re.MULTILINE
)


def _is_cut_off(text: str, stop: int) -> bool:
    """Whether another answer begins behind the last whole one, and the text ends in the middle of it."""
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


RESTATED = ("goals", "directions", "avoid")
FIELD_NAMES = {*RESTATED, "limits", *_LIMITS["properties"]}
STAMMER = re.compile(r"([^\W\d_]\S{2,19})\1{3,}")  # one piece of a word four times on end


def understanding(text: str, charter: str = "") -> tuple[str, ...]:
    """A restated program.md as lines for a human; () for anything that is none.

    Limits that the model found and that are not checked yet are shown as proposed, with what the human has to do: a model
    that misread a number must not make every experiment of a night invalid.
    """
    try:
        found = thoughts.answers(text, _json(text, lambda found: not found.keys().isdisjoint(RESTATED)))
    except NotRead:
        return ()
    every = (_restated(content, charter) for _, _, content in reversed(found))
    return next((lines for lines in every if lines), ())


def _restated(found: dict[str, Any], charter: str) -> tuple[str, ...]:
    """One JSON object as lines."""
    lines = []
    for name in RESTATED:
        words = [sanitize_line(word, 160) for word in _list(found.get(name)) if _says_something(word)]
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
    names = [
        sanitize_line(name, 60)
        for name in _list(given.get("off_limits"))
        if re.fullmatch(r"[A-Za-z_][\w.]{0,39}", name)
    ]
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
    blocks: list[Found[object]] = list(_block_edits(text))
    ends = [stop for _, stop, _ in blocks]
    for one in _json(text, bool):
        after = bisect.bisect_right(ends, one[0])
        if after == len(ends) or one[1] <= blocks[after][0]:  # it is not code in a block
            blocks.append(one)
    return thoughts.said(text, sorted(blocks, key=lambda one: one[0]))


def _converted(kind: type[KnobAnswer] | type[EditsAnswer], found: dict[str, Any]) -> KnobAnswer | EditsAnswer:
    """Raises NotRead."""
    try:
        return msgspec.convert({key: found[key] for key in found if key in kind.__struct_fields__}, kind)
    except msgspec.ValidationError as error:
        raise NotRead(f"The JSON object is not of the form asked for: {error}.") from None


def _json(text: str, fits: Callable[[dict[str, Any]], bool]) -> list[Found[dict[str, Any]]]:
    """The JSON objects that fit, among prose or in a fence, also with a comma too many; where none does all, for the reason."""
    mended = _TRAILING_COMMA.sub(lambda match: match[1] or " ", text)  # of the same length
    found = list(_objects(text, fits))
    if mended != text:
        stops = [(start, stop) for start, stop, _ in found]
        more = [
            one for one in _objects(mended, fits) if all(one[1] <= start or stop <= one[0] for start, stop in stops)
        ]
        found = sorted([*found, *more], key=lambda one: one[0])
    return found or list(_objects(text))


# Strings are passed over, also one that does not end: every match succeeds, so that each character is read once.
_TRAILING_COMMA = re.compile(r"(\"(?:[^\"\\\n]|\\.)*+\"?)|,(?=\s*[}\]])")


def _objects(text: str, fits: Callable[[dict[str, Any]], bool] = bool) -> Iterator[Found[dict[str, Any]]]:
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


def _knob(answer: KnobAnswer, source: str) -> Proposal:
    known = {knob.name: knob for knob in knobs.read(source)}
    knob = known.get(answer.knob)
    if knob is None:
        raise EditError(f"There is no constant {sanitize_line(answer.knob, 60)!r}. There are: {', '.join(known)}.")
    value = _moved(knob, answer.move)
    candidate = knobs.set_knobs(source, {knob.name: value})
    words = sanitize_line(answer.hypothesis, WORDS) or f"Set {knob.name} from {knob.value} to {value}."
    return Proposal(hypothesis=words, source=candidate, meta={"knobs": {knob.name: value}})


def _moved(knob: Knob, move: str) -> Value:
    """The new value: a choice as it is, a factor rounded to what the knob may be."""
    if isinstance(knob.value, bool | str):
        allowed = moves(knob)
        if move not in allowed:
            raise EditError(f"{knob.name} can be moved to {', '.join(allowed)}, not to {sanitize_line(move, 40)!r}.")
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
    r"(?P<search><{5,9} ?SEARCH[^\n]{0,200}\n)|(?P<middle>^[ \t]*={5,9}(?!=)[^\n]*\n)|(?P<end>\n?>{5,9} ?REPLACE)",
    re.MULTILINE,
)
_FENCE = re.compile(r"(?:```+|~~~+)[ \t]*([^\s`<]*)")
_CODE = re.compile(r"(?:py\w*|diff|patch|te?xt|plain\w*|code|search\S*|edit\S*|\S*\.py)?", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([A-Za-z][\w:.-]{0,40}?)[\d_]*(?: [^<>\n]{0,80})?>")
_FRAMES = {"answer", "output", "response", "final", "solution"}
_TAIL = r"(?:[^.!?]|\.(?=\d)){0,100}[.:]?\W*"
_KIND = r"(?:edit|change|block|hunk|part|step|diff|patch|replacement|modification)"
_HEADER = re.compile(  # "Edit 2:", "2. Lower DECAY to 0.5", "nanochat/train.py"
    rf"\W*{_KIND}\W{{0,3}}\d+(?: of \d+)?(?:\W*|\W*[:.)(—–-]{_TAIL})"
    rf"|\W*\d{{1,2}}[.):](?!\d){_TAIL}"
    rf"|\W*(?:first|second|third|fourth|fifth|next|another) {_KIND}\W*|\W*(?:and|also|then|plus)\W*"
    r"|\W*(?:(?:in|and|file)\W+)?[\w./-]*\w\.py\W*",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"(?<![/\w])(?:considered|rejected|discarded|drafts?|alternatives?|instead of|rather than|e\.g\.|for example)\W*\Z",
    re.IGNORECASE,
)


def _block_edits(text: str) -> Iterator[Found[Edit]]:
    """The whole SEARCH/REPLACE blocks of a text; one that another interrupts is none."""
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


def _groups(text: str) -> list[Found[EditsAnswer]]:
    """The SEARCH/REPLACE blocks that belong together, with what stands before them as the hypothesis."""
    blocks = list(_block_edits(text))
    begins = [part.begin for part in thoughts.parts(text, [(start, stop) for start, stop, _ in blocks])]
    groups: list[Found[EditsAnswer]] = []
    before, fence, end = "", "", 0
    for (start, stop, edit), kind in zip(blocks, _fences(text, blocks), strict=True):
        if groups and kind == fence and _continues(text[end:start]):
            first, _, answer = groups.pop()
            groups.append((first, stop, msgspec.structs.replace(answer, edits=(*answer.edits, edit))))
        else:
            before = text[max(end, begins[bisect.bisect_right(begins, start) - 1]) : start]
            groups.append((start, stop, EditsAnswer(hypothesis=_hypothesis(before), edits=(edit,))))
        fence, end = kind, stop
    return groups


def _hypothesis(before: str) -> str:
    words = _TAG.sub(" ", thoughts.unframed(before))
    return re.sub(r"```\w*|~~~|nanochat/train\.py|(?i:hypothesis:)", " ", words).strip()


def _continues(between: str) -> bool:
    """Whether blocks with this between them are one answer. Prose or the end of a tag says that the first ones were a draft."""
    tags = [(slash, name.lower()) for slash, name in _TAG.findall(between)]
    closed = sorted(name for slash, name in tags if slash)
    opened = sorted(name for slash, name in tags if not slash)
    if closed != opened and (opened or not _FRAMES.issuperset(closed)):
        return False
    lines = _TAG.sub("", re.sub(r"(?:```+|~~~+)[\w+:-]*", "", between)).split("\n")
    return all(not re.search(r"\w", line) or (len(line) < 200 and _HEADER.fullmatch(line)) for line in lines)


def _fences(text: str, blocks: Sequence[Found[Edit]]) -> list[str]:
    """What the fence around each block is called; '' without one, and for the names of code."""
    kinds, fence, begin = [], "", 0
    for start, stop, _ in blocks:
        for match in _FENCE.finditer(text, begin, start):
            fence = "" if fence else match[1].lower() or "code"
        kinds.append("" if _CODE.fullmatch(fence) else fence)
        begin = stop
    return kinds


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
