"""Kept changes are taken out of the best once more, and what no longer pays is dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from core.change import edits, removal
from core.execution.deterministic import World
from core.loop.ablations import AGENT
from core.model import Limits, Notes, Part, Proposal
from core.record import events as ev
from core.record.experiment import Experiment
from core.record.state import State
from core.reporting import scoreboard
from core.reporting.changes import short_name
from core.verdicts import Verdict
from tests.core.loop.kept_parts import COMBINATION, IDEAS
from tests.core.loop.kept_parts import WORLD as APART
from tests.core.loop.night import SOURCE, Night, changed

# What K1 gains is lost once K5 is there, as if both did the same.
FILLERS = tuple(f"K3 = {value}" for value in range(1, 6))  # verdicts after which a clear keep is taken out, too
NIGHT = ("K1 = 1", "K5 = 1", *FILLERS, "K9 = 1")
OBSOLETE = World(effects={"K1 = 1": -0.1, "K5 = 1": -0.2, "K9 = 1": -0.1}, noise=0.002)


def gone_with_k5(source: str, seed: int) -> float:
    score = OBSOLETE(source, seed)
    assert isinstance(score, float)
    return score + (0.115 if "K1 = 1" in source and "K5 = 1" in source else 0.0)


def ablations(state: State) -> list[Experiment]:
    return [e for e in state.experiments.values() if e.notes.without is not None]


def test_what_no_longer_pays_is_taken_out_when_the_agent_has_nothing_left(tmp_path: Path) -> None:
    night = Night(tmp_path / "n", ablation=True)
    state = night.run(NIGHT, gone_with_k5)
    first, second = ablations(state)
    assert [e.notes.without for e in (first, second)] == [(1, 0), (2, 0)], "the last keep was just compared with this"
    assert first.hypothesis == short_name(first) == "Take out K1 0 -> 1" and first.agent == AGENT
    assert first.verdict is not None and first.verdict.kept and second.verdict is Verdict.DISCARD
    assert state.kept == [1, 2, 8, first.number]
    assert night.active().source(state.incumbent) == changed(changed(SOURCE, "K5 = 1"), "K9 = 1")
    assert state.stopped is not None and state.stopped.reason == "the agent has nothing left to propose"
    assert {score.agent: score.kept for score in scoreboard.scores(state)} == {"listed": 3, AGENT: 1}


def test_an_equal_ablation_is_kept_as_a_simplification_after_four_pairs(tmp_path: Path) -> None:
    night = Night(tmp_path / "n", ablation=True)
    state = night.run(
        NIGHT,
        lambda source, seed: gone_with_k5(source, seed) - 0.013 * ("K1 = 1" in source and "K5 = 1" in source),
    )
    first = ablations(state)[0]
    assert first.verdict is Verdict.SIMPLIFICATION and first.pairs == 4
    assert first.finding.startswith("No longer needed: without it ") and first.finding.endswith("so it was taken out.")


def test_a_limit_ends_a_run_before_its_ablations(tmp_path: Path) -> None:
    """An agent that still proposes finds more in the time (benchmarks/ablation.py)."""
    night = Night(tmp_path / "n", ablation=True)
    state = night.run(NIGHT, gone_with_k5, limits=Limits(max_experiments=len(NIGHT)))
    assert state.judged == len(NIGHT) and not ablations(state)


def test_each_part_of_a_combination_is_taken_out(tmp_path: Path) -> None:
    night = Night(tmp_path / "n", ablation=True)
    state = night.run([COMBINATION], replace(APART, effects=dict(zip(IDEAS, (-0.1, 0.02, -0.1), strict=True))))
    found = {e.notes.without: e for e in ablations(state)}
    assert list(found) == [(1, 1), (1, 2), (1, 3)]
    dropped = found[1, 2]
    assert dropped.hypothesis == "Take out K5 0 -> 2" and state.kept == [1, dropped.number]
    assert night.active().source(state.incumbent) == changed(changed(SOURCE, IDEAS[0]), IDEAS[2])


def test_a_change_that_cannot_be_removed_is_reported_once_and_the_run_ends(tmp_path: Path) -> None:
    night = Night(tmp_path / "n", ablation=True)
    world = World(effects={"K1 = 1": -0.1, "K1 = 2": -0.3, "K9 = 1": -0.1}, noise=0.002)
    night.run(["K1 = 1", "K3 = 9", "K1 = 2", *FILLERS, "K9 = 1"], world)
    state = night.run([], world)
    said = [event.text for event in night.events() if isinstance(event, ev.Notice)]
    assert said == ["#1 is not taken out of the best: a later change moved K1 too"]
    assert [e.notes.without for e in ablations(state)] == [(3, 0)], "and none is repeated by the second start"


def test_a_clear_keep_of_the_last_verdicts_is_not_taken_out(tmp_path: Path) -> None:
    night = Night(tmp_path / "n", ablation=True)
    assert not ablations(night.run(["K1 = 1", "K5 = 1", "K9 = 1"], gone_with_k5))


def test_without_the_option_nothing_is_taken_out(tmp_path: Path) -> None:
    assert not ablations(Night(tmp_path / "n").run(NIGHT, gone_with_k5))


def test_a_change_of_code_is_taken_out_beside_constants_that_moved_later(tmp_path: Path) -> None:
    night = Night(tmp_path / "n", ablation=True)
    code = SOURCE.replace("run.log(loss=1.0)", "run.log(loss=2.0)")
    idea = Proposal(hypothesis="Log: another loss.", source=code, notes=Notes(parts=(Part(name="x", gain=0, error=0),)))
    world = World(effects={"loss=2.0": -0.1, "K5 = 1": -0.1}, noise=0.002)
    state = night.run([idea, *FILLERS, "K5 = 1"], world)
    (found,) = ablations(state)
    assert found.hypothesis == "Take out Log" and found.verdict is Verdict.DISCARD
    assert night.active().source(found.commit) == changed(SOURCE, "K5 = 1")


def test_a_change_without_which_no_valid_python_is_left_is_passed_over_and_the_run_ends(tmp_path: Path) -> None:
    """The second change empties the block but for the line of the first one. git merges both without a conflict."""
    start = SOURCE.replace(
        "    return None\n",
        "    if run:\n        run.log(loss=3.0)\n        #\n        #\n        #\n    return None\n",
    )
    one = start.replace("        #\n    return", "        run.log(loss=2.0)\n        #\n    return")
    two = one.replace("        run.log(loss=3.0)\n", "")
    night = Night(tmp_path / "n", ablation=True, source=start)
    ideas = [Proposal(hypothesis="Log more.", source=one), Proposal(hypothesis="Log less.", source=two)]
    world = World(effects={"loss=2.0": -0.1, "loss=3.0": 0.1, "K9 = 1": -0.1}, noise=0.002)
    active = night.active()
    with pytest.raises(edits.EditError, match="not be valid Python"):
        removal.without(two, start, one, active.merge)
    active.journal.close()
    state = night.run([*ideas, *FILLERS, "K9 = 1"], world)
    said = [event.text for event in night.events() if isinstance(event, ev.Notice)]
    assert len(said) == 1 and said[0].startswith(
        "#1 is not taken out of the best: without it train.py would not be valid Python"
    )
    assert state.kept[:2] == [1, 2]
    assert state.stopped is not None and state.stopped.reason == "the agent has nothing left to propose"
