"""The fold: a journal's events into what a run is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.model import Role, RunConfig
from core.record import events as ev
from core.record import hints
from core.record.experiment import experiment_id
from core.record.fold import RERUN_TRIES, fold
from core.record.state import State
from core.reporting.log_lines import line
from core.verdicts import Verdict
from tests.events import measurement

CONFIG = RunConfig(
    name="x", dataset="python", data="d", fingerprint="f", device="cpu", profile="cpu", budget_s=60, seq_len=256,
    vocab_size=2048, eval_tokens=1000, seed=1, slots=1, base_commit="b", noise_prior=0.008,
)  # fmt: skip


def opening() -> list[ev.AnyEvent]:
    return [
        ev.Created(v=ev.SCHEMA, config=CONFIG, t=100.0),
        ev.Started(pid=1, agent="search", approval="auto", slots=1, t=100.0),
        ev.StartCommit(commit="fit", source_hash="h", nodes=500),
        ev.Launched(job="j1", role=Role.BASELINE, commit="fit", seed=7, slot=0),
        measurement(job="j1", role=Role.BASELINE, commit="fit", seed=7, outcome="scored", val_bpb=1.6, score_s=4.0),
    ]


def proposed(number: int, parent: str = "fit", again: int | None = None) -> ev.Proposed:
    return ev.Proposed(
        number=number, commit=f"c{number}", parent=parent, fingerprint=f"p{number}", hypothesis="h", agent="a", charter="s",
        nodes=490, retry_of=again,
    )  # fmt: skip


def measured(number: int, value: float, seed: int = 7, role: str = "candidate", **more: object) -> list[ev.AnyEvent]:
    job = f"j{number}{seed}{role}"
    return [
        ev.Launched(job=job, role=Role(role), commit=f"c{number}", seed=seed, slot=0, number=number),
        measurement(
            job=job, role=role, commit=f"c{number}", seed=seed, number=number, outcome="scored", val_bpb=value,
            tokens=1000, charged_s=2.0, peak_memory=10, **more,  # type: ignore[arg-type]
        ),
    ]  # fmt: skip


def test_the_mean_of_the_best_is_what_its_experiment_shows() -> None:
    again = measurement(job="j", role=Role.INCUMBENT, commit="k1", seed=9, number=2, outcome="scored", val_bpb=1.7)
    state = fold([
        *opening(), proposed(1), *measured(1, 1.5), ev.Judged(number=1, verdict=Verdict.KEEP, finding="f", commit="k1"),
        proposed(2, "k1"), again,
    ])  # fmt: skip
    assert state.experiments[1].val_bpb == state.mean("k1") == pytest.approx(1.6)
    assert state.experiments[2].val_bpb is None


def test_a_best_that_was_overtaken_while_it_was_measured_shows_its_mean_too() -> None:
    again = measurement(job="j", role=Role.INCUMBENT, commit="k1", seed=9, number=3, outcome="scored", val_bpb=1.7)
    state = fold([
        *opening(), proposed(1), *measured(1, 1.5), ev.Judged(number=1, verdict=Verdict.KEEP, finding="f", commit="k1"),
        proposed(2, "k1"), *measured(2, 1.4), ev.Judged(number=2, verdict=Verdict.KEEP, finding="f", commit="k2"), again,
    ])  # fmt: skip
    assert state.experiments[1].val_bpb == pytest.approx(1.6) and state.experiments[2].val_bpb == 1.4


def test_a_revised_proposal_is_the_agents_and_the_humans_and_stays_so() -> None:
    state = fold([
        *opening(), proposed(1), ev.Revised(number=1, commit="r1", fingerprint="x", hypothesis="Mine."),
        ev.Judged(number=1, verdict=Verdict.INTERRUPTED, finding="f"), proposed(2, again=1),
    ])  # fmt: skip
    assert (state.experiments[1].hypothesis, state.experiments[1].agent) == ("Mine.", "a + human")
    assert state.experiments[2].revised


def test_a_kept_change_becomes_the_best_and_takes_its_scores_along() -> None:
    state = fold([
        *opening(), proposed(1), ev.Approved(number=1, by="auto"), *measured(1, 1.5), *measured(1, 1.52, 8, "confirm"),
        ev.Judged(number=1, verdict=Verdict.KEEP, finding="good", gain=0.09, commit="k1"),
    ])  # fmt: skip
    assert state.incumbent == "k1" and state.commits == ["fit", "k1"]
    assert state.scores["k1"] == {7: 1.5, 8: 1.52} and state.mean("k1") == pytest.approx(1.51)
    experiment = state.experiments[1]
    assert experiment.verdict is Verdict.KEEP and experiment.attempts == ["c1"] and experiment.tokens_per_s == 500.0
    assert not state.open and state.judged == 1


def test_a_disturbed_run_counts_for_nothing() -> None:
    state = fold([*opening(), proposed(1), *measured(1, 1.2, disturbed="the machine slept")])
    assert (
        "c1" not in state.scores
        and state.experiments[1].disturbances == {7: 1}
        and state.experiments[1].val_bpb is None
    )


def test_a_disturbance_that_meets_several_jobs_of_an_experiment_counts_once() -> None:
    jobs = [measured(1, 1.2, seed, "confirm", disturbed="the machine slept") for seed in (1, 2, 3)]
    state = fold([*opening(), proposed(1), *(launched for launched, _ in jobs), *(result for _, result in jobs)])
    assert state.experiments[1].disturbances == {1: 1} and not state.running
    best = ev.Launched(job="best", role=Role.INCUMBENT, commit="fit", seed=4, slot=1, number=1)
    fold([best, *measured(1, 1.2, 4, "confirm", disturbed="the machine slept")], state)
    assert state.experiments[1].disturbances == {1: 1, 4: 1}, "the training of the best beside it does not matter"


def test_a_disturbance_counts_even_if_the_last_of_several_jobs_has_a_score() -> None:
    slept = [measured(1, 1.2, seed, "confirm", disturbed="the machine slept") for seed in (1, 2)]
    jobs = [*slept, measured(1, 1.2, 3, "confirm")]
    state = fold([*opening(), proposed(1), *(launched for launched, _ in jobs), *(result for _, result in jobs)])
    assert state.experiments[1].disturbances == {1: 1} and state.scores["c1"] == {3: 1.2}


@pytest.mark.parametrize("ended", [{"outcome": "scored", "disturbed": "the machine slept"}, {"outcome": "crash"}])
def test_what_meets_several_jobs_of_the_best_at_once_counts_once(ended: dict[str, str]) -> None:
    def met(*seeds: int) -> list[ev.AnyEvent]:
        where = {
            seed: {"job": f"b{seed}", "role": Role.INCUMBENT, "commit": "fit", "seed": seed, "number": 1}
            for seed in seeds
        }
        launched = [ev.Launched(slot=0, **where[seed]) for seed in seeds]  # type: ignore[arg-type]
        return [*launched, *(measurement(**where[seed], **ended) for seed in seeds)]  # type: ignore[arg-type]

    state = fold([*opening(), proposed(1), *met(1, 2, 3)])
    counts: object = state.disturbances if "disturbed" in ended else state.failures
    assert counts == {"fit": 1 if "disturbed" in ended else {1: 1}} and not state.running
    fold(met(4, 5), state)
    assert counts == {"fit": 2 if "disturbed" in ended else {1: 1, 4: 1}} and not state.beside


def test_a_change_that_is_re_applied_twice_before_it_trains_remembers_its_first_scores() -> None:
    def rebased(number: int, commit: str, parent: str) -> ev.Rebased:
        return ev.Rebased(number=number, commit=commit, parent=parent, fingerprint="q", nodes=500)

    state = fold([*opening(), proposed(1), *measured(1, 1.5), rebased(1, "r1", "k1"), rebased(1, "r2", "k2")])
    assert state.experiments[1].before == ("c1", "fit")
    cut = ev.Judged(number=1, verdict=Verdict.INTERRUPTED, finding="f")
    fold([cut, proposed(2, again=1)], state)
    assert state.experiments[2].before == ("c1", "fit"), "when it is tried again too"
    fold([ev.Revised(number=2, commit="c3", fingerprint="x")], state)
    assert state.experiments[2].before is None, "it is another change now"


def test_a_disturbed_measurement_that_was_wished_for_is_tried_again_but_not_for_ever() -> None:
    begun = [*opening(), proposed(1), *measured(1, 1.5), ev.Judged(number=1, verdict=Verdict.DISCARD, finding="f")]
    state = fold([*begun, ev.Rerun(number=1)])
    for tries in range(1, RERUN_TRIES + 1):
        state = fold(measured(1, 1.2, 8, "rerun", disturbed="the machine slept"), state)
        assert list(state.reruns) == ([1] if tries < RERUN_TRIES else [])
        event = measurement(
            job="j", role=Role.RERUN, commit="c1", seed=8, number=1, outcome="scored", disturbed="slept"
        )
        assert ("it does not count" in str(line(event, state))) is (tries < RERUN_TRIES)
    assert state.scores["c1"] == {7: 1.5} and state.experiments[1].verdict is Verdict.DISCARD
    state = fold([ev.Rerun(number=1), *measured(1, 1.3, 8, "rerun")], state)
    assert not state.reruns and state.experiments[1].val_bpb == pytest.approx(1.4)


def test_an_abort_stands_until_what_it_means_has_ended() -> None:
    state = fold([*opening(), proposed(1), *measured(1, 1.5)[:1], ev.Aborted(number=1)])
    assert state.aborted == {1}
    fold([ev.Judged(number=1, verdict=Verdict.INTERRUPTED, finding="f", by="human")], state)
    assert not state.aborted
    fold([ev.Rerun(number=1), ev.Aborted(number=1), ev.Rerun(number=1, wanted=False)], state)
    assert not state.aborted and not state.reruns
    fold([ev.Rerun(number=1), ev.Aborted(number=1), *measured(1, 1.4, 8, "rerun")], state)
    assert not state.aborted, "it came to its end before"


def test_between_two_of_its_seeds_a_run_is_busy() -> None:
    state = fold([*opening(), proposed(1)])
    assert not state.busy
    fold(measured(1, 1.5), state)
    assert state.busy and not state.running
    fold([ev.Judged(number=1, verdict=Verdict.DISCARD, finding="f")], state)
    assert not state.busy


def test_interrupted_experiments_do_not_count_and_do_not_break_a_streak() -> None:
    ran = ev.Launched(job="j1", role=Role.CANDIDATE, commit="c1", seed=7, slot=0, number=1)
    crash = [proposed(1), ran, ev.Judged(number=1, verdict=Verdict.CRASH, crash="hang", finding="f")]
    cut = [proposed(2), ev.Judged(number=2, verdict=Verdict.INTERRUPTED, finding="f"), proposed(3, again=2)]
    state = fold([*opening(), *crash, *cut])
    assert state.judged == 1 and state.crash_streak == 1 and list(state.open) == [3]


def test_experiments_that_never_trained_do_not_count_in_a_streak() -> None:
    """A streak ends the run, and an agent that is refused must not."""
    refused = [(proposed(n), ev.Judged(number=n, verdict=Verdict.INVALID, finding="f")) for n in range(1, 30)]
    state = fold([*opening(), *(event for pair in refused for event in pair)])
    assert state.crash_streak == 0 and state.judged == 29


def test_a_rebased_change_is_measured_afresh() -> None:
    state = fold([
        *opening(), proposed(1), *measured(1, 1.5),
        ev.Rebased(number=1, commit="r1", parent="k9", fingerprint="q", nodes=480),
    ])  # fmt: skip
    experiment = state.experiments[1]
    assert (experiment.commit, experiment.parent, experiment.val_bpb) == ("r1", "k9", None)
    assert experiment.attempts == ["c1", "r1"] and experiment.fingerprint == "q"


def test_running_jobs_are_known_until_they_are_measured() -> None:
    start = ev.Launched(job="j9", role=Role.CANDIDATE, commit="c1", seed=7, slot=0, number=1)
    processes = ev.Processes(job="j9", pids=((5, 1.5),), boot="b")
    state = fold([*opening(), proposed(1), start, processes])
    assert set(state.running) == {"j9"} and state.processes == {"j9": processes} and state.experiments[1].launched
    end = measurement(job="j9", role=Role.CANDIDATE, commit="c1", seed=7, number=1, outcome="interrupted")
    fold([end], state)
    assert not state.running and not state.processes


def test_time_spent_is_summed_over_starts() -> None:
    state = fold([*opening(), ev.Stopped(reason="told", t=160.0), ev.Started(pid=2, agent="a", approval="auto", slots=1, t=500.0),
                  ev.Stopped(reason="told", t=530.0)])  # fmt: skip
    assert state.seconds_running == pytest.approx(90.0)


def test_folding_in_pieces_is_folding_at_once() -> None:
    events = [*opening(), proposed(1), *measured(1, 1.5), ev.Judged(number=1, verdict=Verdict.DISCARD, finding="no")]
    for cut in range(len(events)):
        assert fold(events[cut:], fold(events[:cut])) == fold(events)


def test_an_empty_state_has_no_best() -> None:
    assert State().incumbent == "" and State().next_number == 1 and experiment_id(7) == "00007"


def test_hints_and_reasons_for_skipping_are_numbered_and_taken_back() -> None:
    skipped = ev.Judged(
        number=1, verdict=Verdict.SKIPPED, finding="Skipped by the human: too wide", reason="too wide", by="human"
    )
    events = [*opening(), ev.Hint(text="try LR", t=5.0), proposed(1), skipped, ev.Hint(text="avoid heads")]
    state = fold(events)
    assert [(said.number, said.text, said.skipped) for said in state.all_hints] == [
        (1, "try LR", None), (2, "too wide", 1), (3, "avoid heads", None)
    ]  # fmt: skip
    assert state.hints == ["try LR", "avoid heads"] and hints.line(state.all_hints[1]).endswith(
        "why #1 was skipped: too wide"
    )
    state = fold([*events, ev.TakenBack(number=1), ev.TakenBack(number=2), ev.TakenBack(number=9)])
    assert state.hints == ["avoid heads"] and state.experiments[1].finding == "Skipped by the human."
    assert (
        hints.line(state.all_hints[0]).endswith("try LR  (taken back)")
        and hints.counted(state.all_hints) == "This run has hints 1 to 3."
    )
    assert line(ev.TakenBack(number=2), state)


def test_overruling_a_skip_adds_no_second_reason() -> None:
    skip = ev.Judged(number=1, verdict=Verdict.SKIPPED, finding="f", reason="no", by="human")
    state = fold(
        [*opening(), proposed(1), skip, ev.Judged(number=1, verdict=Verdict.SKIPPED, finding="f", reason="overruled")]
    )
    assert len(state.all_hints) == 1


def test_the_log_names_the_node_of_a_cluster_and_what_it_lacks() -> None:
    events = opening()
    measured = events[-1]
    assert isinstance(measured, ev.Measured)
    there = replace(
        measured, node="second", kind="A100", result=replace(measured.result, unprotected=("no Landlock (files)",))
    )
    state = fold([*events[:-1], there])
    assert state.unprotected == ("no Landlock (files)",) and state.kind == "A100"
    assert "; on second; unprotected: no Landlock (files))" in str(line(there, state))
    assert "; on " not in str(line(measured, state))
