"""Parses wishes in plain English for the agent `search`: a few forms, each of which must match a whole sentence. Pure.

Everything else is reported as not usable. Sentences are not searched for keywords, since "the optimizer is not the problem"
and "avoid the optimizer" contain the same ones.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from core.charter.blocks import Block, sentences
from core.target import TARGET
from core.text import sanitize_line

EXAMPLES = "try WIDTH, set WIDTH to 256, avoid the optimizer, leave DEPTH alone, focus on attention, only the schedule"
LONGEST = 200  # characters of a sentence that may be a wish

WHOLE = "search uses a hint only if it understands all of it"
_TOPIC_OF = {word: topic for topic, words in TARGET.topics.items() for word in (topic, *words)}
# Bare names below such a heading are to be left alone.
HANDS_OFF = r"(?:to )?leave alone|(?:do not|don['’]t) (?:touch|change)|off[ _-]limits"
_UP, _RAISE = r"higher|larger|bigger|longer|raising|increasing", r"raise|increase"
_DOWN, _REDUCE = r"lower|smaller|shorter|lowering|reducing|decreasing", r"reduce|decrease"
_POLITE = r"(?:(?:please|also),? )*"
_THANKS = r"please|thanks|thank you"
# "First" is allowed for things to try. It is not for things to leave alone, since it would not be clear for how long.
_SOONER = r"(?:(?:please|also|now|next|then|first),? )*"
_WHEN = rf"{_THANKS}|now|next|first|too|instead|for now"
_NEVER = r"(?:do not|don['’]t|dont|never) (?:touch|change|try|tune|modify|move|vary|alter|propose)"
_NAME, _OBJECTS, _VALUE = (
    r"(?:the |a |an )?(?P<objects>`?[A-Za-z]\w*`?(?:[ -]\w+){0,2}?)",
    r"(?P<objects>.+?)",
    r"(?P<value>\S+?|\d+ ?\*\* ?\d+)",
)
Kind = Literal["try", "avoid", "only", "set"]
_FORMS: tuple[tuple[Kind, str], ...] = (
    ("set", rf"(?:set|change|try setting|try changing) {_NAME} (?:to|at) {_VALUE}"),
    ("set", rf"(?:set|try|use|test) {_NAME} ?= ?{_VALUE}"),
    ("set", rf"(?:try|use|test) {_NAME} (?:of|at) {_VALUE}"),
    ("only", rf"only (?:try|change|tune|explore|focus on) {_OBJECTS}"),
    ("only", rf"(?:try|change|tune|explore|focus on|focus) only (?:on )?{_OBJECTS}"),
    ("try", rf"(?:try|test|explore) (?:a |an |the )?(?:(?P<up>{_UP})|(?P<down>{_DOWN})) {_OBJECTS}"),
    ("try", rf"(?:(?P<up>{_RAISE})|(?P<down>{_REDUCE})) {_OBJECTS}"),
    ("try", rf"(?:try|test|explore|tune|vary|focus on|concentrate on|look at|look into|worth trying:|try:) {_OBJECTS}"),
    ("avoid", rf"(?:avoid|avoid:|stay away from|stop (?:trying|changing|touching|tuning|proposing)|{_NEVER}) {_OBJECTS}"),
    ("avoid", rf"leave {_OBJECTS} (?:alone|unchanged|untouched|as (?:it is|they are|is))"),
    ("avoid", rf"leave alone {_OBJECTS}"),
    ("avoid", rf"keep {_OBJECTS} (?:fixed|constant|unchanged|untouched|as (?:it is|they are|is))"),
)  # fmt: skip
_BARE: tuple[tuple[Kind, str], ...] = (  # without a verb; in a reason for skipping these may be complaints
    ("set", rf"{_NAME} ?= ?{_VALUE}"),
    ("try", rf"(?P<down>lower) {_OBJECTS}"),
    ("only", rf"only {_OBJECTS}"),
    ("only", rf"{_OBJECTS} only"),
)
Patterns = tuple[tuple[Kind, re.Pattern[str]], ...]


def _compiled(forms: tuple[tuple[Kind, str], ...]) -> Patterns:
    return tuple((kind, re.compile(_whole(kind, form), re.I)) for kind, form in forms)


def _whole(kind: Kind, form: str) -> str:
    """Return the pattern of a sentence in this form, with polite words around it."""
    lasting = kind in ("avoid", "only")
    return rf"{_POLITE if lasting else _SOONER}{form}(?:,? (?:{_THANKS if lasting else _WHEN}))*(?:[.;]|!+)?"


_WITH_VERB, _ALL = _compiled(_FORMS), _compiled(_FORMS + _BARE)
_TOPICS_ONLY = re.compile(_whole("try", _OBJECTS), re.I)
_COMPARED = re.compile(rf"(?:a |an |the )?(?:(?P<up>{_UP})|(?P<down>{_DOWN})) (?P<words>.+)", re.I)
_OBJECT = re.compile(
    r"(?:changes? (?:of|to|in) |changing |touching |trying |tuning |moving )?(?:the |a |an )?(?P<words>.+?)(?: changes?)?", re.I
)  # fmt: skip
_SEPARATOR = re.compile(r",\s*(?:and |or |then )?|\s+(?:and|or)\s+|\s*[&+]\s*", re.I)
_LABELS: tuple[tuple[Kind | None, re.Pattern[str]], ...] = (  # known headings and lead-ins
    ("try", re.compile(r"(?:things? |ideas? )?(?:worth trying|to try|try|focus(?: on)?|to explore|explore)", re.I)),
    ("avoid", re.compile(rf"(?:things? |ideas? )?(?:not worth trying|to avoid|avoid|{HANDS_OFF})", re.I)),
    (None, re.compile(
        r"|(?:(?:the|my|our) )?(?:aims?|goals?|objectives?|tasks?|program(?:me)?|program\.md|charter|research|autoresearch|"
        r"directions?|ideas?|hints?|wishes|instructions?|guidance|guidelines?|rules?|constraints?|plan|priorities|"
        r"how to work|what to do)", re.I
    )),
)  # fmt: skip
_AIM = re.compile(
    r"(?:(?:find|get|reach|seek|aim for|minimi[sz]e|lower|reduce) )?(?:a |the )?(?:low|lower|lowest|best)? ?(?:possible )?"
    r"(?:val_bpb|bpb|(?:validation )?bits per byte|validation (?:loss|score))[.;!]?", re.I
)  # fmt: skip


class NotUsable(Exception):
    """`search` cannot act on a sentence. The message says why, as a clause."""


@dataclass(frozen=True)
class Direction:
    """A wish.

    Attributes:
        kind: try, avoid, only (nothing else), or set (to `value`).
        topics: The topics that it is about.
        names: The names of train.py that it is about.
        way: "up", "down", or "" for either.
        value: The value to set, as it was written.
        ideas: The ideas of the book that it is about.
    """

    kind: Kind
    topics: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    way: str = ""
    value: str = ""
    ideas: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The wish as a phrase."""
        objects = ", ".join([*self.names, *self.topics, *self.ideas])
        match self.kind:
            case "set":
                return f"set {objects} to {self.value}"
            case "avoid":
                return f"leave {objects} alone"
            case "only":
                return f"only {objects}"
        return f"try {objects}{f' ({self.way})' if self.way else ''}"


