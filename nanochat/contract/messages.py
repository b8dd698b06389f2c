"""What the loop and its harness say to each other: one JSON object a line, told apart by its field `say`."""

from __future__ import annotations

import json
from typing import Literal

import msgspec

from nanochat.contract.job import Job, Result
from nanochat.contract.value import Data

# Of what is said here and in job.py. A run keeps the harness of the version that began it, so raise this with every field.
VERSION = 3
Phase = Literal["preflight", "gauge", "setup", "training", "scoring"]


class Train(Data, frozen=True, kw_only=True, tag_field="say", tag="train"):
    """To the harness: do this job. Jobs are done one after another."""

    job: Job


class Abort(Data, frozen=True, kw_only=True, tag_field="say", tag="abort"):
    """To the harness: end the running job. Its result says interrupted."""


Request = Train | Abort


class Ready(Data, frozen=True, kw_only=True, tag_field="say", tag="ready"):
    """The harness is up. `pid` is its process, `torch` the version of PyTorch."""

    pid: int
    torch: str


class Started(Data, frozen=True, kw_only=True, tag_field="say", tag="started"):
    """A job has started a trainer; `pids` are the processes of this job."""

    job: str
    pids: tuple[int, ...]


class Progress(Data, frozen=True, kw_only=True, tag_field="say", tag="progress"):
    """How far a job has come, some times a second."""

    job: str
    phase: Phase
    step: int
    loss: float | None  # the latest training loss; None before the first
    progress: float  # of this phase, from 0 to 1
    charged_s: float  # seconds charged to the budget so far
    tokens_per_s: float | None  # training tokens per charged second; None outside the training
    wall_s: float  # since the job began
    speed: float | None  # of the machine, 1 as at the reference; None where it is not measured


class Done(Data, frozen=True, kw_only=True, tag_field="say", tag="done"):
    """A job has ended."""

    result: Result


class Unusable(Data, frozen=True, kw_only=True, tag_field="say", tag="unusable"):
    """The data of a job cannot be used, and no further try can change that."""

    job: str
    reason: str


Message = Ready | Started | Progress | Done | Unusable


def line(message: Request | Message) -> bytes:
    """Encode a message as one line of JSON, in ASCII: a path may hold what no UTF-8 text can."""
    return json.dumps(msgspec.to_builtins(message, enc_hook=_plain)).encode() + b"\n"


def _plain(value: object) -> float | str:
    """A number or text of a subclass, as NumPy and PyTorch have them, as Python's own."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} has no place in a message")


def request(raw: bytes | str) -> Request:
    """Decode one line for the harness. Raises ValueError."""
    decoded: Request = msgspec.convert(json.loads(raw), Request)
    return decoded


def message(raw: bytes | str) -> Message:
    """Decode one line of the harness. Raises ValueError."""
    decoded: Message = msgspec.convert(json.loads(raw), Message)
    return decoded
