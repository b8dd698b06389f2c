"""program.md, understood: the limits of its front matter, and the topics that its prose asks for or warns of. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any

import yaml
from markdown_it import MarkdownIt
from msgspec import field
from msgspec.structs import replace

from core.model import Data
from core.plain import clean

TOPICS: dict[str, tuple[str, ...]] = {
    "attention": ("attention", "window", "causal", "softmax"),
    "heads": ("head", "heads", "kv", "grouped-query", "multi-query"),
    "activation": ("activation", "relu", "gelu", "silu", "swiglu", "gated"),
    "normalisation": ("norm", "normalisation", "normalization", "rmsnorm", "layernorm"),
    "residuals": ("residual", "residuals", "skip connection", "skip connections"),
    "schedule": ("schedule", "schedules", "warm-up", "warmup", "warm-down", "warmdown", "cosine", "decay"),
    "optimizer": ("optimizer", "optimiser", "muon", "adam", "adamw", "momentum", "learning rate", "learning rates"),
    "regularisation": ("regularisation", "regularization", "weight decay", "dropout", "label smoothing"),
    "embeddings": ("embedding", "embeddings", "unembedding", "tying", "rotary", "positional"),
    "size": ("width", "depth", "layers", "size", "batch", "parameters", "wider", "deeper"),
    "simplicity": ("simple", "simpler", "simplicity", "fewer lines", "less code", "remove"),
}
FOCUS = re.compile(r"\b(focus on|worth trying|try|prefer|explore|concentrate on|look at|directions?)\b", re.I)
AVOID = re.compile(r"\b(avoid|do not|don't|never|no more|stay away from|leave alone|not worth)\b", re.I)
BUDGET = re.compile(
    r"\bmax_(seconds|minutes|budget)\b|\d+ ?-?(s|sec|seconds?|min|minutes?|hours?)\b", re.I
)  # a time in figures
AIM = re.compile(r"\b(val_bpb|bpb|bits per byte|validation (loss|score))\b", re.I)  # what every run aims at
QUOTES, QUOTE = 2, 45  # sentences that are quoted as ignored, and characters of each
FOCUS_WEIGHT, MENTION_WEIGHT = 3.0, 1.5


class CharterError(Exception):
    """program.md cannot be used; the message is a sentence for a human."""


class Charter(Data, frozen=True, kw_only=True):
    """What was understood. A topic's weight is 1 when nothing is said of it, 0 when it is to be avoided."""

    max_params: int | None = None
    max_memory_gb: float | None = None
    off_limits: tuple[str, ...] = ()
    focus: dict[str, str] = field(default_factory=dict)  # names of train.py to try: "up", "down", or "" for either way
    leave: tuple[str, ...] = ()  # names that are not to be tried, which `search` heeds and nothing enforces
    weights: dict[str, float] = field(default_factory=dict)
    understood: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()  # sentences that no rule here knows: language models read them, `search` does not

    def said(self, restated: tuple[str, ...] = ()) -> tuple[str, ...]:
        """All there is to show. What a language model `restated` has been read, so nothing of it is called unread."""
        words = restated or ((_unread_words(self.unread),) if self.unread else ())
        return (*self.understood, *self.ignored, *words)


