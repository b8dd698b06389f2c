"""Parses the front matter of program.md, the only part with limits that are enforced. Pure."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from core.model import CharterLimits

KEYS = ("max_params", "max_memory_gb", "off_limits")
MOST_SHOWN = 5  # wrong names of one list that an error names
LARGEST_PARAMS, LARGEST_GB = 10**15, 10**6  # larger values are mistakes, and do not fit into a job's fields
UNITS = {"": 1, "k": 10**3, "thousand": 10**3, "m": 10**6, "million": 10**6, "b": 10**9, "billion": 10**9}
GIGABYTES = {
    "": "1", "gb": "1", "g": "1", "gigabytes": "1", "gib": "1.073741824",
    "mb": "0.001", "mib": "0.001048576", "tb": "1000", "tib": "1099.511627776",
}  # fmt: skip
FIGURE = r"\d(?:[\d.,_'’ ]*\d)?(?:e\+?\d{1,2})?"
_PARAMS = re.compile(rf"({FIGURE})\s*({'|'.join(filter(None, UNITS))})?\s*(?:parameters?|params?|weights?)?", re.I)
_MEMORY = re.compile(rf"({FIGURE})\s*({'|'.join(filter(None, GIGABYTES))})?(?:\s+(?:of )?(?:memory|ram|vram))?", re.I)
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_TIME = re.compile(r"second|minute|hour|time|budget|duration", re.I)
_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")


class CharterError(Exception):
    """program.md cannot be used. The message is shown to the user."""


@dataclass(frozen=True)
class Parts:
    """The two parts of program.md: the YAML between the delimiters, and everything else.

    Attributes:
        matter: The YAML; None without a front matter.
        start: Index of the YAML in the text.
        line: Number of its first line, from 1.
        body: The text without the front matter.
        body_line: Number of the body's first line in the file, from 1.
    """

    matter: str | None
    start: int
    line: int
    body: str
    body_line: int


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the index and the content of each line. Lines end at \\n, \\r and \\r\\n only, as in an editor."""
    for match in _LINE.finditer(text):
        if match[0] or match.start() == 0 or text[match.start() - 1] in "\r\n":
            yield match.start(), match[1]


def split(text: str) -> Parts:
    """Find the front matter. Only a byte order mark, blank lines and HTML comments may come before it.

    Raises CharterError if it is opened and never closed.
    """
    first, mark = _first_index(text), len(text) - len(text.lstrip("\ufeff"))
    numbered = [(number, (mark + at, content)) for number, (at, content) in enumerate(lines(text[mark:]), 1)]
    opened = next((number for number, (at, _) in numbered if at == first), 0)
    if not opened or not _delimits(numbered[opened - 1][1][1], ("---",)):
        return Parts(None, 0, 1, text[mark:], 1)
    for number, (at, content) in numbered[opened:]:
        if _delimits(content, ("---", "...")):
            start = numbered[opened][1][0]
            rest = numbered[number][1][0] if number < len(numbered) else len(text)
            return Parts(text[start:at], start, opened + 1, text[rest:], number + 1)
    raise CharterError(
        f"The front matter of program.md opens with --- in line {opened} and never closes. Add a line --- at its end; "
        f"for a horizontal line at the top write ***."
    )


def _delimits(content: str, marks: Collection[str]) -> bool:
    return content.strip() in marks and len(content) - len(content.lstrip()) <= 3  # further in, it is code


def _first_index(text: str) -> int:
    """Return the index of the first line that is neither blank nor part of an HTML comment, or -1."""
    at = len(text) - len(text.lstrip("\ufeff"))
    while True:
        blank = re.compile(r"\s*").match(text, at)
        begin = blank.end() if blank else at
        if text.startswith("<!--", begin):
            end = text.find("-->", begin + 4)
            rest = re.compile(r"[^\S\r\n]*(?:\r\n|\r|\n|\Z)").match(text, end + 3) if end >= 0 else None
            if rest is None:
                return -1
            at = rest.end()
        elif begin == len(text):
            return -1
        else:
            return max(at, text.rfind("\n", 0, begin) + 1, text.rfind("\r", 0, begin) + 1)


def node(parts: Parts) -> MappingNode | None:
    """Return the front matter as a YAML mapping with positions, or None if it is empty.

    Raises CharterError if it is not a mapping.
    """
    try:
        document: Node | None = yaml.compose(parts.matter or "", Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + parts.line})" if mark is not None else ""
        problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__)
        raise CharterError(f"The front matter of program.md is not valid YAML{where}: {problem}.") from None
    if document is None or (isinstance(document, ScalarNode) and not document.value.strip()):
        return None
    if not isinstance(document, MappingNode):
        raise CharterError(
            f"The front matter of program.md (from line {parts.line}) must be lines like max_params: 60000000. "
            f"For horizontal lines write *** in place of ---."
        )
    return document


