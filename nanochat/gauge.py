"""The gauge: how fast this machine is just now, by a fixed piece of work like that of a training step."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

LEAST_READINGS = 7  # for a reference: a core that was idle takes some of them to its full clock
TOKENS, WARMING, WIDTH, VOCABULARY = 256, 32, 128, 512  # of the gauge's model; WARMING: tokens of the round before


class NotMeasured(Exception):
    """The gauge cannot run here; the message is a clause that says why."""


@dataclass(frozen=True)
class Reading:
    """CPU and wall seconds of one timed round; CPU seconds of the trainer before and during it: it should use none."""

    cpu_s: float
    wall_s: float
    before_s: float = 0.0
    during_s: float = 0.0


class Gauge:
    """The fixed work: the forward and the backward pass of a small transformer in float32, on one thread.

    Of all that was tried (docs/decisions.md) it follows the speed of a real training best: it waits for the processor, the caches,
    the memory and the interpreter in about the same shares.
    """

    def __init__(self) -> None:
        """Raises NotMeasured where this process cannot choose its core."""
        if not hasattr(os, "sched_setaffinity"):
            raise NotMeasured("this system lets no program choose its core")
        self._cores = os.sched_getaffinity(0)
        draw = torch.Generator().manual_seed(0)
        self._tokens = torch.randint(VOCABULARY, (TOKENS + 1,), generator=draw)  # (T+1,)
        shapes = (
            (VOCABULARY, WIDTH),
            (3 * WIDTH, WIDTH),
            (WIDTH, WIDTH),
            (4 * WIDTH, WIDTH),
            (WIDTH, 4 * WIDTH),
            (VOCABULARY, WIDTH),
        )
        self._weights = [(torch.randn(shape, generator=draw) * WIDTH**-0.5).requires_grad_() for shape in shapes]

    def read(self, core: int, ran_s: Callable[[], float] = float) -> Reading:
        """Take one reading on that core.

        `ran_s` gives the CPU seconds that the trainer has used since it was stopped. Raises NotMeasured where the core cannot
        be chosen.
        """
        try:
            os.sched_setaffinity(0, {core})
        except OSError as error:
            raise NotMeasured(f"its core cannot be chosen: {error.strerror}") from None
        try:
            self._round(WARMING)
            before = ran_s()
            wall, cpu = time.perf_counter(), time.thread_time()
            self._round(TOKENS)
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            return Reading(cpu, wall, before, ran_s() - before)
        finally:
            with contextlib.suppress(OSError):  # the cores that may be used have changed
                os.sched_setaffinity(0, self._cores)

    def _round(self, count: int) -> None:
        """One pass forward and back over T = `count` tokens; width C, vocabulary V."""
        embed, qkv, out, up, down, unembed = self._weights
        with torch.enable_grad():
            x = F.rms_norm(F.embedding(self._tokens[:count], embed), (WIDTH,))  # (T, C)
            q, k, v = F.linear(x, qkv).view(1, 1, count, 3 * WIDTH).chunk(3, dim=-1)  # (1, 1, T, C)
            y = F.scaled_dot_product_attention(F.rms_norm(q, (WIDTH,)), F.rms_norm(k, (WIDTH,)), v, is_causal=True)
            x = x + F.linear(y[0, 0], out)
            x = x + F.linear(F.relu(F.linear(F.rms_norm(x, (WIDTH,)), up)).square(), down)
            loss = F.cross_entropy(
                F.linear(F.rms_norm(x, (WIDTH,)), unembed), self._tokens[1 : count + 1]
            )  # logits (T, V)
        torch.autograd.grad(loss, self._weights)

    def reference(self, seconds: float) -> float:
        """Median CPU seconds of a reading on this machine as it is now, over so many seconds. Raises NotMeasured."""
        core, until = min(self._cores), time.monotonic() + seconds
        found: list[float] = []
        while len(found) < LEAST_READINGS or time.monotonic() < until:
            found.append(self.read(core).cpu_s)
        return statistics.median(found)