def read(text: str, known: Collection[str] = ()) -> Charter:
    """Understand a program.md; `known` are the names of train.py, of which its prose may put some off limits.

    Raises CharterError with a sentence.
    """
    if not text.strip():
        raise CharterError("program.md is empty. Write down what to research, in plain English, and start again.")
    matter, prose = _split(text)
    limits, ignored = _limits(matter)
    stated, unread = _limits_in_prose(prose)
    names = (*limits.get("off_limits", ()), *_names_in_prose(prose, known))
    limits = stated | limits | ({"off_limits": tuple(dict.fromkeys(names))} if names else {})
    ignored += unread
    if known:
        strange = [name for name in limits.get("off_limits", ()) if name not in known]
        ignored += [f"off_limits {name}, which train.py does not define" for name in strange]
    wanted, unwanted = _wishes(prose, known)
    wanted = {name: way for name, way in wanted.items() if name not in names and name not in unwanted}
    unwanted = tuple(name for name in unwanted if name not in names)
    weights = _weights(prose, known)
    understood = [f"{name} {_said(value)} (checked)" for name, value in limits.items()]
    if wanted:
        understood.append(f"to try: {', '.join(f'{name} {way}'.strip() for name, way in wanted.items())}")
    focus = [topic for topic, weight in weights.items() if weight > 1]
    avoid = [topic for topic, weight in weights.items() if weight == 0]
    if focus:
        understood.append(f"directions: {', '.join(focus)}")
    if avoid or unwanted:
        understood.append(f"avoid: {', '.join([*avoid, *unwanted])}")
    if BUDGET.search(text):
        understood.append("times are no limits here: the budget is what --budget says")
    if not prose.strip():
        ignored.append("there is no text besides the front matter")
    return Charter(
        **limits,
        focus=wanted,
        leave=unwanted,
        weights=weights,
        understood=tuple(understood),
        ignored=tuple(ignored),
        unread=_unread(prose, known, {*names, *wanted, *unwanted}),
    )


def with_said(text: str, said: str, known: Collection[str]) -> Charter:
    """program.md and what a human said since, which counts more. Limits of size stand in program.md only. Raises CharterError."""
    written = read(text, known)
    if not said.strip():
        return written
    both, now = read(f"{text}\n\n{said}", known), read(f"\n{said}", known)  # what is said has no front matter
    weights = {topic: weight * now.weights[topic] for topic, weight in both.weights.items()}
    return replace(both, max_params=written.max_params, weights=weights)


def heard(text: str, before: str, known: Collection[str]) -> tuple[str, ...]:
    """What `search` makes of a human's words, beside program.md and what was said before. Limits stand in program.md only.

    Raises CharterError where these cannot be read together.
    """
    found, alone = read("\n\n".join((before, text)), known), read(text, known)
    try_now = [f"{name} {way}".strip() for name, way in found.focus.items() if name in alone.focus]
    leave = [*alone.leave, *(name for name in alone.off_limits if name not in alone.leave)]
    avoid = [topic for topic, weight in alone.weights.items() if weight == 0]
    more = [topic for topic, weight in alone.weights.items() if weight > 1 and found.weights[topic] > 1]
    told = (("to try", try_now), ("to leave alone", [*leave, *avoid]), ("directions", more))
    return tuple(f"{what}: {', '.join(words)}" for what, words in told if words)


