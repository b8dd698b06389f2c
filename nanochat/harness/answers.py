"""Ask the trainer's model for logits, through shared memory, and time every answer.

On a CPU both processes share host memory. On a GPU the scorer lends the trainer a piece of GPU memory (lent.py). If the driver
does not support that, the host memory is pinned in both processes, so that the GPU copies faster. The scorer copies the logits
before it uses them, so the trainer cannot change them afterwards.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from nanochat.harness import lent, wire
from nanochat.harness.shared import Shared
from nanochat.harness.trainer_process import TrainerProcess

CPU = torch.device("cpu")


@dataclass
class Buffers:
    """Memory shared by a trainer and the scorer.

    Attributes:
        batch: Rows, B.
        length: Tokens per row, T.
        vocab: Size of the vocabulary, V.
        inputs: Tokens, int64 (B, T).
        outputs: Logits, float32 (B, T, V).
    """

    batch: int
    length: int
    vocab: int
    inputs: Shared = field(init=False)
    outputs: Shared = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = Shared(self.batch * self.length * 8)
        self.outputs = Shared(self.answer_bytes)

    @property
    def answer_bytes(self) -> int:
        return self.batch * self.length * self.vocab * 4


class Answers:
    """Asks one trained model for logits. Uses CUDA only after `use_gpu`; this process must not fork after that."""

    def __init__(self, trainer: TrainerProcess, buffers: Buffers, *, wall: bool) -> None:
        """Prepare to ask a model.

        Args:
            trainer: The process of the model.
            buffers: Memory shared with that process.
            wall: True if the budget is wall time. If False, it is CPU time, and the trainer's CPU time between answers counts
                too.
        """
        self._trainer, self._buffers, self._wall = trainer, buffers, wall
        self._answered = trainer.used(fresh=True)
        self._asked: float | None = None  # `used` of the trainer when the pending question was asked
        self._lent: torch.Tensor | None = None  # GPU memory that the trainer writes to, float32, flat
        self.device = CPU  # where the copies are made
        self.seconds: list[float] = []  # duration of each answer, in the budget's unit

    def use_gpu(self, check: Callable[[], None]) -> None:
        """Transfer answers through the GPU, by the fastest method that works here.

        Args:
            check: Called while waiting for the trainer. May raise Failed.

        Raises:
            Failed: The trainer failed, or `check` raised it.
        """
        self.device = torch.device("cuda")
        size = self._buffers.answer_bytes
        memory: lent.DeviceMemory | None = None
        with contextlib.suppress(lent.NotLent, RuntimeError):  # RuntimeError: the GPU is full or not available
            memory = lent.DeviceMemory.create(size)
        self._begin()  # the trainer is charged for this time, since it could go on training
        try:
            self._trainer.lend_memory(memory.descriptor if memory is not None else None)
            taken = self._trainer.wait(wire.MemoryTaken, check).lent
        finally:
            self._end()
        if memory is not None and taken:
            self._lent = memory.tensor((size // 4,))
        else:
            if memory is not None:
                memory.close()
            self._buffers.outputs.pin()

    @property
    def room(self) -> int:
        """Rows that fit into the buffers."""
        return self._buffers.batch

    @property
    def spent(self) -> float:
        """Seconds of answering so far, in the budget's unit, including the pending answer."""
        return sum(self.seconds) + (self._trainer.used() - self._asked if self._asked is not None else 0.0)

    def ways(self) -> dict[str, float]:
        """Return statistics for the record, 0 or 1 each.

        `lent`: answers came through GPU memory. `on_gpu`: all copies fitted on the GPU.
        """
        return {"lent": float(self._lent is not None), "on_gpu": float(self.device != CPU)}

    def ask(self, x: np.ndarray, check: Callable[[], None]) -> torch.Tensor:
        """Ask for the logits of a batch.

        Args:
            x: Tokens, int64 (B, T). B is at most `room`.
            check: Called while waiting for the answer. May raise Failed.

        Returns:
            A private copy of the logits, float32 (B, T, V), on `device`.

        Raises:
            Failed: The trainer failed, or `check` raised it.
            TooBig: The model has too little memory for so many rows.
        """
        self._buffers.inputs.array("<i8", (self._buffers.batch, x.shape[1]))[: len(x)] = x
        self._begin()
        self._trainer.ask(len(x))
        try:
            self._trainer.wait(wire.Answered, check)
        finally:
            self._end()
        shape = (*x.shape, self._buffers.vocab)
        if self._lent is not None:
            shared = self._lent[: math.prod(shape)].view(shape)
        else:
            shared = torch.from_numpy(self._buffers.outputs.array("<f4", shape))
        if self.device != CPU:
            with self.room_or_cpu():
                return shared.to(self.device, copy=True)
        return shared.to(CPU, copy=True)

    def _begin(self) -> None:
        self._trainer.last_activity = time.monotonic()
        self._asked = (
            self._trainer.used(fresh=True) if self._wall else self._answered
        )  # CPU time between answers counts

    def _end(self) -> None:
        now = self._trainer.used(fresh=True)
        assert self._asked is not None
        self.seconds.append(now - self._asked)
        self._answered, self._asked = now, None

    @contextlib.contextmanager
    def room_or_cpu(self) -> Any:
        """Suppress RuntimeError, which a full GPU raises, and use the CPU for all later copies and their evaluation."""
        try:
            yield
        except RuntimeError:
            self.device = CPU
