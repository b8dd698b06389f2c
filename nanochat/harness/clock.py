"""The clock of a training on a CPU: from CPU seconds used to reference seconds, at the machine's speed.

A CPU second is no fixed amount of work. Programs, and the guests of a virtual machine's host, share caches, the memory bus and the
clock of a core. So the scorer stops the trainer again and again for some milliseconds and does the fixed work of the gauge on the
core that the trainer was on.

The speed changes from one moment to the next, so a few readings tell little about a whole training. The more the readings
differ, the more often the gauge is read.

Where others use the trainer's core, so that it has to wait, the gauge reads some percent too slow. `BUSY_POWER` takes that out.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import deque
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from nanochat.contract.job import Speed
from nanochat.harness.gauge import Gauge, NotMeasured, Reading
from nanochat.harness.shared import Shared

LEAST_S, MOST_S = 0.3, 2.0  # limits of the average time between two readings, in seconds
AIM = 0.007  # wanted standard error of the mean speed at the end of a training, as a share of it
AT_RANDOM = (0.5, 1.5)  # each wait is the average times a factor from here, so that no trainer can predict a reading
FIRST = 8  # readings before their spread is known
RECENT = 6  # readings whose mean is the speed until the next one
BUSY_POWER = 0.075  # at the same reading, steps go with busy ** 0.075 (docs/decisions.md)
STOPPING_S = 5e-3  # CPU seconds that a trainer may take to stop
BEFORE_S, DURING_S = 1e-3, 1e-6  # what may be booked late before the timed round, and during it
SPOILT = 3  # a trainer broke a rule when it ran on in so many readings,
SPOILT_SHARE = 0.1  # and in more than this share of the good ones
UNREAD_S = 10.0  # CPU seconds without a reading
PAGE = 64  # bytes that scorer and trainer share


class RanOn(Exception):
    """The trainer kept running while it was stopped."""


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

    def delay_s(self) -> float | None:
        """Seconds that it was ready to run and waited for a core; None where that is not known."""
        ...

    def stopped(self) -> AbstractContextManager[Standstill, bool | None]:
        """Stop it, and let it go on at the end."""
        ...


class Line:
    """Reference seconds as a function of the seconds used since the clock started. At first each second is one."""

    def __init__(self) -> None:
        self.since, self.reference, self.speed = 0.0, 0.0, 1.0

    def at(self, used: float) -> float:
        return self.reference + (used - self.since) * self.speed


class Clock(Line):
    """The scorer's line, and a page where the trainer can read a copy of it. What the trainer writes there changes only its own view.

    The page has two entries: the one that is not read is changed, then it is the one to read.
    """

    def __init__(self) -> None:
        super().__init__()
        shared = Shared(PAGE)
        self.handle, self._numbers, self._entry = shared.handle, shared.array("<f8", (PAGE // 8,)), 0
        self.set(0.0, 0.0, 1.0)

    def set(self, since: float, reference: float, speed: float) -> None:
        """From `since` seconds on, which are so many reference seconds, each second counts `speed`."""
        self.since, self.reference, self.speed = since, reference, speed
        self._entry = 1 - self._entry
        self._numbers[1 + 3 * self._entry : 4 + 3 * self._entry] = since, reference, speed
        self._numbers[0] = self._entry


class View:
    """The trainer's end of a clock."""

    def __init__(self, handle: int) -> None:
        self._numbers = Shared(PAGE, handle).array("<f8", (PAGE // 8,))

    def at(self, used: float) -> float:
        """Reference seconds at so many seconds used."""
        line, first = Line(), 1 + 3 * int(self._numbers[0])
        line.since, line.reference, line.speed = (float(number) for number in self._numbers[first : first + 3])
        return line.at(used)


class _Waits(NamedTuple):
    """Of a trainer at a reading, in seconds: CPU time used, waited for a core by threads that still live, time not stopped."""

    used: float
    delay: float
    ran: float


class Speedometer:
    """Reads the gauge while a trainer runs, and sets its clock."""

    def __init__(self, gauge: Gauge, reference_s: float, budget_s: float) -> None:
        """`reference_s`: weighted CPU seconds of a reading at the run's reference."""
        self._gauge, self._reference_s, self._budget_s = gauge, reference_s, budget_s
        self._random = random.Random()
        self._due = 0.0
        self._speeds: list[float] = []
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._waits: deque[_Waits] = deque(maxlen=RECENT)
        self._ran_s, self._resumed = 0.0, time.monotonic()
        self._cpu_s = self._wall_s = 0.0
        self._spoilt = 0

    def look(self, trainer: Trainer, start: float, clock: Clock) -> None:
        """Read the gauge if a reading is due; `start` is what the trainer had used when its clock started.

        Raises NotMeasured, and RanOn where the trainer does not stand still.
        """
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._random.uniform(*AT_RANDOM) * self.every_s
        self._ran_s += time.monotonic() - self._resumed
        try:
            with trainer.stopped() as standstill:
                used = trainer.used(fresh=True) - start
                if standstill.core is None:  # on a busy machine it may not even have had the time to stop
                    return self._unread(used - clock.since, ran_on=standstill.ran_s() > STOPPING_S)
                reading = self._gauge.read(standstill.core, standstill.ran_s)
        finally:
            self._resumed = time.monotonic()
        if reading.before_s > BEFORE_S or reading.during_s > DURING_S:
            return self._unread(used - clock.since, ran_on=True)
        self._take(reading, used, self._busy(_Waits(used, trainer.delay_s() or 0.0, self._ran_s)), clock)

    @property
    def every_s(self) -> float:
        """Seconds between two readings on average. The mean of n readings has a standard error of spread / sqrt(n)."""
        if len(self._speeds) < FIRST:
            return LEAST_S
        enough = (self._spread / AIM) ** 2
        return min(MOST_S, max(LEAST_S, self._budget_s / max(1.0, enough)))

    @property
    def _spread(self) -> float:
        return statistics.pstdev(self._speeds) / statistics.fmean(self._speeds)

    def _unread(self, waited_s: float, *, ran_on: bool) -> None:
        """Count a reading that failed. A few may be chance, but a trainer that chose its readings would choose slow moments."""
        self._spoilt += ran_on
        if self._spoilt >= SPOILT and self._spoilt > SPOILT_SHARE * len(self._speeds):
            raise RanOn
        if waited_s > UNREAD_S:
            if self._speeds:
                raise RanOn
            raise NotMeasured("the trainer could not be stopped for a reading")

    def _busy(self, now: _Waits) -> float:
        """Seconds that passed for each that the trainer used, over the latest readings; 1 where it did not wait for its core.

        The waits of threads that have ended are not known, so one that trains in short threads is taken by the clock on the wall.
        A trainer can only raise this ratio, and that makes its clock run faster.
        """
        self._waits.append(now)
        then = self._waits[0]
        used = now.used - then.used
        waited = max(now.delay - then.delay, now.ran - then.ran - used, 0.0)
        return 1.0 + waited / used if used > 0 else 1.0

    def _take(self, reading: Reading, used: float, busy: float, clock: Clock) -> None:
        """What was used since the last reading counts the mean of the two, what comes counts the mean of the latest."""
        speed = self._reference_s / reading.work_s * busy**BUSY_POWER
        before = self._speeds[-1] if self._speeds else speed
        self._speeds.append(speed)
        self._recent.append(speed)
        self._cpu_s += reading.rounds_s
        self._wall_s += reading.wall_s
        reference = clock.reference + (used - clock.since) * (before + speed) / 2
        clock.set(used, reference, statistics.fmean(self._recent))

    @property
    def now(self) -> float | None:
        """The speed of the moment, 1 as at the reference; None before the first reading."""
        return statistics.fmean(self._recent) if self._recent else None

    def facts(self, used: float, clock: Clock, delay_s: float | None) -> Speed | None:
        """The machine's speed after so many seconds used; None without a reading.

        `delay_s`: seconds that the trainer waited for a core; None where that is not known.
        """
        if not self._speeds:
            return None
        waited = self._wall_s / self._cpu_s if delay_s is None or used <= 0 else 1 + delay_s / used
        return Speed(
            reference_s=self._reference_s,
            mean=round(clock.at(used) / used if used > 0 else statistics.fmean(self._speeds), 5),
            spread=round(self._spread, 5),
            busy=round(waited, 4),
            readings=len(self._speeds),
        )