def parse(text: str, known: Collection[str], *, reason: bool = False) -> tuple[Direction, ...]:
    """Parse a hint or a reason for skipping. Every sentence must be a wish.

    Args:
        text: A hint, or a reason for skipping.
        known: The names of train.py.
        reason: Whether it is a reason for skipping. Then "WIDTH = 192" and "only WIDTH" are not wishes, but may be complaints.

    Raises:
        NotUsable: A sentence does not have one of the forms.
    """
    forms = _WITH_VERB if reason else _ALL
    texts = [re.sub(r"^[-*+] ", "", words) for words in sentences(text)]
    if not texts:
        raise NotUsable("it is empty")
    directions: list[Direction] = []
    problems = []
    for sentence in texts:
        try:
            directions += _sentence(sentence, known, forms, bare_topics=not reason)
        except NotUsable as error:
            problems.append(f"“{sanitize_line(sentence, 60)}”: {error}" if len(texts) > 1 else str(error))
    if problems:
        raise NotUsable("; ".join([*dict.fromkeys(problems), *_rest(directions)]))
    return tuple(directions)


def _rest(directions: Iterable[Direction]) -> tuple[str, ...]:
    """Return what was understood of a text of which something was not, as a clause."""
    words = "; ".join(described(directions))
    return (f"“{words}” alone would do ({WHOLE})",) if words else ()


