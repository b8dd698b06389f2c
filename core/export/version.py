"""Finds the version of train.py that is meant: the start, the best, or that of an experiment. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from core.machine.project import UsageError
from core.record.events import Measured
from core.record.experiment import experiment_id
from core.record.state import State
from core.reporting import phrases
from core.text import capital

START, BEST = "start", "best"
THE_START = "the start"


@dataclass(frozen=True)
class Version:
    """A version of train.py that a run has trained.

    Attributes:
        name: The name of its folder: start, or the id of the experiment.
        words: What it is, for people: "the start", "experiment 7" or "the best (experiment 7)".
        commit: Its commit.
        measured: Its first undisturbed training, which has a score.
    """

    name: str
    words: str
    commit: str
    measured: Measured

    @property
    def lasting(self) -> str:
        """What it is, whatever the run keeps later: "the start" or "experiment 7"."""
        return THE_START if self.name == START else f"experiment {int(self.name)}"

    @property
    def val_bpb(self) -> float:
        """What the run measured in that training, in bits per byte."""
        assert self.measured.result.val_bpb is not None
        return self.measured.result.val_bpb


def find(state: State, asked: str = BEST) -> Version:
    """Return the version that is asked for.

    Args:
        state: The state of the run.
        asked: start, best, or the number of an experiment. The best of a run that has kept nothing is its start.

    Raises:
        UsageError: There is no such version, or it has no score.
    """
    number = _number(state, asked)
    if number is None:
        name, words, commit = START, THE_START, state.start_commit.commit if state.start_commit else ""
        why = "it is not trained yet" if state.baseline_failure is None else state.baseline_failure.result.reason
    else:
        if number not in state.experiments:
            last = f"its last one is {max(state.experiments)}" if state.experiments else "it has none yet"
            raise UsageError(f"Run {state.name} has no experiment {number}; {last}. Nothing was trained.")
        experiment = state.experiments[number]
        best = bool(state.kept) and number == state.kept[-1]
        words = f"the best (experiment {number})" if best else f"experiment {number}"
        name, commit = experiment_id(number), experiment.commit
        why = phrases.verdict(experiment)
    measured = state.facts.get(commit)
    if measured is None or measured.result.val_bpb is None:
        raise UsageError(
            f"{capital(words)} of run {state.name} has no score ({why}), so there is no model to export. Nothing was "
            f"trained."
        )
    return Version(name, words, commit, measured)


def _number(state: State, asked: str) -> int | None:
    """Return the number of the experiment that is asked for, None for the start. Raises UsageError."""
    if asked == START:
        return None
    if asked == BEST:
        return state.kept[-1] if state.kept else None
    if not (asked.isascii() and asked.removeprefix("#").isdigit()) or len(asked) > 9:
        raise UsageError(
            f"--experiment {phrases.one_line(asked, 40)} is not start, best or the number of an experiment. Nothing was trained."
        )
    return int(asked.removeprefix("#"))
