"""The hours that an early abort could save at most: recorded nights, with hindsight.

An early abort would stop the training of a candidate whose loss lies clearly above its parent's at the same progress. How well a
curve tells that cannot be learnt from the journals. They have the result of each training and the time that it took. So they show what
an abort would save that makes no mistake: it stops each first training of a candidate that turned out to be worse by so much.
Candidates that change the schedule are left out, since their curves cannot be compared at equal progress.

python benchmarks/early_abort.py [JOURNAL ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from core.record import journal
from core.record.events import Measured
from core.record.experiment import Experiment
from core.record.fold import fold
from core.target import TARGET

NIGHTS = tuple(ROOT / "tests" / "recorded" / name / journal.NAME for name in ("found", "fifty", "forty"))
STOPPED_AT = (0.3, 0.5)  # shares of a training after which it would be stopped
LIMITS = (2.0, 6.0)  # losses from which it would be, in standard errors of one pair


@dataclass(frozen=True)
class Night:
    """What a night spent on trainings.

    Attributes:
        name: The name of its folder.
        seconds: Wall seconds of all its trainings.
        losses: For each candidate with one training whose curve could be compared: its loss in standard errors, and the wall
            seconds in which it trained.
        schedules: How many candidates changed the schedule.
    """

    name: str
    seconds: float
    losses: tuple[tuple[float, float], ...]
    schedules: int

    def saved(self, limit: float, at: float) -> float:
        """Return the share of all seconds that is saved by stopping each candidate that loses so much at this share."""
        return sum((1 - at) * seconds for loss, seconds in self.losses if loss > limit) / self.seconds

    def stopped(self, limit: float) -> int:
        """Return the number of candidates that lose so much."""
        return sum(loss > limit for loss, _ in self.losses)


def read(path: Path) -> Night:
    """Return a night from its journal."""
    events = list(journal.read(path))
    measured = [event for event in events if isinstance(event, Measured) and not event.role.is_check]
    state = fold(events)
    losses, schedules = [], 0
    for experiment in state.experiments.values():
        if experiment.gain is None or experiment.error is None or experiment.scored is None:
            continue
        if changes_schedule(experiment):
            schedules += 1
        elif experiment.pairs == 1:
            losses.append((-experiment.gain / experiment.error, experiment.scored.result.wall_s))
    return Night(path.parent.name, sum(event.result.total_wall_s for event in measured), tuple(losses), schedules)


def changes_schedule(experiment: Experiment) -> bool:
    """Return whether a candidate changes the schedule of the learning rates, alone or with other things."""
    moved = experiment.notes.knobs or {}
    return experiment.topic == "schedule" or any(TARGET.topic_of(name) == "schedule" for name in moved)


def report(nights: Sequence[Night]) -> list[str]:
    """Return a line for each night and limit."""
    lines = []
    for night in nights:
        for limit in LIMITS:
            shares = "".join(f"{night.saved(limit, at):>16.0%}" for at in STOPPED_AT)
            lines.append(
                f"{night.name:<10}{night.seconds / 3600:>8.2f}{len(night.losses):>12}{night.schedules:>11}{limit:>8.0f}"
                f"{night.stopped(limit):>9}{shares}"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("journals", nargs="*", type=Path, default=list(NIGHTS))
    options = parser.parse_args()
    print(
        "share of the hours of a night that is saved if each training that loses more than a limit is stopped, with hindsight"
    )
    print(
        f"{'night':<10}{'hours':>8}{'candidates':>12}{'schedules':>11}{'limit':>8}{'stopped':>9}"
        + "".join(f"{f'saved at {at:.0%}':>16}" for at in STOPPED_AT)
    )
    print("\n".join(report([read(path) for path in options.journals])))


if __name__ == "__main__":
    main()
