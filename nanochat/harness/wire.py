"""What scorer and trainer say to each other: messages of one fixed size over a socket pair.

Nothing is unpickled. What the trainer says is checked against these types, and believed no further than a message says.
"""

from __future__ import annotations

import json
import socket
from typing import Annotated, Any

import msgspec

from nanochat.contract.job import CrashClass
from nanochat.contract.value import Data

SIZE = 4096  # bytes of every message
Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]  # steps, tokens or parameters


class Malformed(Exception):
    """The other side sent something that is no message."""


class Missing(Data, frozen=True, kw_only=True, tag_field="say", tag="missing"):
    """From the trainer: the parts of the sandbox that could not be enforced, in words."""

    parts: tuple[str, ...]


class Start(Data, frozen=True, kw_only=True, tag_field="say", tag="start"):
    """From the trainer: set-up is done; it waits for the training tokens."""


class Step(Data, frozen=True, kw_only=True, tag_field="say", tag="step"):
    """From the trainer: how many batches and tokens it has taken so far."""

    steps: Count
    tokens: Count


class Log(Data, frozen=True, kw_only=True, tag_field="say", tag="log"):
    """From the trainer: figures for the curve, which need not be finite. `progress`: the fraction of the budget, by its own clock."""

    step: Count
    progress: float
    values: dict[str, float]


class Trained(Data, frozen=True, kw_only=True, tag_field="say", tag="trained"):
    """From the trainer: train(run) has returned a model. `params` is None where it is no torch module."""

    params: Count | None
    steps: Count
    tokens: Count


class MemoryTaken(Data, frozen=True, kw_only=True, tag_field="say", tag="memory taken"):
    """From the trainer: whether it could map the GPU memory that the scorer lent it."""

    lent: bool


class Answered(Data, frozen=True, kw_only=True, tag_field="say", tag="answered"):
    """From the trainer: the logits lie in the shared memory."""


class NoRoom(Data, frozen=True, kw_only=True, tag_field="say", tag="no room"):
    """From the trainer: there is too little memory to answer so many rows at once."""


class Crash(Data, frozen=True, kw_only=True, tag_field="say", tag="crash"):
    """From the trainer: train.py failed, and it ends now."""

    crash: CrashClass
    reason: str
    traceback: str


FromTrainer = Missing | Start | Step | Log | Trained | MemoryTaken | Answered | NoRoom | Crash


class Tokens(Data, frozen=True, kw_only=True, tag_field="say", tag="tokens"):
    """To the trainer: the training tokens, as an open file that comes with this message."""


class LendMemory(Data, frozen=True, kw_only=True, tag_field="say", tag="lend memory"):
    """To the trainer: GPU memory for the logits, as a descriptor that comes with this message, or none."""


class Ask(Data, frozen=True, kw_only=True, tag_field="say", tag="ask"):
    """To the trainer: compute the logits of so many rows of the shared tokens."""

    rows: int


ToTrainer = Tokens | LendMemory | Ask


def pack(message: FromTrainer | ToTrainer) -> bytes:
    """Encode one message, padded with spaces. Raises ValueError when it is too long."""
    # Python's JSON and not msgspec's: figures may be NaN, and a traceback may hold what no UTF-8 text can.
    raw = json.dumps(msgspec.to_builtins(message)).encode()
    if len(raw) > SIZE:
        raise ValueError("message too long")
    return raw.ljust(SIZE)


def _unpack(raw: bytes, kind: Any) -> Any:
    try:
        return msgspec.convert(json.loads(raw), kind)
    except (ValueError, OverflowError, RecursionError) as error:
        raise Malformed(str(error)) from None


def from_trainer(raw: bytes) -> FromTrainer:
    """Decode what the trainer sent. Raises Malformed."""
    message: FromTrainer = _unpack(raw, FromTrainer)
    return message


def to_trainer(raw: bytes) -> ToTrainer:
    """Decode what the scorer sent. Raises Malformed."""
    message: ToTrainer = _unpack(raw, ToTrainer)
    return message


class Inbox:
    """Whole messages of a trainer, out of a stream that may bring them in pieces."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""

    def read(self) -> list[FromTrainer]:
        """What came since the last call, without waiting. Raises Malformed, or EOFError when the other side is gone."""
        messages: list[FromTrainer] = []
        while True:
            try:
                piece = self._end.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages
            except OSError:
                raise EOFError from None
            if not piece:
                if messages:
                    return messages
                raise EOFError
            self._rest += piece
            while len(self._rest) >= SIZE:
                messages.append(from_trainer(self._rest[:SIZE]))
                self._rest = self._rest[SIZE:]
            if len(messages) >= 256:
                return messages