def of_sections(blocks: Iterable[Block], known: Collection[str]) -> tuple[tuple[Direction, ...], tuple[str, ...]]:
    """Parse program.md, section by section.

    A section only counts if all of it can be parsed: its sentences, the headings and lead-ins above them, and the text directly
    below the headings above it. Otherwise a sentence that cannot be parsed might contradict the others.

    Returns:
        The wishes, and the unused sentences.
    """
    read: list[tuple[Block, tuple[Direction, ...]]] = []
    unread: set[int] = set()
    for block in blocks:
        found: tuple[Direction, ...] = ()
        try:
            found = _of_block(block, known)
        except NotUsable:
            unread.add(block.sections[-1])
        read.append((block, found))
    wishes = tuple(wish for block, found in read if not unread & set(block.sections) for wish in found)
    unused = (sentence for block, _ in read if unread & set(block.sections) for sentence in block.sentences)
    return wishes, tuple(sentence for sentence in unused if not _AIM.fullmatch(sentence))


def _of_block(block: Block, known: Collection[str]) -> tuple[Direction, ...]:
    """Parse a paragraph or list item of program.md. Raises NotUsable.

    Below a heading or lead-in such as "Worth trying" the bare name of a topic is a wish. Values to set are only allowed in
    hints, which are followed once.
    """
    if not block.plain or not block.sentences:
        raise NotUsable("it is not plain text")
    titles = [_label(title) for title in (*block.headings, block.lead)]
    if block.leads_in:
        _label(block.sentences[0])
        return ()
    kinds = {title for title in titles if title}
    if len(kinds) > 1:
        raise NotUsable("the headings above it contradict each other")
    kind = kinds.pop() if kinds else None
    texts = [sentence for sentence in block.sentences if not _AIM.fullmatch(sentence)]
    if kind and len(texts) == 1:
        try:
            return _about(kind, texts[0].rstrip("."), known)
        except NotUsable:
            pass
    if kind == "avoid":
        raise NotUsable("below “avoid” only names can be read")
    directions = tuple(direction for sentence in texts for direction in _sentence(sentence, known))
    if any(direction.kind == "set" for direction in directions):
        raise NotUsable("a value to set is for a hint")
    return directions


def _label(title: str) -> Kind | None:
    """Return what a heading or lead-in asks for, or None if it is neutral. Raises NotUsable."""
    plain = title.strip().removesuffix(":")
    for kind, label in _LABELS:
        if label.fullmatch(plain):
            return kind
    raise NotUsable("it stands below a heading or lead-in that may turn it round")


def _sentence(
    sentence: str, known: Collection[str], forms: Patterns = _ALL, *, bare_topics: bool = False
) -> tuple[Direction, ...]:
    """Parse a sentence. With `bare_topics` one that only names topics is a wish to try them. Raises NotUsable."""
    why = NotUsable(f"it knows forms such as: {EXAMPLES}")
    for kind, pattern in forms if len(sentence) <= LONGEST else ():
        if (match := pattern.fullmatch(sentence)) is None:
            continue
        groups = match.groupdict()
        way = "up" if groups.get("up") else "down" if groups.get("down") else ""
        try:
            directions = _about(kind, match["objects"], known, way, groups.get("value") or "")
        except NotUsable as error:
            why = error
            continue
        if any(_is_unclear(direction) for direction in directions):
            continue
        return directions
    match = _TOPICS_ONLY.fullmatch(sentence) if bare_topics and len(sentence) <= LONGEST else None
    topics = [_topic(words) for words in _SEPARATOR.split(match["objects"])] if match is not None else []
    if topics and all(topics):
        return (Direction("try", tuple(dict.fromkeys(topics))),)
    raise why


