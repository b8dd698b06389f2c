"""What simulated nights found, as lines of JSON in a file that can be continued."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import msgspec
from simulated import Night


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A night.

    Attributes:
        kind: The kind of its world.
        arm: Who proposed.
        seed: The number of the world.
        trainings: How many there were.
        curve: The true gain of the best after each training, in standard deviations of one score. Shorter if the night ended early.
        keeps: After how many trainings a change was kept.
        mistakes: Those of them that are no better in truth.
        seconds: How long the simulation took.
        counts: What else an arm counts.
        verdicts: The true gain of the best after each verdict; () for arms that do not note it.
    """

    kind: str
    arm: str
    seed: int
    trainings: int
    curve: tuple[float, ...]
    keeps: tuple[int, ...]
    mistakes: tuple[int, ...]
    seconds: float
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    verdicts: tuple[float, ...] = ()

    def gain(self, trainings: int) -> float:
        """Return the true gain of the best after so many trainings."""
        return self.curve[min(trainings, len(self.curve)) - 1]


def row(night: Night, kind: str, arm: str, trainings: int, began: float, counts: dict[str, int] | None = None) -> Row:
    """Return a finished night as a row. `began`: `time.perf_counter()` at its begin."""
    return Row(
        kind=kind, arm=arm, seed=night.seed, trainings=trainings, curve=tuple(round(gain, 4) for gain in night.curve),
        keeps=tuple(night.keeps), mistakes=tuple(night.mistakes), seconds=round(time.perf_counter() - began, 1), counts=counts or {},
    )  # fmt: skip


class Record:
    """Rows, each also written at once to the file at `path`, if it is given. Nights that the file has are not simulated again."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.rows: list[Row] = []
        if path is not None and path.exists():
            whole = path.read_bytes().rpartition(b"\n")[0]  # a last line may be cut short
            self.rows = [msgspec.json.decode(line, type=Row) for line in whole.splitlines()]
            path.write_bytes(whole + b"\n" if whole else b"")

    def find(self, kind: str, arm: str, seed: int, trainings: int) -> Row | None:
        """Return the row of a night with at least so many trainings, or None."""
        return next(
            (
                one
                for one in self.rows
                if (one.kind, one.arm, one.seed) == (kind, arm, seed) and one.trainings >= trainings
            ),
            None,
        )

    def add(self, rows: Iterable[Row]) -> None:
        for one in rows:
            self.rows.append(one)
            if self._path is not None:
                with self._path.open("ab") as file:
                    file.write(msgspec.json.encode(one) + b"\n")
