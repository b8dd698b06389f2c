"""program.md, understood: the limits of its front matter, and the topics that its prose asks for or warns of. Pure."""

from __future__ import annotations

import re
from typing import Any

import yaml
from pydantic import Field

from core.model import Data

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
FOCUS_WEIGHT, MENTION_WEIGHT = 3.0, 1.5


class CharterError(Exception):
    """program.md cannot be used; the message is a sentence for a human."""


class Charter(Data):
    """What was understood. A topic's weight is 1 when nothing is said of it, 0 when it is to be avoided."""

    max_params: int | None = None
    max_memory_gb: float | None = None
    off_limits: tuple[str, ...] = ()
    weights: dict[str, float] = Field(default_factory=dict)
    understood: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read(text: str) -> Charter:
    """Understand a program.md. Raises CharterError with a sentence."""
    if not text.strip():
        raise CharterError("program.md is empty. Write down what to research, in plain English, and start again.")
    matter, prose = _split(text)
    limits, ignored = _limits(matter)
    limits = _limits_in_prose(prose) | limits
    weights = _weights(prose)
    understood = [f"{name} {value} (checked)" for name, value in limits.items()]
    focus = [topic for topic, weight in weights.items() if weight > 1]
    avoid = [topic for topic, weight in weights.items() if weight == 0]
    if focus:
        understood.append(f"directions: {', '.join(focus)}")
    if avoid:
        understood.append(f"avoid: {', '.join(avoid)}")
    if not prose.strip():
        ignored.append("there is no text besides the front matter")
    return Charter(**limits, weights=weights, understood=tuple(understood), ignored=tuple(ignored))


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
    except yaml.YAMLError as error:
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


_BOUND = (
    r"(?:at most|no more than|more than|not above|above|under|below|max(?:imum)?(?: of)?|up to|over|exceed(?:ing)?)"
)
_UNITS = {"": 1.0, "k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "billion": 1e9}
_PARAMS = re.compile(
    rf"{_BOUND} (\d[\d.,_]*) ?(k|m|b|thousand|million|billion)?\b ?(?:parameters|params|weights)", re.I
)
_MEMORY = re.compile(rf"{_BOUND} (\d[\d.]*) ?(?:gb|gib|gigabytes)\b(?: of)? ?(?:gpu |video )?(?:memory|ram|vram)", re.I)


def _limits_in_prose(prose: str) -> dict[str, Any]:
    """Limits that a sentence states in figures; the front matter goes before them."""
    found: dict[str, Any] = {}
    if match := _PARAMS.search(prose):
        number = float(match[1].replace(",", "").replace("_", "").rstrip("."))
        if number > 0:
            found["max_params"] = int(number * _UNITS[(match[2] or "").lower()])
    if match := _MEMORY.search(prose):
        number = float(match[1].rstrip("."))
        if number > 0:
            found["max_memory_gb"] = number
    return found


def _weights(prose: str) -> dict[str, float]:
    weights = dict.fromkeys(TOPICS, 1.0)
    section = ""
    for line in prose.splitlines():
        if line.startswith("#"):
            section = line
        for sentence in re.split(r"(?<=[.;!?])\s", line):
            avoid = AVOID.search(sentence) or (AVOID.search(section) and not FOCUS.search(sentence))
            focus = FOCUS.search(sentence) or FOCUS.search(section)
            for topic, words in TOPICS.items():
                if not re.search(r"\b(" + "|".join(map(re.escape, words)) + r")\b", sentence, re.I):
                    continue
                if avoid:
                    weights[topic] = 0.0
                elif weights[topic] > 0:
                    weights[topic] = max(weights[topic], FOCUS_WEIGHT if focus else MENTION_WEIGHT)
    return weights
