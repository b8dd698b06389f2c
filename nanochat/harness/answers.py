"""How logits come from the trainer to the scorer: token batches in, private copies of logits out, every answer timed.

On a CPU both ends share host memory. On a GPU the scorer lends the trainer a piece of GPU memory (lent.py); where the driver
cannot do that, the host memory is pinned at both ends, so that the GPU copies by itself. The scorer takes a copy before it
computes anything: what the trainer writes later changes nothing.
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
    """The memory that one trainer and the scorer share: room for `batch` rows of `length` tokens, and for their logits."""

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
    """The scorer's side of asking one trained model. It uses CUDA only after `use_gpu`, when nothing is forked any more."""

    def __init__(self, trainer: TrainerProcess, buffers: Buffers, *, wall: bool) -> None:
        """`wall`: the budget is wall time; else CPU time between answers counts as well."""
        self._trainer, self._buffers, self._wall = trainer, buffers, wall
        self._answered = trainer.used(fresh=True)
        self._asked: float | None = None  # since when an answer is awaited
        self._lent: torch.Tensor | None = None  # the GPU memory that the trainer writes to, float32, flat
        self.device = CPU  # where the copies lie
        self.seconds: list[float] = []  # of each answer, in the budget's unit

    def use_gpu(self, check: Callable[[], None]) -> None:
        """Bring the answers over the GPU, by the fastest way that works here. `check` is called while it waits."""
        self.device = torch.device("cuda")
        size = self._buffers.answer_bytes
        memory: lent.DeviceMemory | None = None
        with contextlib.suppress(lent.NotLent, RuntimeError):  # RuntimeError: the GPU is full, or cannot be had
            memory = lent.DeviceMemory.create(size)
        self._begin()  # whoever trains on before it takes the memory is charged for that
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
        """How many rows can be asked at once, as far as the buffers go."""
        return self._buffers.batch

    @property
    def spent(self) -> float:
        """Seconds of answering so far, in the budget's unit, the answer that is awaited included."""
        return sum(self.seconds) + (self._trainer.used() - self._asked if self._asked is not None else 0.0)

    def ways(self) -> dict[str, float]:
        """For the record, each 0 or 1: answers came through GPU memory; all copies had room on the GPU."""
        return {"lent": float(self._lent is not None), "on_gpu": float(self.device != CPU)}

    def ask(self, x: np.ndarray, check: Callable[[], None]) -> torch.Tensor:
        """Logits float32 (B, T, V) for tokens x int64 (B, T), a private copy. Raises what `TrainerProcess.wait` raises."""
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
        """The GPU may be full of the trainer's memory: from then on copies lie, and are computed on, in the machine's memory."""
        try:
            yield
        except RuntimeError:
            self.device = CPU
