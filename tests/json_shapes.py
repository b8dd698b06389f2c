"""What docs/json.md says of the JSON of each command, and the types behind it."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from core.agents.listing import Agents, Listed
from core.doctor import Check, Health
from core.export.folder import Export, Facts
from core.export.samples import Sample, Samples
from core.loop.trial import Proposed, Tried
from core.record.experiment import Hint
from core.record.live import Load, Picture, Slot, Waiting
from core.reporting.comparison import Comparison, Side
from core.reporting.highlights import Afresh, Highlight, Topic
from core.reporting.outcome import FinalCheck, Gain
from core.reporting.results import Row
from core.reporting.run_comparison import RunComparison, RunFacts
from core.reporting.scoreboard import Form, Operated, Score
from core.reporting.status import Best, Idle, Loop, Recent, RunStatus
from core.run.facts_commands import Application, Notebook, Reported
from core.run.hinting import Hints
from core.run.notify import Message
from core.track.sending import Sent

PAGE = Path(__file__).resolve().parents[1] / "docs" / "json.md"
COMMANDS: dict[str, type] = {
    "status": RunStatus, "compare": Comparison, "compare --runs": RunComparison, "notebook": Notebook, "hints": Hints, "apply": Application,
    "report": Reported, "export": Export, "sample": Samples, "track": Sent, "agents": Agents, "propose": Proposed, "doctor": Health,
    "notification": Message,
}  # fmt: skip
PARTS: dict[str, type] = {
    "loop": Loop, "best": Best, "gain": Gain, "check": FinalCheck, "experiment": Highlight, "topic": Topic, "latest": Recent, "agent": Score,
    "format": Form, "operator": Operated, "activity": Picture, "waiting": Waiting, "training": Slot, "load": Load, "side": Side,
    "run": RunFacts, "row": Row, "hint": Hint, "model": Facts, "text": Sample, "listed agent": Listed, "proposal": Tried,
    "machine check": Check, "measured afresh": Afresh,
}  # fmt: skip
BY_HAND = {
    "config": {"files", "values"},
    "file": {"path", "exists", "problems"},
    "value": {"value", "source"},
}  # no types


def documented() -> dict[str, list[str]]:
    """Return section -> the fields in the first column of its table."""
    found: dict[str, list[str]] = {}
    for section in re.split(r"^##+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        found[title] = re.findall(r"^\| `(\w+)` \| .+ \|$", body, flags=re.MULTILINE)
    return found


def fields(kind: type) -> dict[str, Any]:
    """Return the name in JSON -> the type of each field of a struct or a dataclass."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def reached(kind: Any) -> Iterator[type]:
    """Yield the structs and dataclasses that a type contains, itself included."""
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias):
        if dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct):
            yield kind
            for inner in fields(kind).values():
                yield from reached(inner)
        return
    for inner in typing.get_args(kind):
        yield from reached(inner)


def has_shape(text: str, command: str) -> Any:
    """Check that the output of a command is one line of JSON with exactly the documented fields, and return it."""
    (line,) = text.splitlines()
    found = json.loads(line)
    assert list(found) == documented()[command], command
    assert conforms(found, COMMANDS[command]), f"a part of {command} has other fields or types than documented"
    return found


def conforms(value: Any, kind: Any) -> bool:
    """Return whether a value read from JSON has a type, with all of its fields and no others."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return conforms(value, inner[0])
    if origin in (typing.Union, types.UnionType):
        return any(conforms(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple and inner[-1] is not Ellipsis:
        return isinstance(value, list) and len(value) == len(inner) and all(map(conforms, value, inner))
    if origin in (tuple, list):
        return isinstance(value, list) and all(conforms(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(conforms(one, inner[1]) for one in value.values())
    if dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct):
        parts = fields(kind)
        return (
            isinstance(value, dict)
            and value.keys() == parts.keys()
            and all(conforms(value[k], parts[k]) for k in parts)
        )
    if issubclass(kind, enum.Enum):
        return value in [one.value for one in kind]
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, type(None) if kind is None else kind)


__all__ = ["BY_HAND", "COMMANDS", "PARTS", "Idle", "documented", "fields", "has_shape", "reached"]
