"""What a log line, the status and `compare` say of an experiment beyond its verdict: its time, its repeats, and its two scores."""

from __future__ import annotations

import msgspec
import pytest

from core.judging import schedule
from core.record import events as ev
from core.record.fold import apply
from core.record.live import Picture
from core.reporting import comparison, log_lines, phrases, status, summary
from core.verdicts import Verdict
from tests.core.judging.test_gain import KEPT, judged, night, proposed, scored
from tests.core.reporting.test_report import state_of


def again(number: int, parent: str) -> ev.Proposed:
    """Proposal `number` with the hypothesis of proposal 2."""
    return msgspec.structs.replace(proposed(number, parent), hypothesis="Change 2.")


def test_the_same_hypothesis_again_names_the_earlier_experiment() -> None:
    state = night(*KEPT, proposed(2, "start"), scored("candidate", "c2", 1, 1.499, 2))
    apply(state, msgspec.structs.replace(judged(2, Verdict.DISCARD, -0.001, 1), within_noise=True))
    apply(state, again(3, "k1"))
    line = log_lines.line(again(3, "k1"), state)
    assert line is not None and "proposed by search, again, on the new best (#2 was inconclusive): Change 2." in line
    apply(state, again(4, "k1"))
    assert phrases.again(state, state.experiments[4]) == "again (#3 was waiting)"
    apply(state, msgspec.structs.replace(again(5, "k1"), retry_of=4))
    assert phrases.again(state, state.experiments[5]) == "", "a retry is called one"
    assert phrases.again(state, state.experiments[1]) == ""


def test_the_time_of_a_training_is_that_of_the_baseline_and_then_of_the_experiments() -> None:
    state = state_of(2)
    assert state.baseline is not None and state.config is not None
    result = msgspec.structs.replace(state.baseline.result, total_wall_s=24.0)
    state.baseline = msgspec.structs.replace(state.baseline, result=result)
    slots = state.started.slots if state.started is not None else state.config.slots
    budget = f"one training took 24 s (its budget is {state.config.budget_s:g} s)"
    assert phrases.pace(state) == f"{budget}, at most {slots * 150} experiments an hour"
    state = state_of(6)
    state.baseline = msgspec.structs.replace(state.baseline, result=result)  # type: ignore[type-var]
    for experiment in state.experiments.values():
        experiment.seconds, experiment.measured = 36.0, 1
    assert phrases.pace(state) == f"{budget}, about {slots * 100} experiments an hour"
    shown = summary.text(summary.summary(status.status(state, schedule.noise(state), None, Picture())))
    assert phrases.pace(state) in shown and phrases.SCALE in shown
    state.config = msgspec.structs.replace(state.config, executor="deterministic:w.json")
    assert phrases.pace(state) == "", "a rehearsal trains nothing"


def test_the_measured_score_stands_beside_that_on_the_scale_of_the_run() -> None:
    """The start is measured on a third seed, so the score of the experiment is another one than when it was announced."""
    state = night(proposed(1, "start"), scored("candidate", "c1", 1, 1.49, 1), judged(1, Verdict.DISCARD, -0.01, 1))
    found = comparison.comparison(state, 0.002, (0, 1), (None, None))
    side = found.second
    assert side.raw_bpb is not None and side.val_bpb != pytest.approx(side.raw_bpb) and side.seeds == 1
    text = "\n".join(comparison.text(found)[0])
    assert f"val_bpb {side.val_bpb:.4f} (measured {side.raw_bpb:.4f} on one seed)" in text
    assert f"val_bpb {found.first.val_bpb:.4f}\n" in text, "the score of the start is the mean of its trainings"
