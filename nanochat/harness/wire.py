"""Messages between scorer and trainer: JSON of a fixed size over a socket pair. Nothing is unpickled.

The trainer runs untrusted code, so its messages are checked against these types.
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
    """The other side sent an invalid message."""


class Missing(Data, frozen=True, kw_only=True, tag_field="say", tag="missing"):
    """From the trainer: the parts of the sandbox that could not be enforced, for the user."""

    parts: tuple[str, ...]


class Start(Data, frozen=True, kw_only=True, tag_field="say", tag="start"):
    """From the trainer: set-up is done. It waits for the training tokens."""


class Step(Data, frozen=True, kw_only=True, tag_field="say", tag="step"):
    """From the trainer: the total batches and tokens so far."""

    steps: Count
    tokens: Count


class Log(Data, frozen=True, kw_only=True, tag_field="say", tag="log"):
    """From the trainer: figures for the curve, which may be NaN. `progress` is the fraction of the budget by the trainer's clock."""

    step: Count
    progress: float
    values: dict[str, float]


class Trained(Data, frozen=True, kw_only=True, tag_field="say", tag="trained"):
    """From the trainer: train(run) has returned a model. `params` is None if it is not a torch module."""

    params: Count | None
    steps: Count
    tokens: Count


class MemoryTaken(Data, frozen=True, kw_only=True, tag_field="say", tag="memory taken"):
    """From the trainer: whether it could map the GPU memory that the scorer lent it."""

    lent: bool


class Answered(Data, frozen=True, kw_only=True, tag_field="say", tag="answered"):
    """From the trainer: the logits are in the shared memory."""


class NoRoom(Data, frozen=True, kw_only=True, tag_field="say", tag="no room"):
    """From the trainer: it has too little memory to answer so many rows at once."""


class WeightsDone(Data, frozen=True, kw_only=True, tag_field="say", tag="weights done"):
    """From the trainer: the weights are saved or loaded."""


class Crash(Data, frozen=True, kw_only=True, tag_field="say", tag="crash"):
    """From the trainer: train.py failed, and the trainer ends."""

    crash: CrashClass
    reason: str
    traceback: str


FromTrainer = Missing | Start | Step | Log | Trained | MemoryTaken | Answered | NoRoom | WeightsDone | Crash


class Tokens(Data, frozen=True, kw_only=True, tag_field="say", tag="tokens"):
    """To the trainer: the training tokens, as a file descriptor sent with this message."""


class LendMemory(Data, frozen=True, kw_only=True, tag_field="say", tag="lend memory"):
    """To the trainer: GPU memory for the logits, as a descriptor sent with this message. No descriptor: there is no such memory."""


class Ask(Data, frozen=True, kw_only=True, tag_field="say", tag="ask"):
    """To the trainer: compute the logits of the first `rows` rows of the shared tokens."""

    rows: int


class SaveWeights(Data, frozen=True, kw_only=True, tag_field="say", tag="save weights"):
    """To the trainer: write the model's weights to the scratch folder."""


class LoadWeights(Data, frozen=True, kw_only=True, tag_field="say", tag="load weights"):
    """To the trainer: load weights into the model. Their file comes as a descriptor with this message."""


ToTrainer = Tokens | LendMemory | Ask | SaveWeights | LoadWeights


def pack(message: FromTrainer | ToTrainer) -> bytes:
    """Encode a message, padded with spaces to SIZE bytes. Raises ValueError if it is too long."""
    # Not msgspec's JSON, since figures may be NaN and a traceback may contain invalid UTF-8.
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
    """Decode a message from the trainer. Raises Malformed."""
    message: FromTrainer = _unpack(raw, FromTrainer)
    return message


def to_trainer(raw: bytes) -> ToTrainer:
    """Decode a message from the scorer. Raises Malformed."""
    message: ToTrainer = _unpack(raw, ToTrainer)
    return message


class Inbox:
    """Reassembles a trainer's messages from the socket's stream."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""

    def read(self) -> list[FromTrainer]:
        """Return the messages since the last call, without waiting.

        Raises:
            Malformed: A message is invalid.
            EOFError: The trainer has closed the connection.
        """
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
