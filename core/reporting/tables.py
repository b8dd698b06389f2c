"""Keeps results.tsv and notebook.md of a run that goes on up to date, at a cost that hardly grows with the number of its experiments.

Both files are replaced as a whole, since readers would see lines that are half written if they grew in place. And nearly every verdict
changes their beginning: the row of the baseline has the present noise, and the notebook begins with the best changes so far. What a
verdict costs is bounded in two ways. The text of an experiment is made again only if something that it shows may have changed. And
the files of a long run are not written at each verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from core.judging import gain
from core.judging.noise import Noise
from core.record.revisions import Revisions
from core.record.state import State
from core.reporting import result_rows, results

# Up to so many experiments the files are written at each verdict. With more they are written at most once in a time that grows
# with their number, as does the time that writing takes. So it takes the same small share of the loop's time in any run.
AT_ONCE = 500
EXPERIMENTS_PER_S = 500.0


class Tables:
    """Writes results.tsv and notebook.md of a run.

    Args:
        folder: The folder of the run.
        state: The state of the run.
        revisions: Those of its experiments.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, folder: Path, state: State, revisions: Revisions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._state, self._revisions, self._clock = folder, state, revisions, clock
        self._lines: dict[int, tuple[int, str, str]] = {}  # experiment -> its revision, and its text in both files
        self._scale: tuple[int, gain.Scale] | None = None  # with its revision
        self._written_at: float | None = None

    @property
    def due(self) -> bool:
        """Whether enough time has passed since they were written last."""
        count = len(self._state.experiments)
        if self._written_at is None or count <= AT_ONCE:
            return True
        return self._clock() - self._written_at >= count / EXPERIMENTS_PER_S

    def write(self, noise: Noise) -> None:
        """Write both files. `noise`: that of the run. Raises OSError."""
        self._update()
        state = self._state
        verdicts = [e.verdict for e in state.experiments.values() if e.verdict is not None]
        texts = [self._lines[number] for number, e in state.experiments.items() if e.verdict is not None]
        base = result_rows.baseline(state, noise.sigma)
        first = results.tsv_line(base) if base is not None else ""
        table = "".join((results.TITLES, first, *(text[1] for text in texts)))
        notes = "".join((results.head(verdicts, result_rows.header(state, noise)), *(text[2] for text in texts)))
        try:
            results.replace(self._folder, table, notes)
        finally:
            self._written_at = self._clock()

    def _update(self) -> None:
        """Make the text of each experiment that may show something else now."""
        if self._scale is None or self._scale[0] != self._revisions.scale:
            self._scale = (self._revisions.scale, gain.Scale(self._state))
        for number, experiment in self._state.experiments.items():
            revision, known = self._revisions.of(number), self._lines.get(number)
            if experiment.verdict is not None and (known is None or known[0] != revision):
                row = result_rows.row(self._scale[1], experiment)
                self._lines[number] = (revision, results.tsv_line(row), results.finding(row))