def _said(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _unread(prose: str, known: Collection[str], heeded: Collection[str]) -> tuple[str, ...]:
    """Sentences of its paragraphs and lists without a topic, a limit, a name that is heeded, or the aim."""
    found = []
    for before, token in pairwise(MarkdownIt().enable("table").parse(prose)):
        if before.type != "paragraph_open":  # a heading, code, a table
            continue
        for sentence in re.split(r"(?<=[.!?])\s+(?![a-z])", token.content):
            plain = " ".join(sentence.split())
            read = bool(BUDGET.search(plain) or AIM.search(plain) or set(heeded) & set(_named(plain, known)))
            read = read or any(_bound(part, what) for part in _sentences(plain) for what in (_PARAMS, _MEMORY))
            label = plain.endswith(":")
            if re.search(r"[^\W\d_]{2}", plain) and not (read or label or _topics(_without(plain, known))):
                found.append(clean(plain, 200))
    return tuple(found)


def _unread_words(sentences: Sequence[str]) -> str:
    """The last ones quoted, the rest counted."""
    latest = sentences[: -QUOTES - 1 : -1]  # what was added last is what one wonders about
    shown = " ".join(f"“{s if len(s) <= QUOTE else s[: QUOTE - 1].rstrip() + '…'}”" for s in latest)
    more = f" and {len(sentences) - QUOTES} more" if len(sentences) > QUOTES else ""
    return f"ignored by all but language models: {shown}{more}"


def _split(text: str) -> tuple[str, str]:
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return "", text
    for index, line in enumerate(lines[1:], 1):
        if line.strip() == "---":
            return "\n".join(lines[1:index]), "\n".join(lines[index + 1 :])
    raise CharterError("The front matter of program.md opens with --- in line 1 and never closes. Add a line ---.")


def _limits(matter: str) -> tuple[dict[str, Any], list[str]]:
    try:
        content = yaml.safe_load(matter) if matter.strip() else {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that does not exist is a ValueError
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 2})" if mark is not None else ""
        raise CharterError(
            f"The front matter of program.md is no YAML{where}: {getattr(error, 'problem', error)}."
        ) from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise CharterError("The front matter of program.md must be lines like max_params: 60000000.")
    limits: dict[str, Any] = {}
    for name, kind, words in (("max_params", int, "a whole number"), ("max_memory_gb", float, "a number")):
        value = content.pop(name, None)
        if value is None:
            continue
        try:
            limits[name] = kind(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            limits[name] = None
        if limits[name] is None or not limits[name] > 0 or limits[name] == float("inf"):
            raise CharterError(f"{name} in the front matter of program.md must be {words} above 0, not {value!r}.")
    names = content.pop("off_limits", None)
    if names is not None:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CharterError(
                "off_limits in the front matter of program.md must be a list of names: [NAME, Class.method]."
            )
        limits["off_limits"] = tuple(names)
    return limits, [f"the front matter's {key}, which no check knows" for key in content]


_UNITS = {"": 1.0, "k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "billion": 1e9}
_NUMBER = r"(?P<number>\d[\d.,_']*) ?(?P<unit>k|m|b|thousand|million|billion)?\b ?"
_PARAMS = _NUMBER + r"(?:parameters|params|weights)\b"
_MEMORY = (
    r"(?P<number>\d[\d.,]*) ?(?P<unit>)(?:gb|gib|gigabytes)\b"
    r"(?:(?P<kind>(?: of)? ?(?:gpu |video )?(?:memory|ram|vram)\b)|(?=\W*$))"  # or at the end of a sentence
)
_USES = re.compile(r"\b(?:use|need|take|run|train|fit)\b", re.I)  # so that bare gigabytes are memory
_STORED = re.compile(
    r"\b(?:data\w*|disks?|download\w*|files?|logs?|shards?|checkpoints?|swap|storage|cache|tokenizer|writ\w+)\b", re.I
)
_MOST = r"(?:at most|(?:no|not|never) (?:more|larger|bigger|greater) than|up to|max(?:imum)?(?: of)?|no more than) "
_UNDER = r"(?:below|under|less than|fewer than|smaller than) "
_ORDER = re.compile(r"\b(?:stay|keep|remain|hold|fit|limit|use|must|should|has to|have to|always)\b", re.I)
_NO = r"(?:\b(?:no|not|never|nothing|avoid|without|nowhere)\b|n't\b)(?: [\w-]+){0,4}? "  # so near that it is this bound's own
_OVER = r"(?:more than|larger than|bigger than|above|over|beyond|exceed(?:ing|s)?) "
_NEGATED = re.compile(r"\b(?:no|not|never|nothing|avoid|without)\b|n't\b", re.I)
_LOOSE = re.compile(r"\b(?:afraid|hesitate|worry|mind|shy|only|just|limited|unless|except|if)\b|\?\s*$", re.I)


def _limits_in_prose(prose: str) -> tuple[dict[str, Any], list[str]]:
    """Limits that a sentence states in figures, and those that cannot be read; the front matter goes before them."""
    found: dict[str, Any] = {}
    unread = []
    for sentence in _sentences(prose):
        for name, what in (("max_params", _PARAMS), ("max_memory_gb", _MEMORY)):
            match = _bound(sentence, what)
            if match is None or name in found:
                continue
            number = _number(match["number"], bool(match["unit"]))
            if number is None:
                unread.append(f"the limit in {clean(match[0], 60)!r}, whose figure cannot be read")
            elif number > 0:
                number *= _UNITS[(match["unit"] or "").lower()]
                found[name] = int(number) if name == "max_params" else number
    return found, unread


def _bound(sentence: str, what: str) -> re.Match[str] | None:
    """An upper bound that this sentence states: `at most`, `stay under`, a negated `more than`. Anything less clear is none."""
    if _LOOSE.search(sentence):
        return None
    match = re.search(_MOST + what, sentence, re.I) or re.search(_NO + _OVER + what, sentence, re.I)
    if match is None and (match := re.search(_UNDER + what, sentence, re.I)):
        before = sentence[: match.start()]
        match = match if _ORDER.search(before) and not _NEGATED.search(before) else None
    if match is not None and what == _MEMORY and not match["kind"]:
        return match if _USES.search(sentence) and not _STORED.search(sentence) else None
    return match


def _number(text: str, unit: bool) -> float | None:
    """A figure as people write it: 1,500,000 or 1.500.000 or 1_500_000 or 1.5; None for what is none."""
    text = text.rstrip(".,_'")
    if re.fullmatch(r"\d+", text):
        return float(text) if len(text) < 19 else None
    if re.fullmatch(r"\d{1,3}([.,_'])\d{3}(\1\d{3})*", text) and (not unit or len(re.findall(r"\D", text)) > 1):
        return float(re.sub(r"\D", "", text)) if len(text) < 25 else None
    if re.fullmatch(r"\d{1,9}[.,]\d{1,9}", text):
        return float(text.replace(",", "."))
    return float(text.replace("_", "")) if re.fullmatch(r"\d+(_\d+)+", text) and len(text) < 19 else None


_TOUCH = r"(?:touch|change|edit|modify|alter|move|tune|vary|adjust|set|rewrite)"
_HANDS_OFF = tuple(
    (re.compile(before, re.I), re.compile(behind, re.I))
    for before, behind in (  # what stands between them is to be left alone
        (rf"(?:do not|don't|never|must not|should not|may not) (?:ever )?{_TOUCH} ", r"$"),
        (r"\bleave ", r" (?:alone|as (?:it|they) (?:is|are)|unchanged|untouched)"),
        (r"\bkeep ", r" (?:fixed|constant|as (?:it|they) (?:is|are)|unchanged|untouched)"),
        (r"", rf" (?:must|should|may|shall) (?:not be {_TOUCH}(?:e?d)?|never be {_TOUCH}(?:e?d)?|stay|remain)\b"),
        (r"", r" (?:is|are) (?:off[ -]limits|untouchable|not to be (?:touched|changed))"),
    )
)
_CONDITION = re.compile(
    r"\b(?:unless|except|until|if|when|without|too much|by more than|at once|together)\b|\?\s*$", re.I
)
_CODE = re.compile(r"`([\w.]+)(?:\(\))?`|\b([A-Za-z_]\w*(?:\.\w+)*)")


def _names_in_prose(prose: str, known: Collection[str]) -> tuple[str, ...]:
    """Names of train.py that a sentence says to leave alone, without any condition. A name that is also a plain word
    (schedule, Block) counts only in backquotes."""
    found: list[str] = []
    for sentence in _sentences(prose):
        if _CONDITION.search(sentence):
            continue
        for what in _left_alone(sentence):
            found += _named(re.split(r"\b(?:but|and (?!\S+\s*$|`|[A-Z]\w*[A-Z_.]))", what)[0], known)
    return tuple(dict.fromkeys(found))


def _left_alone(sentence: str) -> Iterator[str]:
    """What a sentence says to leave alone, in one pass over it: a pasted page without a full stop is one sentence."""
    for before, behind in _HANDS_OFF:
        at = 0
        while (start := before.search(sentence, at)) and (end := behind.search(sentence, start.end())):
            yield sentence[start.end() : end.start()]
            at = max(end.end(), at + 1)


def _named(text: str, known: Collection[str]) -> list[str]:
    """The names of train.py in a text, as they are written there."""
    names = [quoted or (bare if re.search(r"\w[A-Z]|_|\.", bare) else "") for quoted, bare in _CODE.findall(text)]
    return [name for name in names if name in known]


_LIST = re.compile(r",\s(?!(?:and|or|then)\b|[A-Z_`])|\bbut\b")  # between clauses, not between the names of a list
_OTHERWISE = re.compile(r"\b(?:no|not|instead of|rather than|without|except|other than|leaving)\b", re.I)
WORDS = ("MLP", "GPT")  # of the field, and names of train.py only in backquotes
_NO_NAME = re.compile(r"(?:please )?no (?:more )?[\w`.]+(?: changes?)?(?: please)?[.!]?", re.I)
_WAYS = (
    ("down", re.compile(r"\b(?:lower|smaller|less|reduced?|fewer|shorter|decrease|halve)\b", re.I)),
    ("up", re.compile(r"\b(?:higher|larger|more|raise|increase|longer|bigger|double)\b", re.I)),
)


def _wishes(prose: str, known: Collection[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Names of train.py that the prose asks to try, with the way where it says one, and those that it asks not to try."""
    wanted: dict[str, str] = {}
    unwanted: list[str] = []
    section = ""
    for sentence in _sentences(prose):
        section = sentence if sentence.startswith("#") else section
        for clause in map(str.strip, _LIST.split(sentence)):
            names = [name for name in _named(clause, known) if name not in WORDS or f"`{name}`" in clause]
            if _NO_NAME.fullmatch(clause) or AVOID.search(clause):
                unwanted += [] if _CONDITION.search(sentence) else names
            elif FOCUS.search(clause) and not re.search(r"\bdid\b", clause, re.I):
                way = next((way for way, word in _WAYS if word.search(clause)), "")
                before = _named(_OTHERWISE.split(clause)[0], known)
                wanted |= {name: way for name in names if name in before}
            elif AVOID.search(section):
                unwanted += names
            elif FOCUS.search(section):
                wanted |= dict.fromkeys(names, "")
    return wanted, tuple(dict.fromkeys(unwanted))


_FENCED = re.compile(r"^[ \t]*```[^`\n]*$.*?(?:^[ \t]*```[ \t]*$|\Z)", re.M | re.S)


def _sentences(prose: str) -> list[str]:
    """Sentences, across line breaks; a heading, a list's item or an empty line ends one."""
    prose = _FENCED.sub("", prose)  # code is no sentence
    joined = re.sub(r"\n(?!\s*(?:\n|[-*+#>]|\d+[.)]\s))\s*", " ", prose)
    return [
        words
        for line in joined.splitlines()
        for part in re.split(r"(?<=[.;!?])\s", line)
        if (words := " ".join(part.split()))
    ]


def _topics(sentence: str) -> list[str]:
    """The topics that have a word in it."""
    return [
        topic
        for topic, words in TOPICS.items()
        if re.search(rf"\b({'|'.join(map(re.escape, words))})\b", sentence, re.I)
    ]


def _without(sentence: str, known: Collection[str]) -> str:
    """A sentence less its limits and its names of train.py, which say nothing of the topics that they belong to."""
    for what in (_PARAMS, _MEMORY):
        if match := _bound(sentence, what):
            sentence = sentence[: match.start()] + sentence[match.end() :]
    for name in _named(sentence, known):
        sentence = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "", sentence)
    return sentence


def _weights(prose: str, known: Collection[str]) -> dict[str, float]:
    """What each topic counts."""
    weights = dict.fromkeys(TOPICS, 1.0)
    section = ""
    for line in prose.splitlines():
        if line.startswith("#"):
            section = line
        for whole in re.split(r"(?<=[.;!?])\s", line):
            sentence = _without(whole, known)
            avoid = AVOID.search(sentence) or (AVOID.search(section) and not FOCUS.search(sentence))
            focus = FOCUS.search(sentence) or FOCUS.search(section)
            for topic in _topics(sentence):
                if avoid:
                    weights[topic] = 0.0
                elif weights[topic] > 0:
                    weights[topic] = max(weights[topic], FOCUS_WEIGHT if focus else MENTION_WEIGHT)
    return weights