def limits(parts: Parts, known: Collection[str] = ()) -> CharterLimits:
    """Return the limits.

    Args:
        parts: The parts of program.md.
        known: The names of train.py; () if it cannot be read. A name that is not among them is not an error, but an error names it too.

    Raises:
        CharterError: A key is not known, or a value cannot be read. The message names all problems.
    """
    document = node(parts)
    values: dict[str, int | float | tuple[str, ...]] = {}
    wrong: list[str] = []
    seen: set[str] = set()
    for key, value in document.value if document is not None else ():
        name = key.value if isinstance(key, ScalarNode) else "[...]"
        if name in seen:
            wrong.append(f"{_short(name)} is given twice")
        seen.add(name)
        if name not in KEYS:
            wrong.append(_unknown(name, value))
        elif not _empty(value):
            try:
                values[name] = _READERS[name](value)
            except ValueError as error:
                words, *culprits = error.args
                wrong.append(f"{name} {words}, not {' or '.join(_shown(one) for one in culprits or (value,))}")
    bound = msgspec.convert(values, CharterLimits)
    if wrong:
        wrong += [undefined(name, known) for name in bound.off_limits if known and name not in known]
        raise CharterError(f"The front matter of program.md cannot be used: {'; '.join(wrong)}.")
    return bound


def undefined(name: str, known: Collection[str]) -> str:
    """Return a phrase about a name in off_limits that train.py does not define."""
    plain = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), plain, n=1, cutoff=0.75)
    hint = f" (did you mean {plain[near[0]]}?)" if near else ""
    return f"off_limits {_short(name)}, which train.py does not define{hint}"


def _unknown(name: str, value: Node) -> str:
    if nested := _nested(value):
        return f"{nested} is nested under {_short(name)}; write it at the left margin"
    if _TIME.search(name):
        return f"unknown key {_short(name)} (the training time is set by --budget)"
    near = key_like(name)
    hint = f"did you mean {near}?" if near else f"known are {', '.join(KEYS)}"
    return f"unknown key {_short(name)} ({hint})"


def _nested(value: Node) -> str:
    """Return a known key inside another key's value, or ''."""
    left, seen = [value], set[int]()  # an alias may refer to a node that contains it
    while left:
        one = left.pop(0)
        if id(one) in seen or not isinstance(one, MappingNode | SequenceNode):
            continue
        seen.add(id(one))
        if isinstance(one, SequenceNode):
            left += one.value
            continue
        for key, below in one.value:
            if isinstance(key, ScalarNode) and key_like(key.value):
                return _short(key.value)
            left.append(below)
    return ""


def key_like(name: str) -> str:
    """Return the known key that a name resembles, or ''."""
    return next(iter(difflib.get_close_matches(_plain_key(name), KEYS, n=1, cutoff=0.7)), "")


def _plain_key(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())[:40]


def _short(text: str) -> str:
    plain = "".join(c if c.isprintable() else "�" for c in text)
    return plain if len(plain) <= 40 else f"{plain[:39]}…"


def _shown(value: Node | str) -> str:
    if isinstance(value, str | ScalarNode):
        return repr(_short(value if isinstance(value, str) else value.value))
    return "a list" if isinstance(value, SequenceNode) else "a mapping"


def _empty(value: Node) -> bool:
    return isinstance(value, ScalarNode) and value.value.strip().lower() in ("", "~", "null", "none")


def _params(value: Node) -> int:
    words = "must be a whole number above 0, such as 60000000 or 60M"
    match = _PARAMS.fullmatch(value.value.strip()) if isinstance(value, ScalarNode) else None
    count = params(match[1], match[2] or "") if match else None
    if count is None:
        raise ValueError(words)
    return count


def params(figure: str, unit: str) -> int | None:
    """Return a number of parameters from a figure and a unit such as M, or None if it is not a whole number above 0."""
    number = amount(figure, whole=not unit)
    scaled = number * UNITS[unit.lower()] if number is not None else None
    if scaled is None or scaled != scaled.to_integral_value() or not 0 < scaled < LARGEST_PARAMS:
        return None
    return int(scaled)


def _memory(value: Node) -> float:
    match = _MEMORY.fullmatch(value.value.strip()) if isinstance(value, ScalarNode) else None
    size = gigabytes(match[1], match[2] or "") if match else None
    if size is None:
        raise ValueError("must be a number above 0, such as 8 or 8GB")
    return size


def gigabytes(figure: str, unit: str) -> float | None:
    """Return GB of 10**9 bytes from a figure and a unit such as GiB, or None if it is not a number above 0."""
    number = amount(figure, whole=False)
    size = float(number * Decimal(GIGABYTES[unit.lower()])) if number is not None else 0.0
    return size if 0 < size < LARGEST_GB else None


