"""The gauge: how fast this machine is just now, by a fixed piece of work like that of a training step.

A CPU second is no fixed amount of work: caches, the memory bus and clocks are shared with whatever else runs, on this machine
and, in a virtual one, beside it. So while a trainer runs it is stopped again and again for some milliseconds, and the scorer
does the fixed work on the core that the trainer ran on. A short round brings the gauge's own data into the caches, the next is
timed: what the trainer left there does not matter.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

from nanochat import wire

EVERY_S = (0.3, 0.7)  # seconds from one reading to the next, drawn at random: no trainer can be ready for one
RECENT = 8  # readings whose mean is the speed of the moment
REFERENCE_READINGS = 20  # they only set the unit
RAN_S = 1e-6  # CPU seconds: a trainer that used more of them during a timed round did not stand still
STOPPING_S = 5e-3  # CPU seconds that it may take to stop
MOST_RUNS, MOST_SHARE = 3, 0.1  # readings that are spoilt like that, at least, and of all
TOKENS, WARMING, WIDTH, VOCABULARY = 256, 32, 128, 512  # of the gauge's model; WARMING: tokens of the round before
PAGE = 64  # bytes that scorer and trainer share


class NotMeasured(Exception):
    """The gauge cannot run here; the message is a clause that says why."""


class RanOn(Exception):
    """The trainer ran on while it was to stand still."""


class Standstill(Protocol):
    """A trainer that was told to stop."""

    @property
    def core(self) -> int | None:
        """Where it ran; None where it did not stop at once."""
        ...

    def ran_s(self) -> float:
        """CPU seconds that it has used since it had stopped, or was told to."""
        ...


class Trainer(Protocol):
    """What is needed of a trainer."""

    def used(self, *, fresh: bool = False) -> float: ...

    def stopped(self) -> AbstractContextManager[Standstill, bool | None]:
        """Stop it, and let it go on at the end."""
        ...


@dataclass(frozen=True)
class Reading:
    """CPU and wall seconds of one timed round, and the CPU seconds that the trainer used meanwhile, who was to stand still."""

    cpu_s: float
    wall_s: float
    ran_s: float = 0.0


class Gauge:
    """The fixed work: the forward and the backward pass of a small transformer in float32, on one thread.

    Of all that was tried (docs/verdicts.md) it follows the speed of a real training best: it waits for the processor, the caches, the
    memory and the interpreter in about the same shares.
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
        """One reading on that core; `ran_s` as in Standstill. Raises NotMeasured where the core cannot be chosen."""
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
            return Reading(cpu, wall, ran_s() - before)
        finally:
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

    def reference(self) -> float:
        """Mean CPU seconds of a reading on this machine as it is now. Takes less than a second. Raises NotMeasured."""
        cores = sorted(self._cores)
        found = [self.read(cores[index % len(cores)]).cpu_s for index in range(REFERENCE_READINGS)]
        return statistics.fmean(found)


class Page:
    """The line from seconds used to reference seconds, in memory that scorer and trainer share: the trainer's progress follows it.

    The writer changes the entry that is not read, then says that it is the one to read.
    """

    def __init__(self, handle: int | None = None) -> None:
        shared = wire.Shared(PAGE, handle)
        self.handle = shared.handle
        self._numbers = shared.array("<f8", (PAGE // 8,))  # which entry is read, then two entries of three
        if handle is None:
            self.write(0.0, 0.0, 1.0)

    def write(self, used: float, reference: float, speed: float) -> None:
        """From `used` seconds on, which are so many reference seconds, each second counts `speed`."""
        other = 1 - int(self._numbers[0])
        self._numbers[1 + 3 * other : 4 + 3 * other] = used, reference, speed
        self._numbers[0] = other

    def at(self, used: float) -> float:
        """Reference seconds at so many seconds used."""
        first = 1 + 3 * int(self._numbers[0])
        since, reference, speed = (float(number) for number in self._numbers[first : first + 3])
        return reference + (used - since) * speed


class Speedometer:
    """Reference seconds of one training on a CPU: reads the gauge while it runs, and writes the page."""

    def __init__(self, gauge: Gauge, reference_s: float) -> None:
        """`reference_s`: CPU seconds of a reading at the run's reference."""
        self._gauge, self._reference_s = gauge, reference_s
        self._random = random.Random()
        self._due = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)  # speeds
        self._speeds: list[float] = []
        self._cpu_s = self._wall_s = 0.0
        self._runs = 0

    def look(self, trainer: Trainer, start: float, page: Page) -> None:
        """Read the gauge if a reading is due; `start` is what the trainer had used when its clock started,
        `page` what it reads the time from.

        Raises NotMeasured, and RanOn where the trainer does not stand still meanwhile.
        """
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._random.uniform(*EVERY_S)
        with trainer.stopped() as standstill:
            if standstill.core is None:  # on a busy machine it may not even have had the time to stop
                return self._count(standstill.ran_s() > STOPPING_S)
            reading = self._gauge.read(standstill.core, standstill.ran_s)
            if reading.ran_s > RAN_S:
                return self._count(True)
            used = trainer.used(fresh=True) - start
        self._take(reading, used, page)

    def _count(self, ran_on: bool) -> None:
        """Once or twice may be chance. A trainer that chooses when it is read would choose slow moments."""
        self._runs += ran_on
        if self._runs >= MOST_RUNS and self._runs > MOST_SHARE * len(self._speeds):
            raise RanOn

    def _take(self, reading: Reading, used: float, page: Page) -> None:
        speed = self._reference_s / reading.cpu_s
        self._speeds.append(speed)
        self._recent.append(speed)
        self._cpu_s += reading.cpu_s
        self._wall_s += reading.wall_s
        page.write(used, page.at(used), statistics.fmean(self._recent))

    @property
    def now(self) -> float | None:
        """The speed of the moment, 1 as at the reference; None before the first reading."""
        return statistics.fmean(self._recent) if self._recent else None

    def facts(self, used: float, page: Page) -> dict[str, float] | None:
        """What `Speed` in core/model.py holds, after so many seconds used; None without a reading."""
        if not self._speeds:
            return None
        mean = statistics.fmean(self._speeds)
        return {
            "reference_s": self._reference_s,
            "mean": round(page.at(used) / used, 5) if used > 0 else round(mean, 5),
            "spread": round(statistics.pstdev(self._speeds) / mean, 5),
            "busy": round(self._wall_s / self._cpu_s, 4),
            "readings": len(self._speeds),
        }
