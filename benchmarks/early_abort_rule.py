"""A rule for early aborts, learnt from the curves of some nights and applied to another: what would it save, and what would it cost?

The rule looks at the first training of a candidate once, after a share of the budget. It stops the training if its loss, as a mean
over the tenth of the budget before, lies further above that of the incumbent on the same seed than a threshold. The threshold is the
largest such difference of any change of the other nights that gained in its first pair. Changes of the schedule are exempt, since
their curves cannot be compared at equal progress.

python benchmarks/early_abort_rule.py logs/RUN logs/RUN ...

The curves are in the folders of runs and not in their journals, so the recorded nights of the tests cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import StatisticsError, correlation, fmean

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from early_abort import changes_schedule

from core.record import journal
from core.record.events import Measured
from core.record.experiment import Experiment
from core.record.fold import fold
from core.run import metrics

SHARES = (0.3, 0.5, 0.7)  # of the budget at which the rule looks
WINDOW = 0.1  # share of the budget whose losses are averaged
FEWEST = 5  # steps in the window
CLOSE = 0.05  # bpb; changes that gain or lose more are told apart by any measure


@dataclass(frozen=True)
class Point:
    """A line of metrics.jsonl."""

    progress: float
    loss: float


@dataclass(frozen=True)
class First:
    """The first training of a candidate, compared with the incumbent on the same seed.

    Attributes:
        number: The number of the experiment.
        excess: Share of the budget -> how much higher its training loss was than the incumbent's, in nats a token.
        gain: How much lower its val_bpb was than the incumbent's.
        kept: Whether the change was kept in the end.
        exempt: Whether it changes the schedule.
        seconds: Wall seconds of the training itself.
    """

    number: int
    excess: dict[float, float]
    gain: float
    kept: bool
    exempt: bool
    seconds: float

    def stopped(self, share: float, threshold: float) -> bool:
        """Return whether a rule with this threshold stops it."""
        return not self.exempt and self.excess.get(share, threshold) > threshold


@dataclass(frozen=True)
class Night:
    """The first trainings of a night, and the wall seconds of all its trainings."""

    name: str  # the folder of its run
    seconds: float
    firsts: tuple[First, ...]


def read(folder: Path) -> Night:
    """Read a night from the folder of its run."""
    events = list(journal.read(folder / journal.NAME))
    measured = [event for event in events if isinstance(event, Measured) and not event.role.is_check]
    experiments = fold(events).experiments
    trainings: dict[tuple[str, int], Measured] = {}  # by commit and seed
    for event in measured:
        if event.result.val_bpb is not None:
            trainings.setdefault((event.commit, event.seed), event)
    firsts = []
    for experiment in experiments.values():
        own = next((one for (commit, _), one in trainings.items() if commit == experiment.latest.commit), None)
        other = _of_parent(trainings, experiments.values(), experiment.parent, own.seed) if own else None
        if own and other and (first := _compared(folder, experiment, own, other)):
            firsts.append(first)
    return Night(str(folder), sum(event.result.total_wall_s for event in measured), tuple(firsts))


def _of_parent(
    trainings: Mapping[tuple[str, int], Measured], experiments: Iterable[Experiment], commit: str, seed: int
) -> Measured | None:
    """Return a training of a parent. A kept change has a second commit of the same tree, and may be trained as either."""
    twins = [e.latest.commit for e in experiments if e.kept_as == commit]
    return next((trainings[one, seed] for one in (commit, *twins) if (one, seed) in trainings), None)


def _compared(folder: Path, experiment: Experiment, own: Measured, other: Measured) -> First | None:
    """Return the comparison of two trainings on one seed, or None if a curve is missing."""
    curves = [_curve(folder, own), _curve(folder, other)]
    before, after = other.result.val_bpb, own.result.val_bpb
    if not all(curves) or before is None or after is None:
        return None
    excess = {}
    for share in SHARES:
        losses = [_mean_before(curve, share) for curve in curves]
        if losses[0] is not None and losses[1] is not None:
            excess[share] = losses[0] - losses[1]
    kept = experiment.verdict is not None and experiment.verdict.kept
    return First(experiment.number, excess, before - after, kept, changes_schedule(experiment), own.result.wall_s)


def _curve(folder: Path, measured: Measured) -> list[Point]:
    points = []
    for line in metrics.lines(folder, measured):
        try:
            points.append(msgspec.json.decode(line, type=Point))
        except msgspec.MsgspecError:  # the last line of a killed training, or a loss that is not a number
            continue
    return points


def _mean_before(curve: Sequence[Point], share: float) -> float | None:
    """Return the mean loss in the last WINDOW of the budget before `share`; None with less than FEWEST steps."""
    losses = [point.loss for point in curve if share - WINDOW < point.progress <= share]
    return fmean(losses) if len(losses) >= FEWEST else None


def threshold(nights: Sequence[Night], share: float) -> float:
    """Return the largest excess of the changes that gained in their first pair; infinity without any."""
    found = [
        first.excess[share]
        for night in nights
        for first in night.firsts
        if not first.exempt and first.gain > 0 and share in first.excess
    ]
    return max(found, default=float("inf"))


def saved(night: Night, share: float, limit: float) -> float:
    """Return the share of a night's seconds that the rule saves."""
    return sum((1 - share) * first.seconds for first in night.firsts if first.stopped(share, limit)) / night.seconds


def related(nights: Sequence[Night], share: float) -> str:
    """Return the correlation of the excess with the loss in val_bpb, among changes of less than CLOSE; "-" if there are too few."""
    firsts = [first for night in nights for first in night.firsts if not first.exempt and share in first.excess]
    close = [first for first in firsts if abs(first.gain) < CLOSE]
    try:
        return f"{correlation([first.excess[share] for first in close], [-first.gain for first in close]):.2f}"
    except StatisticsError:
        return "-"


def report(nights: Sequence[Night]) -> list[str]:
    """Return a line for each share and night, with the threshold that the other nights give."""
    lines = [
        f"{'at':>4} {'candidates':>11}{'exempt':>8}{'threshold':>11}{'stopped':>9}{'of them gained':>16}{'kept':>6}{'saved':>8}  night"
    ]
    for share in SHARES:
        total = 0.0
        for night in nights:
            limit = threshold([other for other in nights if other is not night], share)
            stopped = [first for first in night.firsts if first.stopped(share, limit)]
            total += saved(night, share, limit) * night.seconds
            lines.append(
                f"{share:>4.0%} {len(night.firsts):>11}{sum(first.exempt for first in night.firsts):>8}{limit:>11.3f}"
                f"{len(stopped):>9}{sum(first.gain > 0 for first in stopped):>16}{sum(first.kept for first in stopped):>6}"
                f"{saved(night, share, limit):>8.1%}  {night.name}"
            )
        lines.append(
            f"{share:>4.0%} {total / sum(night.seconds for night in nights):>69.1%}  all; correlation of the difference at this share with "
            f"the loss in val_bpb, among changes of less than {CLOSE:g}: {related(nights, share)}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    nights = [night for night in map(read, parser.parse_args().folders) if night.seconds]
    if len(nights) < 2:
        raise SystemExit("Name at least two runs that have trainings: the threshold for one is learnt from the others.")
    print("\n".join(report(nights)))


if __name__ == "__main__":
    main()