def amount(figure: str, *, whole: bool) -> Decimal | None:
    """Read a figure as people write it: 1500000, 1,500,000, 1.500.000, 1_500_000, 1 500 000, 6e7, 1.5 or 1,5.

    Args:
        figure: Digits with separators.
        whole: Whether it must be a whole number. Then 1,500 means 1500.

    Returns:
        The number, or None if the figure is ambiguous or invalid.
    """
    text = figure.lower()
    if len(text) > 40:
        return None
    if re.fullmatch(r"\d{1,3}(?:([.,_'’ ])\d{3})(?:\1\d{3})+", text) or re.fullmatch(r"\d{1,3}['’ ]\d{3}", text):
        return Decimal(re.sub(r"\D", "", text))
    if re.fullmatch(r"\d+(?:_\d+)*", text):
        return Decimal(text.replace("_", ""))
    if re.fullmatch(r"\d{1,3},\d{3}", text):
        return Decimal(text.replace(",", "")) if whole else None
    if re.fullmatch(r"\d+[.,]\d+(?:e\+?\d+)?|\d+e\+?\d+", text):
        return Decimal(text.replace(",", "."))
    return None


def _names(value: Node) -> tuple[str, ...]:
    """Return the names in a list, or in one line. Raises ValueError with everything that is not a name."""
    items = value.value if isinstance(value, SequenceNode) else [value]
    names: list[str] = []
    wrong: list[Node | str] = []
    for item in items:
        words = re.split(r"[,\s]+", item.value) if isinstance(item, ScalarNode) else [item]
        for word in filter(None, words):
            name = word.strip("`").removesuffix("()") if isinstance(word, str) else ""
            if _NAME.fullmatch(name):
                names.append(name)
            else:
                wrong.append(word)
    if wrong:
        raise ValueError("must be names of train.py, such as [WIDTH, GPT.forward]", *wrong[:MOST_SHOWN])
    return tuple(dict.fromkeys(names))


_READERS: dict[str, Callable[[Node], int | float | tuple[str, ...]]] = {
    "max_params": _params,
    "max_memory_gb": _memory,
    "off_limits": _names,
}
_KEY_LINE = re.compile(r"[\W_]{0,20}([A-Za-z][\w -]{3,30}?)[`\"'*_]{0,4}\s{0,20}[:=|]\s{0,20}(.*)")
_ITEM = re.compile(
    r"[\s>]{0,20}(?:(?:[-*+•]|\d{1,3}[.)])\s{1,20})?[`\"'*_]{0,4}(\w[\w.]*)(?:\(\))?[`\"'*_,;]{0,4}\s*(?:#.*)?"
)


@dataclass(frozen=True)
class KeyLine:
    """A line outside of the front matter that looks like front matter.

    Attributes:
        index: Its number in the text, from 0.
        content: The line.
        key: The known key that it resembles.
        exact: Whether it is that key, apart from case, spaces and hyphens.
        value: The value without quotation marks. For a list below the line, its names.
    """

    index: int
    content: str
    key: str
    exact: bool
    value: str


def key_lines(body: str) -> Iterator[KeyLine]:
    """Yield the lines of a text that look like front matter, without HTML comments."""
    contents = [content for _, content in lines(without_comments(body))]
    for index, content in enumerate(contents):
        if (match := _KEY_LINE.match(content)) is None or not (key := key_like(match[1])):
            continue
        value = match[2].strip(" \t`\"'*_|,;}")
        if not value:
            below = itertools.takewhile(
                bool, (_ITEM.fullmatch(line) for line in contents[index + 1 :] if line.strip(" \t>"))
            )
            value = ", ".join(item[1] for item in below if item)
        if value:
            yield KeyLine(index, content, key, _plain_key(match[1]) == key, value)


def misplaced(parts: Parts) -> tuple[str, ...]:
    """Return a phrase for everything in the body that looks like front matter, since it is not used."""
    contents = [content for _, content in lines(without_comments(parts.body))]
    marks = [index for index, content in enumerate(contents) if _delimits(content, ("---", "..."))]
    problems: list[str] = []
    inside: set[int] = set()
    for opened, closed in itertools.pairwise(marks):
        if opened not in inside and _keys(contents[opened + 1 : closed]):
            inside |= set(range(opened, closed + 1))
            problems.append(f"this looks like front matter but stands at line {parts.body_line + opened}: not used")
    for line in key_lines(parts.body):
        if line.index not in inside:
            words, number = _short(line.content.strip()), parts.body_line + line.index
            problems.append(f"“{words}” in line {number} stands outside of the front matter: not used")
    return tuple(problems)


def _keys(contents: list[str]) -> bool:
    """Return whether these lines, right below a delimiter, are a YAML mapping whose keys are single words."""
    if not contents or not contents[0].strip():
        return False
    try:
        document = yaml.compose("\n".join(contents), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return isinstance(document, MappingNode) and all(
        isinstance(key, ScalarNode) and re.fullmatch(r"[A-Za-z][\w-]*", key.value) for key, _ in document.value
    )


def without_comments(text: str) -> str:
    """Return the text without HTML comments. Line breaks are kept."""
    kept, at = [], 0
    while (begin := text.find("<!--", at)) >= 0:
        end = text.find("-->", begin + 4)
        end = end + 3 if end >= 0 else len(text)
        kept += [text[at:begin], re.sub(r"[^\r\n]", "", text[begin:end])]
        at = end
    return "".join([*kept, text[at:]])
