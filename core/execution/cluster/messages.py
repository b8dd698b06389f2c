"""What the loop and a node say to each other: plain data as JSON. Nothing else crosses the boundary but bytes of files."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

from core.record.live import Bytes, Load
from nanochat.contract.job import Job, Result
from nanochat.contract.messages import Progress, Started
from nanochat.contract.value import Data

CHUNK = 4 << 20  # bytes of a file in one message
TAIL = 256 << 10  # bytes of a growing file in one message
GROWING = ("metrics.jsonl", "output.txt")  # files that the app shows while a training runs
NATS, WEIGHTS, COMPILED = "nats.npy", "model.safetensors", "compiled"  # what else a job may leave in its folder
MOST_GROWING = 64 << 20  # bytes of each of them
MOST_RETURNED = (1 << 30) + (320 << 20)  # bytes of all files of one job; weights have up to 1 GiB, kernels 256 MiB

T = TypeVar("T")


class Facts(Data, frozen=True, kw_only=True):
    """A node, as its actor sees it.

    Attributes:
        kind: The processor, or the card on a GPU. Scores of different kinds cannot be compared.
        torch: The version of PyTorch; "" if it is not installed.
        pid: The process of the actor.
    """

    kind: str
    torch: str
    pid: int


class Condition(Data, frozen=True, kw_only=True):
    """What a node has for trainings, as its actor finds it.

    Attributes:
        facts: The node.
        memory: Its memory, in bytes.
        free: Free space for its cache, in bytes.
        lacks: What a sandbox lacks there, as phrases. It was tried.
        failed: Why the sandbox could not be tried, as a clause; "" if it was.
    """

    facts: Facts
    memory: Bytes
    free: Bytes
    lacks: tuple[str, ...] = ()
    failed: str = ""


class Setup(Data, frozen=True, kw_only=True):
    """Prepare for the trainings of a run.

    Attributes:
        run: The id of the run.
        files: The frozen copies: path relative to the run's folder -> SHA-256.
        device: cpu or cuda.
        compiles: Whether torch.compile works.
    """

    run: str
    files: dict[str, str]
    device: str
    compiles: bool


class Missing(Data, frozen=True, kw_only=True):
    """The hashes of files that a node lacks."""

    digests: tuple[str, ...]


class Piece(Data, frozen=True, kw_only=True):
    """Where bytes of a file belong, which travel beside this."""

    digest: str
    offset: int
    last: bool


class Training(Data, frozen=True, kw_only=True):
    """Run a job. The node fills in the job's paths.

    Attributes:
        job: The job.
        source: The text of train.py.
        inputs: Further files of the job: path relative to its folder -> SHA-256.
        beside: Number of trainings that may run on the node at once.
    """

    job: Job
    source: str
    inputs: dict[str, str]
    beside: int


class Question(Data, frozen=True, kw_only=True):
    """Ask for news of the running job.

    Attributes:
        after: The number of the last message that is known.
        sizes: Growing file -> bytes that are known.
    """

    after: int
    sizes: dict[str, int]


class Tail(Data, frozen=True, kw_only=True):
    """New bytes of a growing file, from `start` on. What is known after `start` is replaced."""

    start: int
    data: bytes


class Ending(Data, frozen=True, kw_only=True):
    """How a job ended: with a result, or with the reason for having no result.

    Attributes:
        result: The result.
        failed: Why the harness failed, as sentences.
        unusable: Why the data cannot be used, as sentences.
        files: The files to fetch: path relative to the job's folder -> bytes.
    """

    result: Result | None = None
    failed: str = ""
    unusable: str = ""
    files: dict[str, int] = msgspec.field(default_factory=dict)


class News(Data, frozen=True, kw_only=True):
    """News of the running job. Of several messages of a kind only the latest is sent.

    Attributes:
        number: The number of the last message.
        messages: The messages, in order.
        tails: Growing file -> its new bytes.
        ending: How the job ended; None while it runs.
        load: The node; None if it was told lately.
    """

    number: int
    messages: tuple[Started | Progress, ...] = ()
    tails: dict[str, Tail] = msgspec.field(default_factory=dict)
    ending: Ending | None = None
    load: Load | None = None


class Wanted(Data, frozen=True, kw_only=True):
    """Ask for bytes of a file of the ended job."""

    name: str
    offset: int


def encode(value: Data) -> bytes:
    """Encode a message as ASCII JSON. A text may contain bytes that are not valid UTF-8."""
    return json.dumps(msgspec.to_builtins(value)).encode()


def decode(raw: bytes, kind: type[T]) -> T:
    """Decode a message. Raises ValueError, also msgspec.ValidationError."""
    message: T = msgspec.convert(json.loads(raw), kind)
    return message
