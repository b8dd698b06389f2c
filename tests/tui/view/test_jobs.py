"""What is told of a running job: how far its phase is, and how long it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from core.model import Role
from core.record import events as ev
from core.record import journal
from core.record.fold import apply, fold
from core.record.live import Picture, Slot
from core.record.state import State
from nanochat.contract.job import Outcome
from tui.view.jobs import RunningJob, running_jobs

RECORDED = Path(__file__).parents[1] / "recorded" / "nov23"
BUDGET_S = 5.0


def state(*, measured: bool = True) -> State:
    """Return a run with a budget of 5 s, whose last training took 8 s to set up, 10 s to train and 18 s to score."""
    found = fold(journal.read(RECORDED / journal.NAME))
    assert found.config is not None
    found.config = replace(found.config, budget_s=BUDGET_S)
    fact = next(iter(found.facts.values()))
    result = replace(
        fact.result,
        outcome=Outcome.SCORED,
        charged_s=5.0,
        wall_s=10.0,
        parts={"preflight": 2.0, "setup": 6.0, "scoring": 18.0},
    )
    found.facts = {"c": replace(fact, result=result)} if measured else {}
    apply(found, ev.Launched(t=0.0, job="j1", role=Role.CANDIDATE, commit="c", seed=1, slot=0, number=9))
    return found


def job(found: State, **figures: object) -> RunningJob:
    slot = replace(Slot(slot=0, number=9, role=Role.CANDIDATE, job="j1"), **figures)
    (shown,) = running_jobs(found, Picture(slots=(slot,)))
    return shown


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"phase": "setup", "wall_s": 2.0}, "setting up, about 0:06 left"),
        ({"phase": "preflight", "wall_s": 1.0}, "preflight, about 0:07 left"),
        (
            {"phase": "training", "wall_s": 9.0, "charged_s": 1.0, "progress": 0.2},
            "training, 20% of the budget of 5 s, about 0:08 left, then scoring, about 0:18",
        ),
        (
            {"phase": "training", "wall_s": 18.0, "charged_s": 2.5, "progress": 0.5},
            "training, 50% of the budget of 5 s, about 0:10 left, then scoring, about 0:18",
        ),
        ({"phase": "scoring", "wall_s": 40.0, "progress": 0.5}, "scoring, 50%, about 0:09 left"),
    ],
)
def test_each_phase_has_its_own_progress_and_its_time_is_wall_time(figures: dict[str, object], words: str) -> None:
    assert job(state(), **figures).stands == words


def test_before_the_first_score_nothing_is_guessed() -> None:
    found = state(measured=False)
    setup, scoring = job(found, phase="setup", wall_s=2.0), job(found, phase="scoring", wall_s=40.0, progress=0.25)
    assert (setup.progress, setup.left_s, setup.stands) == (None, None, "setting up")
    assert (scoring.progress, scoring.left_s, scoring.stands) == (0.25, None, "scoring, 25%")
