"""Messages between the loop and the harness: one JSON object a line. The field `say` names the type."""

from __future__ import annotations

import json
from typing import Literal

import msgspec

from nanochat.contract.job import Job, Result
from nanochat.contract.value import Data

# Version of the messages here and in job.py. A run keeps the harness it began with, so raise this with every changed field.
VERSION = 5
OLDEST = 3  # the first version that this loop understands; 3 cannot export, and 4 does not say how long readings took
UNDERSTOOD = range(OLDEST, VERSION + 1)  # versions of a harness that a run can continue with
EXPORTS = 4  # the first version that can
Phase = Literal["preflight", "gauge", "setup", "training", "scoring"]


class Train(Data, frozen=True, kw_only=True, tag_field="say", tag="train"):
    """To the harness: run this job. Jobs run one after another."""

    job: Job


class Abort(Data, frozen=True, kw_only=True, tag_field="say", tag="abort"):
    """To the harness: end the running job. Its outcome is `interrupted`."""


Request = Train | Abort


class Ready(Data, frozen=True, kw_only=True, tag_field="say", tag="ready"):
    """The harness has started. `pid` is its process, `torch` the version of PyTorch."""

    pid: int
    torch: str


class Started(Data, frozen=True, kw_only=True, tag_field="say", tag="started"):
    """A job has started a trainer. `pids` are the processes of the job."""

    job: str
    pids: tuple[int, ...]


class Progress(Data, frozen=True, kw_only=True, tag_field="say", tag="progress"):
    """The progress of a job, sent a few times a second."""

    job: str
    phase: Phase
    step: int
    loss: float | None  # latest training loss; None before the first
    progress: float  # of this phase, from 0 to 1
    charged_s: float  # seconds charged to the budget so far
    tokens_per_s: float | None  # training tokens per charged second; None outside the training phase
    wall_s: float  # since the job began
    speed: float | None  # of the machine relative to the reference; None if not measured


class Done(Data, frozen=True, kw_only=True, tag_field="say", tag="done"):
    """A job has ended."""

    result: Result


class Unusable(Data, frozen=True, kw_only=True, tag_field="say", tag="unusable"):
    """The data of a job cannot be used, and a retry would not help."""

    job: str
    reason: str


Message = Ready | Started | Progress | Done | Unusable


def line(message: Request | Message) -> bytes:
    """Encode a message as one line of ASCII JSON. A path may contain bytes that are not valid UTF-8."""
    return json.dumps(msgspec.to_builtins(message, enc_hook=_plain)).encode() + b"\n"


def _plain(value: object) -> float | str:
    """Convert subclasses of float and str, such as those of NumPy and PyTorch, to the built-in types."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} has no place in a message")


def request(raw: bytes | str) -> Request:
    """Decode one line sent to the harness. Raises ValueError."""
    decoded: Request = msgspec.convert(json.loads(raw), Request)
    return decoded


def message(raw: bytes | str) -> Message:
    """Decode one line sent by the harness. Raises ValueError."""
    decoded: Message = msgspec.convert(json.loads(raw), Message)
    return decoded
