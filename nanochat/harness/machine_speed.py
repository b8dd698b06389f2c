"""How fast the machine is while one trainer runs: the gauge where it can run, and why where it cannot."""

from __future__ import annotations

from nanochat.contract.job import Job, Outcome, Speed
from nanochat.harness.clock import Clock, RanOn, Speedometer
from nanochat.harness.gauge import Gauge, NotMeasured
from nanochat.harness.trainer_process import Failed, TrainerProcess

# How long the gauge runs before the first training, to take the reference: a share of the budget, and seconds at the most.
REFERENCE_SHARE, MOST_REFERENCE_S = 0.1, 3.0


class MachineSpeed:
    """Measures for one job. Without a gauge every second counts as one."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._speedometer: Speedometer | None = None
        self.unmeasured = ""  # why the gauge could not run, as a clause

    def prepare(self) -> None:
        """Get the gauge ready, and take the run's reference where there is none yet. No gauge runs for a GPU."""
        job = self._job
        if job.device == "mps":
            self.unmeasured = "there is no gauge for this kind of GPU"
        if job.device != "cpu" or not job.gauge:
            return
        try:
            gauge = Gauge()
            seconds = min(MOST_REFERENCE_S, REFERENCE_SHARE * job.budget_s)
            self._speedometer = Speedometer(gauge, job.reference_s or gauge.reference(seconds), job.budget_s)
        except NotMeasured as error:
            self.unmeasured = str(error)

    def look(self, trainer: TrainerProcess, set_up_s: float, clock: Clock) -> None:
        """Read the gauge, if it is time, and set the clock. Raises Failed for a trainer that does not let itself be stopped."""
        if self._speedometer is None:
            return
        try:
            self._speedometer.look(trainer, set_up_s, clock)
        except NotMeasured as error:  # the cores that may be used have changed
            self.unmeasured, self._speedometer = str(error), None
            used = trainer.used() - set_up_s
            clock.set(used, clock.at(used), 1.0)
        except RanOn:
            words = "it ran on while it was stopped for a reading of the machine's speed"
            raise Failed(Outcome.INVALID, words) from None

    @property
    def now(self) -> float | None:
        """The speed of the moment, 1 as at the reference; None where it is not measured."""
        now = self._speedometer.now if self._speedometer is not None else None
        return round(now, 3) if now is not None else None

    def facts(self, trainer: TrainerProcess, used_s: float, clock: Clock) -> Speed | None:
        """The speed over a training of `used_s` seconds, for the record; None where it was not measured."""
        return self._speedometer.facts(used_s, clock, trainer.delay_s()) if self._speedometer is not None else None
