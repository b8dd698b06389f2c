"""A change that is estimated again after its verdict has the same figure everywhere, and its finding says which one is history."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from core.judging import gain, schedule
from core.record import events as ev
from core.record import journal
from core.record.fold import apply, fold
from core.record.live import Picture
from core.record.state import State
from core.reporting import findings, highlights, result_rows, scoreboard, status
from core.reporting.commit_message import commit_message
from core.verdicts import Verdict
from tests.core.judging.test_gain import KEPT, judged, night, proposed, scored
from tests.derived_files import publish
from tui.view.detail import experiment_facts

RECORDED = Path(__file__).resolve().parents[2] / "recorded"
VERDICT, NOW = "0.0100", "0.0200"  # a third pair of seeds has doubled the mean


def again(verdict: Verdict) -> State:
    """A change that was judged on one pair as 0.01 better; a second pair then says 0.03."""
    first = [proposed(1, "start"), scored("candidate", "c1", 1, 1.49, 1)]
    verdict_event = judged(1, verdict, -0.01, 1)
    verdict_event = replace(verdict_event, finding="Better by 0.0100 bpb.", within_noise=True)
    commit = "k1" if verdict.kept else "c1"
    return night(*first, verdict_event, scored("rerun", commit, 2, 1.47, 1))


@pytest.mark.parametrize("verdict", [Verdict.KEEP, Verdict.DISCARD])
def test_every_place_shows_the_present_figure(verdict: Verdict, tmp_path: Path) -> None:
    state = again(verdict)
    noise, one = schedule.noise(state), state.experiments[1]
    found = status.status(state, noise, None, Picture())
    row = result_rows.rows(state, noise.sigma)[1]
    facts = experiment_facts(state, one, "kept", 200).plain
    publish(tmp_path, state, noise.sigma)
    lists = found.kept_changes if verdict.kept else found.near_misses
    assert [round(each or 0.0, 4) for each in (found.last[0].change, row.change, lists[0].change)] == [-0.02] * 3
    assert lists[0].pairs == 2
    notebook = (tmp_path / "notebook.md").read_text()
    texts = [found.last[0].finding, row.finding, facts]
    texts += [notebook.split("## All experiments")[0] if verdict.kept else notebook]
    for text in texts:
        assert NOW in text, text
    for text in texts[:3]:
        assert f"Better by {VERDICT} bpb, at the verdict. Now estimated as {NOW} bpb better." in text
    assert f"change      −{NOW}" in facts and "over 2 pairs" in facts
    if verdict.kept:
        assert round(scoreboard.scores(state)[0].change, 4) == -0.02, "the agents' gains add up to that of the run"
        assert f"-{NOW}" in commit_message(state, noise)


def test_a_further_pair_can_end_a_near_miss() -> None:
    first = [proposed(1, "start"), scored("candidate", "c1", 1, 1.49, 1)]
    missed = replace(judged(1, Verdict.DISCARD, -0.01, 1), within_noise=True)
    assert [one.number for one in highlights.near_misses(night(*first, missed), 0.002)] == [1]
    worse = night(*first, missed, scored("rerun", "c1", 2, 1.55, 1))
    assert highlights.near_misses(worse, 0.002) == ()


def test_a_finding_without_a_later_estimate_stays_as_it_was_recorded() -> None:
    state = night(proposed(1, "start"), scored("candidate", "c1", 1, 1.49, 1), judged(1, Verdict.DISCARD, -0.01, 1))
    one = state.experiments[1]
    assert findings.shown(one, gain.Scale(state)) == one.finding


def test_a_step_on_the_scale_of_the_run_is_not_said_to_come_from_its_pairs() -> None:
    """#1 is measured again on a third seed. So the step of #2, which is compared with the start on two, is not that of its pairs."""
    second = replace(judged(2, Verdict.KEEP, -0.01), finding="Better by 0.0100 bpb over 2 seeds.")
    state = night(
        *KEPT, proposed(2, "k1"), scored("candidate", "c2", 1, 1.48, 2), scored("confirm", "c2", 2, 1.48, 2), second,
        scored("best", "start", 3, 1.5), scored("best", "k1", 3, 1.52),
    )  # fmt: skip
    scale, one = gain.Scale(state), state.experiments[2]
    sigma = schedule.noise(state).sigma
    assert findings.shown(one, scale) == "Better by 0.0100 bpb over 2 seeds. On the run's scale: 0.0200 bpb better."
    facts = experiment_facts(state, one, "kept", 200).plain
    assert "−0.0200 on the scale of the run; −0.0100 ± 0.0010 over 2 pairs on the same seeds" in facts
    row = highlights.kept(state, sigma)[1]
    assert row.change == pytest.approx(-0.02) and row.pairs == 0
    assert row.error == pytest.approx(sigma), "of two scores, of three, and of those of the start that do not cancel"
    sides = scale.contrast(state.experiments[1], one, sigma)
    assert sides == (row.change, row.error, 0), "a comparison says the same"
    assert scale.is_paired(state.experiments[1]) and highlights.kept(state, sigma)[0].pairs == 3


def test_the_bar_of_a_combination_is_the_change_over_its_pairs() -> None:
    path = RECORDED / "found" / "events.jsonl"
    state = fold(journal.read(path))
    bars = experiment_facts(state, state.experiments[31], "kept", 200).plain.split("measured")[1]
    assert bars.split("\n")[0].rstrip().endswith("−0.0101 ± 0.0022")


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*/events.jsonl")), ids=lambda path: path.parent.name)
def test_the_experiments_whose_figures_move_are_known(path: Path) -> None:
    """The app draws only the rows of these again."""
    state, shown = State(), dict[int, tuple[float | None, float | None]]()
    for event in journal.read(path):
        apply(state, event)
        scale = gain.Scale(state)
        now = {number: (scale.of(one), scale.change(one)) for number, one in state.experiments.items()}
        if isinstance(event, ev.Measured):
            told = gain.affected_numbers(state, {event.commit}) | {event.number}
            moved = {number for number, figures in now.items() if shown.get(number) != figures}
            assert moved <= told, (event.commit, moved - told)
        shown = now
