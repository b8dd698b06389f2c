"""What is said of kept changes that were measured alone on fresh seeds."""

from __future__ import annotations

import pytest

from core.judging import policy, schedule
from core.judging.final_check import FIRST
from core.model import Role
from core.record.fold import apply
from core.record.live import Picture
from core.record.state import State
from core.reporting import kept_afresh, phrases, status
from core.reporting.page import page
from tests.core.reporting.reports import SIGMA, report_of, state_of
from tests.events import measurement
from tui.view.detail import experiment_facts


def alone(changes: list[float], seeds: int = 4) -> State:
    """A run that kept as many changes, after a final check in which each alone has this effect."""
    state = state_of(3 * len(changes), keep_every=3)
    assert state.config is not None and len(state.kept) == len(changes)
    for index in range(seeds):
        seed, score = policy.seed(state.config.seed, FIRST + index), 1.0
        for commit, change in zip(state.commits, [0.0, *changes], strict=True):
            score += change
            apply(state, measurement(role="final check", commit=commit, seed=seed, val_bpb=score))
    return state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (-0.01, "-0.0100 ± 0.0014 on 4 fresh seeds: it holds"),
        (-0.002, "-0.0020 ± 0.0014 on 4 fresh seeds: it is not certain, 0.0028 was needed"),
        (0.01, "+0.0100 ± 0.0014 on 4 fresh seeds: it is worse than without it"),
    ],
)
def test_each_has_its_figure_and_its_verdict(change: float, words: str) -> None:
    state = alone([-0.02, change])
    first, second = (state.experiments[number] for number in state.kept)
    said = kept_afresh.lines(state, SIGMA)
    assert said[0].startswith("#3 ") and said[0].endswith(": -0.0200 ± 0.0014 on 4 fresh seeds: it holds.")
    assert said[1].startswith("#6 ") and said[1].endswith(f": {words}.")
    assert said[2] == ("2 of 2 kept changes hold alone." if change < -0.005 else "1 of 2 kept changes holds alone.")
    shown = experiment_facts(state, second, "kept", 200).plain
    assert phrases.change(change) in shown and "on 4 fresh seeds" in shown and "afresh" in shown
    assert "-0.0200" in experiment_facts(state, first, "kept", 200).plain
    kept = status.status(state, schedule.noise(state), None, Picture()).kept_changes
    found = [(one.afresh.change, one.afresh.seeds) for one in kept if one.afresh is not None]
    assert found == [(pytest.approx(-0.02), 4), (pytest.approx(change), 4)]


def test_the_page_has_a_column_once_it_was_measured() -> None:
    assert "measured afresh</th>" not in page(report_of(state_of(6, keep_every=3)))
    found = page(report_of(alone([-0.02, -0.01])))
    assert "measured afresh</th>" in found and "Measured afresh is the change alone" in found


def test_one_that_could_not_be_measured_is_counted() -> None:
    state = alone([-0.02, -0.01, -0.03])
    del state.check(Role.FINAL).scores[state.commits[1]]
    said = kept_afresh.lines(state, SIGMA)
    assert len(said) == 2 and said[1] == "1 of 1 kept change holds alone; 2 could not be measured."
