"""The clock of a training on a CPU. It converts CPU seconds to reference seconds by the measured speed of the machine.

A CPU second is not a fixed amount of work: other programs and other virtual machines share the caches, the memory bus and
the clock frequency. So the scorer repeatedly stops the trainer for some milliseconds and runs the fixed work of the gauge on
the trainer's core.

The speed can change within seconds. The more successive readings differ, the more often the gauge is read.

The first training of a run is the reference of all others: its clock counts CPU seconds, and the mean of its readings is the unit of speed.
Readings of an idle machine would not do. Beside a trainer, which leaves the caches full of its own data, they can take longer.

Other programs on the trainer's core evict its data from the caches, and the gauge has less data there. So the time that the gauge itself
waits for the core corrects its readings (`WAIT_POWER`). The trainer is stopped meanwhile and cannot change that time.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
import time
from collections import deque
from contextlib import AbstractContextManager
from typing import Protocol

from nanochat.contract.job import Speed
from nanochat.harness.gauge import Gauge, NotMeasured, Reading
from nanochat.harness.shared import Shared

LEAST_S, MOST_S = 0.2, 2.0  # limits of the mean time between readings, in seconds
AIM = 0.006  # target standard error of the mean speed of a training, relative to the mean
MOST_SHARE = 0.025  # of the time that readings may take for it
AT_RANDOM = (0.5, 1.5)  # range of a random factor for each wait, so that a trainer cannot predict a reading
FIRST = 8  # readings taken before their spread is used
RECENT = 6  # the mean of the latest 6 readings is the speed until the next one
WAIT_POWER = 0.12  # steps went with the 0.0 to -0.2th power of a reading's wall / CPU time (docs/decisions.md)
MOST_WAIT = 4.0  # of that ratio; a machine that stood still for a second must not change the speed of a training
STOPPING_S = 5e-3  # CPU seconds that a trainer may use while it stops
BEFORE_S, DURING_S = 1e-3, 1e-6  # CPU seconds that a stopped trainer may show before the timed rounds, and during them
SPOILT = 3  # RanOn is raised if a trainer kept running in this many readings,
SPOILT_SHARE = 0.1  # and in more than this share of the valid ones
UNREAD_S = 10.0  # most CPU seconds without a reading
PAGE = 64  # bytes shared by scorer and trainer


class RanOn(Exception):
    """The trainer kept running while it was stopped."""


class Standstill(Protocol):
    """A trainer that was stopped."""

    @property
    def core(self) -> int | None:
        """The core it ran on; None if it did not stop in time."""
        ...

    def ran_s(self) -> float:
        """Return the CPU seconds used since it stopped. If it did not stop in time: since it was told to stop."""
        ...


class Trainer(Protocol):
    """The interface of a trainer that a Speedometer needs."""

    def used(self, *, fresh: bool = False) -> float:
        """Return the CPU seconds used so far. `fresh`: do not return a recent value."""
        ...

    def stopped(self) -> AbstractContextManager[Standstill, bool | None]:
        """Stop it inside a context, and resume it at the end."""
        ...


class Line:
    """Reference seconds as a linear function of the seconds used since the clock started. The initial slope is 1."""

    def __init__(self) -> None:
        self.since, self.reference, self.speed = 0.0, 0.0, 1.0

    def at(self, used: float) -> float:
        return self.reference + (used - self.since) * self.speed

    def set(self, since: float, reference: float, speed: float) -> None:
        """Set the line from now on.

        Args:
            since: Seconds used at which the new line starts.
            reference: Reference seconds at that point.
            speed: Reference seconds per second used after it.
        """
        self.since, self.reference, self.speed = since, reference, speed


class Clock(Line):
    """The scorer's clock, with a copy in shared memory for the trainer.

    The scorer never reads the copy, so a trainer that writes to it changes only its own view. The page has two entries. An
    update writes to the unused entry and then switches to it.
    """

    def __init__(self) -> None:
        super().__init__()
        shared = Shared(PAGE)
        self.handle, self._numbers, self._entry = shared.handle, shared.array("<f8", (PAGE // 8,)), 0
        self.set(0.0, 0.0, 1.0)

    def set(self, since: float, reference: float, speed: float) -> None:
        """Set the line from now on, also for the trainer. The arguments are those of `Line.set`."""
        super().set(since, reference, speed)
        self._entry = 1 - self._entry
        self._numbers[1 + 3 * self._entry : 4 + 3 * self._entry] = since, reference, speed
        self._numbers[0] = self._entry


class View:
    """The trainer's copy of a clock."""

    def __init__(self, handle: int) -> None:
        self._numbers = Shared(PAGE, handle).array("<f8", (PAGE // 8,))

    def at(self, used: float) -> float:
        """Return the reference seconds after `used` seconds."""
        line, first = Line(), 1 + 3 * int(self._numbers[0])
        line.since, line.reference, line.speed = (float(number) for number in self._numbers[first : first + 3])
        return line.at(used)


class Speedometer:
    """Reads the gauge at random times while a trainer runs, and sets its clock.

    Args:
        gauge: The gauge to read.
        reference_s: CPU seconds of a reading (`Reading.work_s`) at the run's reference. None if this training is the reference.
        budget_s: Reference seconds of the training.
    """

    def __init__(self, gauge: Gauge, reference_s: float | None, budget_s: float) -> None:
        self._gauge, self._reference_s, self._budget_s = gauge, reference_s, budget_s
        self._random = random.Random()
        self._due = 0.0
        self._speeds: list[float] = []  # relative to the reference; in readings per second if this is the reference
        self._own = Line()  # readings that fit into the seconds used, if this is the reference
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._stopped_s = self._cpu_s = self._wall_s = 0.0
        self._spoilt = 0

    def look(self, trainer: Trainer, start: float, clock: Clock) -> None:
        """Read the gauge if a reading is due. Call this often.

        Args:
            trainer: The trainer, which is stopped during a reading.
            start: CPU seconds that the trainer had used when its clock started.
            clock: The clock to set.

        Raises:
            NotMeasured: The gauge cannot run, or the trainer could not be stopped before the first reading.
            RanOn: The trainer kept running in too many readings.
        """
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._random.uniform(*AT_RANDOM) * self.every_s
        stopped = time.monotonic()
        try:
            with trainer.stopped() as standstill:
                used = trainer.used(fresh=True) - start
                line = self._line(clock)
                if standstill.core is None:  # on a busy machine it may not have had time to stop
                    return self._unread(used - line.since, ran_on=standstill.ran_s() > STOPPING_S)
                if not self._speeds:
                    self._gauge.warm(standstill.core)
                reading = self._gauge.read(standstill.core, standstill.ran_s)
        finally:
            self._stopped_s += time.monotonic() - stopped
        if reading.before_s > BEFORE_S or reading.during_s > DURING_S:
            return self._unread(used - line.since, ran_on=True)
        self._take(reading, used, line)

    def _line(self, clock: Clock) -> Line:
        """Return what readings set: the clock, or the line of the reference. Then the clock counts seconds."""
        return clock if self._reference_s is not None else self._own

    @property
    def every_s(self) -> float:
        """Mean seconds between two readings. The mean of n readings has a standard error of scatter / sqrt(n)."""
        if len(self._speeds) < FIRST:
            return LEAST_S
        enough = (self._scatter / AIM) ** 2
        affordable_s = self._stopped_s / len(self._speeds) / MOST_SHARE
        return min(MOST_S, max(LEAST_S, affordable_s, self._budget_s / max(1.0, enough)))

    @property
    def _scatter(self) -> float:
        """Relative standard deviation of successive readings (von Neumann 1941). A slow drift, which they follow, adds nothing."""
        squares = ((then - now) ** 2 for then, now in itertools.pairwise(self._speeds))
        return math.sqrt(statistics.fmean(squares) / 2) / statistics.fmean(self._speeds)

    @property
    def _spread(self) -> float:
        return statistics.pstdev(self._speeds) / statistics.fmean(self._speeds)

    def _unread(self, waited_s: float, *, ran_on: bool) -> None:
        """Count a failed reading. Raises RanOn after too many: a trainer could avoid readings while the machine is fast.

        Args:
            waited_s: CPU seconds since the last reading.
            ran_on: Whether the trainer kept running.
        """
        self._spoilt += ran_on
        if self._spoilt >= SPOILT and self._spoilt > SPOILT_SHARE * len(self._speeds):
            raise RanOn
        if waited_s > UNREAD_S:
            if self._speeds:
                raise RanOn
            raise NotMeasured("the trainer could not be stopped for a reading")

    def _take(self, reading: Reading, used: float, line: Line) -> None:
        """Set the clock by a reading. `line`: the clock, or the readings of the reference.

        The time since the last reading counts at the mean speed of both readings. The time from now on counts at the mean speed
        of the recent readings.
        """
        waited = min(MOST_WAIT, max(1.0, reading.wall_s / reading.products_s))
        speed = (self._reference_s or 1.0) / reading.work_s * waited**-WAIT_POWER
        before = self._speeds[-1] if self._speeds else speed
        self._speeds.append(speed)
        self._recent.append(speed)
        self._cpu_s += reading.products_s
        self._wall_s += reading.wall_s
        reference = line.reference + (used - line.since) * (before + speed) / 2
        line.set(used, reference, statistics.fmean(self._recent))

    @property
    def now(self) -> float | None:
        """The current speed relative to the reference; None before the first reading, or if this is the reference."""
        return statistics.fmean(self._recent) if self._recent and self._reference_s is not None else None

    def facts(self, used: float, clock: Clock, delay_s: float | None) -> Speed | None:
        """Return the machine's speed over a training.

        Args:
            used: CPU seconds used since the clock started.
            clock: The clock of the training.
            delay_s: Seconds that the trainer waited for a core. None if unknown: then the gauge's own wait is used.

        Returns:
            The speed, or None without a reading.
        """
        if not self._speeds:
            return None
        line = self._line(clock)
        mean = line.at(used) / used if used > 0 else statistics.fmean(self._speeds)
        waited = self._wall_s / self._cpu_s if delay_s is None or used <= 0 else 1 + delay_s / used
        return Speed(
            reference_s=1 / mean if self._reference_s is None else self._reference_s,
            mean=1.0 if self._reference_s is None else round(mean, 5),
            spread=round(self._spread, 5),
            busy=round(waited, 4),
            readings=len(self._speeds),
            stopped_s=round(self._stopped_s, 3),
        )
