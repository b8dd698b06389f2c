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
TOKENS, WIDTH, VOCABULARY = 256, 128, 512  # of the gauge's model
PASS_ITEMS, PARTS = 1 << 21, 4  # float32 values in a pass over memory, and regions that the passes use in turn
PASS_WEIGHT = 7  # the time of a pass counts so many times: a fifth of the whole fits best (docs/decisions.md)


class NotMeasured(Exception):
    """The gauge cannot run here; the message is a clause that says why."""


@dataclass(frozen=True)
class Reading:
    """One reading: CPU seconds of the pass over memory, CPU and wall seconds of the rounds after it.

    `before_s`, `during_s`: CPU seconds that the trainer used before and during the rounds. It should use none.
    """

    pass_s: float
    rounds_s: float
    wall_s: float
    before_s: float = 0.0
    during_s: float = 0.0

    @property
    def work_s(self) -> float:
        """Weighted CPU seconds: the machine's speed goes with their inverse."""
        return self.rounds_s + PASS_WEIGHT * self.pass_s


class Gauge:
    """The fixed work, on one thread: a pass over memory that no cache holds, then two rounds of a small transformer.

    A round is the forward and the backward pass in float32. Before the first round the trainer may have pushed its data out of the
    caches; the second round finds them there. Of all that was tried (docs/decisions.md) this mix follows the speed of a real
    training best: it waits for the processor, the caches, the memory and the interpreter in about the same shares.
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
        self._memory = torch.ones((PARTS, PASS_ITEMS))  # not zeros: their pages would be made during a pass
        self._part = 0
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
            began = time.thread_time()
            self._pass()
            pass_s = time.thread_time() - began
            before = ran_s()
            wall, began = time.perf_counter(), time.thread_time()
            self._round()
            self._round()
            rounds_s, wall_s = time.thread_time() - began, time.perf_counter() - wall
            return Reading(pass_s, rounds_s, wall_s, before, ran_s() - before)
        finally:
            with contextlib.suppress(OSError):  # the cores that may be used have changed
                os.sched_setaffinity(0, self._cores)

    def _pass(self) -> None:
        """Read and write memory that was last used some readings ago."""
        self._part = (self._part + 1) % PARTS
        self._memory[self._part].add_(1.0)

    def _round(self) -> None:
        """One pass forward and back over T tokens; width C, vocabulary V."""
        embed, qkv, out, up, down, unembed = self._weights
        with torch.enable_grad():
            x = F.rms_norm(F.embedding(self._tokens[:-1], embed), (WIDTH,))  # (T, C)
            q, k, v = F.linear(x, qkv).view(1, 1, TOKENS, 3 * WIDTH).chunk(3, dim=-1)  # (1, 1, T, C)
            y = F.scaled_dot_product_attention(F.rms_norm(q, (WIDTH,)), F.rms_norm(k, (WIDTH,)), v, is_causal=True)
            x = x + F.linear(y[0, 0], out)
            x = x + F.linear(F.relu(F.linear(F.rms_norm(x, (WIDTH,)), up)).square(), down)
            logits = F.linear(F.rms_norm(x, (WIDTH,)), unembed)  # (T, V)
            loss = F.cross_entropy(logits, self._tokens[1:])
        torch.autograd.grad(loss, self._weights)

    def reference(self, seconds: float) -> float:
        """Median weighted CPU seconds of a reading on this machine as it is now, over so many seconds. Raises NotMeasured."""
        core, until = min(self._cores), time.monotonic() + seconds
        found: list[float] = []
        while len(found) < LEAST_READINGS or time.monotonic() < until:
            found.append(self.read(core).work_s)
        return statistics.median(found)
