"""Measure the machine's speed while a trainer runs, or say why that is not possible."""

from __future__ import annotations

from nanochat.contract.job import Job, Outcome, Speed
from nanochat.harness.clock import Clock, RanOn, Speedometer
from nanochat.harness.gauge import Gauge, NotMeasured
from nanochat.harness.trainer_process import Failed, TrainerProcess


class MachineSpeed:
    """The machine's speed during one job. Without a gauge, a reference second is a second."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._speedometer: Speedometer | None = None
        self.unmeasured = ""  # why the gauge could not run, as a clause

    def prepare(self) -> None:
        """Prepare the gauge. Does nothing for a GPU."""
        job = self._job
        if job.device == "mps":
            self.unmeasured = "there is no gauge for this kind of GPU"
        if job.device != "cpu" or not job.gauge:
            return
        try:
            self._speedometer = Speedometer(Gauge(), job.reference_s, job.budget_s)
        except NotMeasured as error:
            self.unmeasured = str(error)

    def look(self, trainer: TrainerProcess, set_up_s: float, clock: Clock) -> None:
        """Read the gauge if a reading is due, and set the clock.

        Args:
            trainer: The trainer.
            set_up_s: CPU seconds that it had used when its clock started.
            clock: The clock to set. If the gauge stops working, a reference second is a second from then on.

        Raises:
            Failed: The trainer kept running when it was stopped.
        """
        if self._speedometer is None:
            return
        try:
            self._speedometer.look(trainer, set_up_s, clock)
        except NotMeasured as error:  # such as when the allowed cores have changed
            self.unmeasured, self._speedometer = str(error), None
            used = trainer.used() - set_up_s
            clock.set(used, clock.at(used), 1.0)
        except RanOn:
            words = "it ran on while it was stopped for a reading of the machine's speed"
            raise Failed(Outcome.INVALID, words) from None

    @property
    def now(self) -> float | None:
        """The current speed relative to the reference; None if it is not measured."""
        now = self._speedometer.now if self._speedometer is not None else None
        return round(now, 3) if now is not None else None

    def facts(self, trainer: TrainerProcess, used_s: float, clock: Clock) -> Speed | None:
        """Return the speed over a training of `used_s` CPU seconds; None if it was not measured."""
        return self._speedometer.facts(used_s, clock, trainer.delay_s()) if self._speedometer is not None else None