def _is_unclear(direction: Direction) -> bool:
    """Return whether a wish makes no sense: a value for anything but one constant, or a way for a topic or an idea."""
    others = direction.topics or direction.ideas
    return (direction.kind == "set" and (len(direction.names) != 1 or bool(others))) or bool(direction.way and others)


def _about(kind: Kind, objects: str, known: Collection[str], way: str = "", value: str = "") -> tuple[Direction, ...]:
    """Return the wishes about these objects: one, or one for each way, as in "a smaller batch and a larger width".

    Raises:
        NotUsable: An object is unknown. The message has a clause for each of those.
    """
    by_way: dict[str, tuple[list[str], list[str], list[str]]] = {}
    problems = []
    for text in _SEPARATOR.split(objects):
        words = text
        if kind == "try" and (compared := _COMPARED.fullmatch(text.strip())) is not None:
            way, words = "up" if compared["up"] else "down", compared["words"]
        try:
            found = _lookup(words, known)
        except NotUsable as error:
            problems.append(str(error))
            continue
        for group, name in zip(by_way.setdefault(way, ([], [], [])), found, strict=True):
            group += [name] if name else []
    directions = tuple(
        Direction(kind, _unique(topics), _unique(names), each, value, _unique(ideas))
        for each, (topics, names, ideas) in by_way.items()
    )
    if problems:
        raise NotUsable("; ".join([*problems, *_rest(directions)]))
    return directions


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _lookup(text: str, known: Collection[str]) -> tuple[str, str, str]:
    """Return (topic, name, idea) for words that are one of them; the others are "". Raises NotUsable."""
    match = _OBJECT.fullmatch(text.strip())
    words = match["words"].strip() if match else ""
    code = words.strip("`").removesuffix("()")
    if topic := _topic(text):
        return topic, "", ""
    if code in known:
        return "", code, ""
    plain = {_bare(name): name for name in known if name.isupper()}
    meant = tuple(name for name in _KNOBS_OF.get(_bare(code), ()) if name in known)
    if len(meant) == 1 and "`" not in words and "_" not in words:
        return "", meant[0], ""
    if _bare(code) in plain and "`" not in words:
        return "", plain[_bare(code)], ""
    if _bare(code) in _IDEA_OF:
        return "", "", _IDEA_OF[_bare(code)]
    if meant:
        raise NotUsable(f"“{words[:40]}” may be {' or '.join(meant)} (did you mean {meant[0]}?)")
    close = {words: names[0] for words, names in _KNOBS_OF.items() if names[0] in known} | _IDEA_OF | plain
    near = difflib.get_close_matches(_bare(code), close, n=1, cutoff=0.75) if words else []
    hint = f" (did you mean {close[near[0]]}?)" if near else ""
    shown = words or text.strip()
    raise NotUsable(
        f"“{shown[:40]}” is neither a constant of train.py nor an idea of the book nor a topic ({', '.join(TARGET.topics)}){hint}"
    )


def _topic(text: str) -> str:
    """Return the topic that these words name, or ""."""
    match = _OBJECT.fullmatch(text.strip())
    words = match["words"].strip() if match is not None else ""
    return _TOPIC_OF.get(" ".join(words.lower().replace("-", " ").split()), "") if "`" not in words else ""


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


_KNOBS_OF = {_bare(words): names for words, names in TARGET.knob_words.items()}
_IDEA_OF = {_bare(entry.name): entry.name for entry in TARGET.book}


def described(directions: Iterable[Direction]) -> tuple[str, ...]:
    """Return wishes as phrases without repeats."""
    return tuple(dict.fromkeys(direction.words for direction in directions))
