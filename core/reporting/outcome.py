"""The gain of a run so far, and the outcome of its final check, as data. Pure."""

from __future__ import annotations

from core.judging import final_check
from core.judging.gain import Difference
from core.reporting import phrases
from nanochat.contract.value import Data


class Gain(Data, frozen=True, kw_only=True):
    """The gain of the run so far, on the seeds of the keep rule.

    Attributes:
        start, best: val_bpb of the start and of the best on the scale of the run, see `core.judging.gain`.
        change: Their paired difference in bpb; negative is better.
        error: Standard error of `change`, in bpb.
        seeds: Number of pairs.
    """

    start: float
    best: float
    change: float
    error: float
    seeds: int

    @property
    def words(self) -> str:
        """The scores and the change, as text."""
        return phrases.scores(self.difference)

    @property
    def difference(self) -> Difference:
        """The same as it is computed."""
        return Difference(self.start, self.best, self.error, self.seeds)


class FinalCheck(Data, frozen=True, kw_only=True):
    """The outcome of a check, on the test split.

    Attributes:
        start: Mean val_bpb of the start.
        best: Mean val_bpb of the best.
        error: Standard error of `change`, in bpb.
        seeds: Number of fresh seeds.
        wanted: The same when the check is complete.
        change: Mean paired difference in bpb; negative is better.
        needed: The smallest change that is beyond the noise.
        holds: Whether the gain holds; false before the check is complete.
        words: All of this as a sentence.
    """

    start: float
    best: float
    error: float
    seeds: int
    change: float
    needed: float
    holds: bool
    words: str
    wanted: int = 0

    @property
    def check(self) -> final_check.FinalCheck:
        """The same as it is computed."""
        return final_check.FinalCheck(self.start, self.best, self.error, self.seeds, self.wanted)

    @property
    def complete(self) -> bool:
        """Whether all seeds are measured."""
        return self.check.complete
