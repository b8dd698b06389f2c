"""Converts events of schema 1 to schema 2, and notes of any version to the present types. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from core.model import Cost, Notes

Fields = dict[str, object]  # a decoded line of a journal

# For example "It made no difference: 0.0143 bpb worse, within noise." Such journals lack the figure that was needed.
_FINDING = re.compile(
    r"It (made no difference|did not repeat): (\d\S* bpb (?:better|worse)(?: over \d+ seeds)?), within noise\."
)
_SIMPLER = re.compile(
    r"Within noise((?: over \d+ seeds)?), with (\d+) lines out and (\d+) in: the simpler code was kept\."
)
_REASON = re.compile(r"no difference beyond noise(?=: |, with )|the gain did not repeat, it is within noise(?=: )")


def renewed(text: str) -> str:
    """Return a finding or reason in the present terms, "inconclusive" and "not confirmed". Unchanged text is the same object."""
    if "noise" not in text:
        return text
    present = _FINDING.sub(_finding, text)
    present = _SIMPLER.sub(r"Inconclusive\1; kept because it has less code (\2 lines out, \3 in).", present)
    present = _REASON.sub(lambda match: "inconclusive" if match[0][0] == "n" else "not confirmed", present)
    return text if present == text else present


def _finding(match: re.Match[str]) -> str:
    outcome = "Inconclusive" if match[1] == "made no difference" else "Not confirmed"
    return f"{outcome}: {match[2]}{'' if ' over ' in match[2] else ' on one seed'}."


# The fields of `measured` in schema 1 that are in its `result` in schema 2, with their names there.
_OF_RESULT = {
    name: name
    for name in (
        "job", "outcome", "reason", "crash", "traceback", "val_bpb", "params", "steps", "tokens", "charged_s", "cpu_s", "wall_s",
        "score_s", "peak_memory", "total_wall_s", "parts", "pace", "speed", "unmeasured", "final_loss", "probes", "unprotected",
    )
} | {"others": "other_gpu_bytes", "held_down": "throttled_share"}  # fmt: skip


_NOTED: dict[str, type[Cost]] = {
    "proposed": Notes,
    "charter": Cost,
    "lessons": Cost,
}  # events with notes, and the type of these


def upgraded(event: Fields) -> Fields:
    """Return the fields of an event of schema 1 as in schema 2. An event of schema 2 only gets notes that fit."""
    change = _CHANGES.get(str(event.get("type")))
    return with_fitting_notes(change(dict(event)) if change is not None else event)


def with_fitting_notes(event: Fields) -> Fields:
    """Return an event with notes of the present types, so that it can be read whatever an earlier version or an agent noted.

    A note with an unknown name or another type is moved to `own` of the notes. If it does not fit there, it is left out.
    """
    kind, notes = _NOTED.get(str(event.get("type"))), event.get("meta")
    if kind is None or not isinstance(notes, dict) or _fits(notes, kind):
        return event
    fitting = {name: value for name, value in notes.items() if _fits({name: value}, kind)}
    others = {name: value for name, value in notes.items() if name not in fitting}
    if own := {name: value for name, value in others.items() if _fits({"own": {name: value}}, kind)}:
        fitting["own"] = own | (fitting.get("own") or {})
    return event | {"meta": fitting}


def _fits(notes: Fields, kind: type[Cost]) -> bool:
    try:
        msgspec.convert(notes, kind)
    except msgspec.ValidationError:
        return False
    return True


def _renamed(fields: Fields, **names: str) -> Fields:
    return {names.get(name, name): value for name, value in fields.items()}


def _object(value: object) -> Fields:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, not {value!r:.40}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, not {value!r:.40}")
    return value


def _created(event: Fields) -> Fields:
    return event | {"config": _renamed(_object(event["config"]), gate="approval")}


def _charter(event: Fields) -> Fields:
    return event | {
        "limits": {name: value for name, value in _object(event.get("limits", {})).items() if value is not None}
    }


def _measured(event: Fields) -> Fields:
    if "result" in event:
        return event
    result = {new: event.pop(old) for old, new in _OF_RESULT.items() if old in event}
    return _renamed(event, noisy="disturbance_ignored") | {"result": result}


def _judged(event: Fields) -> Fields:
    return event | {name: renewed(_text(event[name])) for name in ("finding", "reason") if name in event}


_CHANGES: dict[str, Callable[[Fields], Fields]] = {
    "created": _created,
    "started": lambda event: _renamed(event, gate="approval"),
    "fit": lambda event: _renamed(event, found="user_commit") | {"type": "startcommit"},
    "charter": _charter,
    "proposed": lambda event: _renamed(event, again="retry_of"),
    "gate": lambda event: event | {"type": "approvalchanged"},
    "measured": _measured,
    "judged": _judged,
}
