"""What comes next, as a table of small states: real events in, work or verdicts out."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from core.charter import Charter
from core.judging import policy
from core.judging.noise import Noise
from core.judging.schedule import (
    Rebase,
    Work,
    assess,
    best_confirmed,
    next_work,
    noise,
    to_recheck,
    tried_changes,
)
from core.machine.profiles import PROFILES
from core.model import Role, RunConfig
from core.record import events as ev
from core.record.events import AnyEvent, Judged
from core.record.fold import apply, fold
from core.record.state import State
from core.run import jobs
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Outcome, Result, Speed
from tests.events import measurement

SEED = [policy.seed(1, index) for index in range(8)]
CONFIG = RunConfig(
    name="x", dataset="python", data="d", fingerprint="f", device="cpu", profile="cpu", budget_s=60, seq_len=256,
    vocab_size=2048, eval_tokens=1000, seed=1, slots=2, base_commit="b", noise_prior=0.01,
)  # fmt: skip


def scored(
    commit: str, value: float, index: int = 0, role: str = "candidate", number: int | None = None
) -> list[AnyEvent]:
    job = f"{commit}{index}{role}"
    return [
        ev.Launched(job=job, role=Role(role), commit=commit, seed=SEED[index], slot=0, number=number),
        measurement(
            job=job, role=role, commit=commit, seed=SEED[index], outcome="scored", val_bpb=value, number=number
        ),
    ]


def set_up_in(event: AnyEvent, seconds: float) -> AnyEvent:
    assert isinstance(event, ev.Measured)
    return replace(event, result=replace(event.result, parts={"setup": seconds}))


def proposed(number: int, parent: str = "fit", nodes: int = 500) -> list[AnyEvent]:
    return [
        ev.Proposed(
            number=number, commit=f"c{number}", parent=parent, fingerprint=f"p{number}", hypothesis="h", agent="a",
            charter="s", nodes=nodes,
        ),
        ev.Approved(number=number, by="auto"),
    ]  # fmt: skip


def state(*more: list[AnyEvent], baseline: bool = True) -> State:
    begin: list[AnyEvent] = [
        ev.Created(v=ev.SCHEMA, config=CONFIG), ev.StartCommit(commit="fit", source_hash="h", nodes=500),
    ]  # fmt: skip
    first = scored("fit", 1.6, role=Role.BASELINE) if baseline else []
    return fold([*begin, *first, *(event for events in more for event in events)])


def todo(found: State, **options: bool) -> list[tuple[str, str, int]]:
    return [(work.role, work.commit, SEED.index(work.seed)) for work in next_work(found, 0.01, **options)]


def test_the_baseline_comes_before_anything_else() -> None:
    assert todo(state(proposed(1), baseline=False)) == [("baseline", "fit", 0)]
    assert todo(state(baseline=False), only_started=True) == []


def test_fresh_experiments_run_in_order_and_never_twice_at_once() -> None:
    running = [ev.Launched(job="j", role=Role.CANDIDATE, commit="c1", seed=SEED[0], slot=0, number=1)]
    assert todo(state(proposed(1), proposed(2))) == [("candidate", "c1", 0), ("candidate", "c2", 0)]
    assert todo(state(proposed(1), proposed(2), running)) == [("candidate", "c2", 0)]
    assert todo(state(proposed(1)), only_started=True) == []


def test_the_repeats_of_a_kept_change_count_once() -> None:
    judged = ev.Judged(number=1, verdict=Verdict.KEEP, finding="f", commit="k1")
    seeds = [event for index in range(3) for event in scored("c1", 1.5 + index / 100, index, number=1)]
    theirs = [event for index in range(1, 3) for event in scored("fit", 1.6, index, "best")]
    before = state(proposed(1), seeds, theirs)
    after = state(proposed(1), seeds, theirs, [judged])
    assert noise(before).pairs == 2
    assert noise(after) == noise(before) and set(after.scores) == {"fit", "c1", "k1"}


def test_what_has_begun_goes_on_in_a_pause_though_it_was_re_applied_to_another_best() -> None:
    begun = state(proposed(1), scored("c1", 1.58, number=1))
    fold([ev.Rebased(number=1, commit="r1", parent=begun.incumbent, fingerprint="q", nodes=500)], begun)
    assert begun.busy and todo(begun, only_started=True) == [("candidate", "r1", 0)]


def test_an_unapproved_experiment_waits() -> None:
    assert todo(state(proposed(1)[:1])) == []


def test_a_new_one_is_measured_first_on_a_seed_where_the_best_was_as_usual() -> None:
    lucky, usual = scored("fit", 1.55, 1, "best"), scored("fit", 1.59, 2, "best")
    assert todo(state(lucky, usual, proposed(1))) == [("candidate", "c1", 2)], (
        "1.6, 1.55 and 1.59: 1.59 is closest to the mean"
    )
    assert todo(state(lucky, usual, proposed(1), scored("c1", 1.55, 2, number=1)))[0] == ("confirm", "c1", 0)


@pytest.mark.parametrize("role", [Role.CANDIDATE, Role.REPLICATE])
def test_a_new_score_of_the_best_starts_no_second_training_of_a_candidate(role: Role) -> None:
    """It changes the order of the seeds while the candidate trains on one of them."""
    launched = ev.Launched(job="j", role=role, commit="c1", seed=SEED[0], slot=0, number=1)
    found = state(scored("fit", 1.55, 1, "best"), proposed(1), proposed(2), [launched])
    assert todo(found) == [("candidate", "c2", 0)]
    fold(scored("fit", 1.59, 2, "best"), found)
    assert todo(found) == [("candidate", "c2", 2)], "1.59 is closest to the mean now"


def test_a_promising_one_is_confirmed_first_and_the_best_with_it() -> None:
    found = state(proposed(1), scored("c1", 1.58, number=1), proposed(2))
    assert todo(found)[0] == ("confirm", "c1", 1)
    assert todo(found, only_started=True) == [("confirm", "c1", 1), ("best", "fit", 1)]
    found = state(proposed(1), scored("c1", 1.58, number=1), scored("c1", 1.58, 1, "confirm", 1))
    assert todo(found)[0] == ("best", "fit", 1)


def test_a_clear_loss_is_judged_after_one_run() -> None:
    found = state(proposed(1), scored("c1", 1.7, number=1))
    step = assess(found, found.experiments[1], 0.01)
    assert isinstance(step, Judged) and step.verdict == Verdict.DISCARD and step.pairs == 1 and todo(found) == []


def test_a_repeated_gain_is_kept() -> None:
    found = state(
        proposed(1), scored("c1", 1.5, number=1), scored("c1", 1.5, 1, "confirm", 1), scored("fit", 1.6, 1, "best")
    )
    step = assess(found, found.experiments[1], 0.01)
    assert isinstance(step, Judged) and step.verdict == Verdict.KEEP and step.pairs == 2


def test_a_failure_is_judged_by_its_outcome() -> None:
    for outcome, verdict in (
        ("crash", "crash"),
        ("timeout", "timeout"),
        ("overrun", "overrun"),
        ("invalid", "invalid"),
    ):
        job = measurement(
            job="j", role=Role.CANDIDATE, commit="c1", seed=SEED[0], number=1, outcome=outcome, reason="why"
        )
        found = state(proposed(1), [job])
        step = assess(found, found.experiments[1], 0.01)
        assert isinstance(step, Judged) and step.verdict == verdict and step.reason == "why"


def test_a_disturbed_run_is_repeated_once_and_then_says_so() -> None:
    job = measurement(
        job="j",
        role=Role.CANDIDATE,
        commit="c1",
        seed=SEED[0],
        number=1,
        outcome="scored",
        val_bpb=1.7,
        disturbed="it slept",
    )
    assert todo(state(proposed(1), [job])) == [("candidate", "c1", 0)]
    found = state(proposed(1), [job, job])
    step = assess(found, found.experiments[1], 0.01)
    assert isinstance(step, Judged) and step.verdict == Verdict.DISTURBED


def kept(number: int) -> list[AnyEvent]:
    return [ev.Judged(number=number, verdict=Verdict.KEEP, finding="f", gain=0.1, commit=f"k{number}")]


def test_a_stale_winner_is_applied_again_and_a_stale_loser_dropped() -> None:
    first = [*proposed(1), *scored("c1", 1.5, number=1), *scored("fit", 1.6, 1, "best"), *kept(1)]
    confirmed = [*scored("c2", 1.55, number=2), *scored("c2", 1.55, 1, "confirm", 2)]
    found = state(proposed(2), first, confirmed)
    assert assess(found, found.open[2], 0.01) == Rebase(2)
    found = state(proposed(2), first, scored("c2", 1.7, number=2))
    lost = assess(found, found.open[2], 0.01)
    assert isinstance(lost, Judged) and lost.verdict is Verdict.DISCARD
    found = state(proposed(2), first)
    assert isinstance(assess(found, found.experiments[2], 0.01), Rebase), "never trained on what is no longer the best"


def test_the_best_is_measured_again_every_eight_scored_experiments() -> None:
    losers = [
        [*proposed(n), *scored(f"c{n}", 1.7, number=n), ev.Judged(number=n, verdict=Verdict.DISCARD, finding="f")]
        for n in range(1, 9)
    ]
    assert todo(state(*losers[:7])) == []
    assert todo(state(*losers)) == [("best", "fit", 1)]
    assert todo(state(*losers, scored("fit", 1.61, 1, "best"))) == []


def test_noise_comes_from_repeats_of_the_best_and_from_pairs() -> None:
    found = state(scored("fit", 1.62, 1, "best"))
    assert noise(found) == Noise.estimate(0.01, [1.6, 1.62]) and noise(state()) == Noise(0.01)
    both = [*proposed(1), *scored("c1", 1.59, number=1), *scored("c1", 1.58, 1, number=1)]
    family = ({0: 1.6, 1: 1.62}, [{0: 1.59, 1: 1.58}])
    assert noise(state(scored("fit", 1.62, 1, "best"), both)) == Noise.estimate(0.01, [1.6, 1.62], [family])
    again = [
        ev.Judged(number=1, verdict=Verdict.INTERRUPTED, finding="f"),
        ev.Proposed(
            number=2, commit="c1", parent="fit", fingerprint="p1", hypothesis="h", agent="a", charter="s", retry_of=1
        ),
    ]
    assert noise(state(scored("fit", 1.62, 1, "best"), both, again)).pairs == 1, "one change under two numbers"
    assert best_confirmed(found) == (1.6 + 1.62) / 2


def test_proposals_made_under_another_program_md_are_looked_at_before_they_run() -> None:
    changed = [ev.Charter(sha="s"), ev.Charter(sha="new")]
    running = [ev.Launched(job="j", role=Role.CANDIDATE, commit="c1", seed=SEED[0], slot=0, number=1)]
    found = state(proposed(1), proposed(2), running)
    assert [e.number for e in to_recheck(fold(changed, found))] == [2], "what runs already goes on"
    assert not list(to_recheck(fold([ev.Charter(sha="s")], found)))


def launched(number: int) -> ev.Launched:
    return ev.Launched(job=f"j{number}", role=Role.CANDIDATE, commit=f"c{number}", seed=SEED[0], slot=0, number=number)


@pytest.mark.parametrize("verdict", Verdict)
def test_a_change_counts_as_tried_by_its_verdict(verdict: Verdict) -> None:
    judged = ev.Judged(number=1, verdict=verdict, finding="f")
    after = tried_changes(state([ev.Charter(sha="s")], proposed(1), [launched(1), judged]), {"fit"})
    comes_again = verdict in (Verdict.INTERRUPTED, Verdict.DISTURBED, Verdict.CONFLICT)
    assert after == ({} if comes_again else {"p1": 1})


def test_a_change_counts_as_tried_on_its_own_parent_while_it_waits_or_runs() -> None:
    found = state(proposed(1), proposed(2), [launched(2)])
    assert tried_changes(found, {"fit"}) == {"p1": 1, "p2": 2}
    assert tried_changes(found, {"other"}) == {}


def test_a_change_that_broke_a_rule_of_an_older_program_md_may_come_again() -> None:
    broke = [ev.Judged(number=1, verdict=Verdict.INVALID, finding="f")]
    assert tried_changes(state([ev.Charter(sha="s")], proposed(1), broke), {"fit"}) == {}, "it was never trained"
    found = state([ev.Charter(sha="s")], proposed(1), [launched(1), *broke])
    assert tried_changes(found, {"fit"}) == {"p1": 1}
    assert tried_changes(fold([ev.Charter(sha="new")], found), {"fit"}) == {}


def test_a_change_that_is_disturbed_each_time_does_not_come_for_ever() -> None:
    found = state()
    for number in (1, 2, 3):
        assert tried_changes(found, {"fit"}) == {}
        again = replace(proposed(number)[0], fingerprint="p")
        found = fold([again, launched(number), ev.Judged(number=number, verdict=Verdict.DISTURBED, finding="f")], found)
    assert tried_changes(found, {"fit"}) == {"p": 3}


@pytest.mark.parametrize(
    ("device", "others", "blamed"), [("cuda", 2 << 30, False), ("cuda", 0, True), ("cpu", 2 << 30, True)]
)
def test_memory_that_another_process_took_is_not_blamed_on_the_idea(device: str, others: int, blamed: bool) -> None:
    found = state(proposed(1))
    assert found.config is not None
    found.config = replace(found.config, device=device)
    result = Result(
        job="j",
        outcome=Outcome.CRASH,
        crash=CrashClass.OUT_OF_MEMORY,
        reason="CUDA out of memory",
        other_gpu_bytes=others,
    )
    event = jobs.event(found, Charter(), Work(Role.CANDIDATE, "c1", SEED[0], 1), result)
    assert bool(event.disturbed) is not blamed
    apply(found, event)
    assert (found.experiments[1].failure is not None) is blamed
    assert isinstance(assess(found, found.experiments[1], 0.01), Judged if blamed else Work), "it runs again"


def test_work_is_plain_data() -> None:
    assert Work(Role.INCUMBENT, "fit", 3) == Work(Role.INCUMBENT, "fit", 3, None)


@pytest.mark.parametrize(
    ("role", "binds"), [("baseline", False), ("candidate", True), ("confirm", True), ("best", False), ("rerun", False)]
)
def test_limits_bind_what_is_proposed_and_no_yardstick(role: Role, binds: bool, tmp_path: Path) -> None:
    """A best that is larger than a later program.md allows still measures what is smaller."""
    found, limits = state(proposed(1)), Charter(max_params=10, max_memory_gb=1.0)
    work = Work(Role(role), "c1", SEED[0], 1)
    job = jobs.job(found, PROFILES["cpu"], limits, work, "j", tmp_path / "00001" / "j", 64 << 30)
    assert (job.max_params == 10) is binds and (job.memory_limit == 10**9) is binds
    large = Result(job="j", outcome=Outcome.SCORED, val_bpb=1.0, peak_memory=2 * 10**9)
    assert (jobs.event(found, limits, work, large).result.outcome == "invalid") is binds


def test_the_memory_of_the_loops_machine_does_not_limit_other_machines(tmp_path: Path) -> None:
    found, work = state(proposed(1)), Work(Role.CANDIDATE, "c1", SEED[0], 1)
    assert found.config is not None
    found.config = replace(found.config, executor="ray", ray_address="auto", slots=8)
    for limits, expected in ((Charter(), None), (Charter(max_memory_gb=100.0), 100 * 10**9)):
        job = jobs.job(found, PROFILES["cpu"], limits, work, "j", tmp_path / "00001" / "j", 16 << 30)
        assert job.memory_limit == expected
    found.config = replace(found.config, ray_address="")
    job = jobs.job(found, PROFILES["cpu"], Charter(), work, "j", tmp_path / "00001" / "j", 16 << 30)
    assert job.memory_limit == int((16 << 30) * 0.8 / 8)


def test_the_train_py_that_a_run_begins_with_keeps_the_limits(tmp_path: Path) -> None:
    found, work = state(baseline=False), Work(Role.BASELINE, "fit", SEED[0])
    limits = Charter(max_params=10)
    assert jobs.job(found, PROFILES["cpu"], limits, work, "j", tmp_path / "0" / "j", 64 << 30).max_params == 10


def test_what_is_free_before_the_clock_of_a_gpu_follows_from_the_baseline(tmp_path: Path) -> None:
    """The profile's minutes of warm-up could be used for training by whoever compiles nothing."""
    profile = PROFILES["gpu-24"]
    gpu = replace(CONFIG, device="cuda", profile=profile.name)
    first = scored("fit", 1.6, role=Role.BASELINE)
    begin: list[AnyEvent] = [
        ev.Created(v=ev.SCHEMA, config=gpu),
        ev.StartCommit(commit="fit", source_hash="h", nodes=500),
        first[0],
    ]

    def free(*events: AnyEvent) -> tuple[float, float]:
        work = Work(Role.CANDIDATE, "c1", 1, 1) if events else Work(Role.BASELINE, "fit", 1)
        job = jobs.job(fold([*begin, *events]), profile, Charter(), work, "j", tmp_path / "1" / "j", 1 << 34)
        return job.setup_s, job.warmup_s

    assert free() == (profile.setup_s, profile.warmup_s)
    assert sum(free(set_up_in(first[1], 40.0))) == 1.5 * 40 + 15
    assert sum(free(set_up_in(first[1], 2.0))) == profile.setup_s  # never less than for importing
    assert sum(free(set_up_in(first[1], 900.0))) == profile.setup_s + profile.warmup_s
    assert sum(free(first[1])) == profile.setup_s + profile.warmup_s  # a journal that does not tell


def test_compiled_kernels_are_kept_of_the_first_baseline_on_a_gpu_and_given_to_all_later_jobs(tmp_path: Path) -> None:
    profile = PROFILES["gpu-24"]
    gpu = replace(CONFIG, device="cuda", profile=profile.name)
    first = scored("fit", 1.6, role=Role.BASELINE)
    before = [ev.Created(v=ev.SCHEMA, config=gpu), ev.StartCommit(commit="fit", source_hash="h", nodes=500), first[0]]
    out = tmp_path / "1" / "j"
    job = jobs.job(fold(before), profile, Charter(), Work(Role.BASELINE, "fit", 1), "j", out, 1 << 34)
    assert job.keep_compiled and job.compiled is None
    gpu = replace(gpu, own_code=False)  # an agent's: its cache could hold weights
    job = jobs.job(
        fold([ev.Created(v=ev.SCHEMA, config=gpu), *before[1:]]),
        profile,
        Charter(),
        Work(Role.BASELINE, "fit", 1),
        "j",
        out,
        1 << 34,
    )
    assert not job.keep_compiled
    (tmp_path / "compiled").mkdir()
    job = jobs.job(fold([*before, first[1]]), profile, Charter(), Work(Role.CANDIDATE, "c1", 1, 1), "j", out, 1 << 34)
    assert not job.keep_compiled and job.compiled == str(tmp_path / "compiled")


def test_memory_that_stays_in_other_hands_disturbs_once_and_then_belongs_to_the_machine() -> None:
    """Such as a model that was loaded after the baseline and stays; else nothing would be judged until the morning."""
    gpu = replace(CONFIG, device="cuda")
    found = fold([
        ev.Created(v=ev.SCHEMA, config=gpu), ev.StartCommit(commit="fit", source_hash="h", nodes=500),
        *scored("fit", 1.6, role=Role.BASELINE), *proposed(1),
    ])  # fmt: skip
    said = []
    for index, others in enumerate((2 << 30, 2 << 30, 4 << 30, 0, 2 << 30)):
        work = Work(Role.CANDIDATE, "c1", SEED[0], 1)
        fold(
            [ev.Launched(job=f"j{index}", role=work.role, commit=work.commit, seed=work.seed, slot=0, number=1)], found
        )
        result = Result(job=f"j{index}", outcome=Outcome.SCORED, val_bpb=1.5, other_gpu_bytes=others)
        event = jobs.event(found, Charter(), work, result)
        fold([event], found)
        said.append(bool(event.disturbed))
    assert said == [True, False, True, False, True]


# -- pairs in time ------------------------------------------------------------------------------------------------------


def under(
    t: float, speed: float | None, commit: str, value: float, role: str, number: int | None = None, index: int = 0
) -> list[AnyEvent]:
    """A score that was measured at a time, on a machine of a speed."""
    launched, measured = scored(commit, value, index, role, number)
    assert isinstance(measured, ev.Measured)
    found = Speed(reference_s=0.01, mean=speed, spread=0.1, busy=1.0, readings=90) if speed is not None else None
    return [
        launched,
        replace(
            measured, t=t, result=replace(measured.result, job=f"{measured.job}{t}", speed=found, total_wall_s=70.0)
        ),
    ]


def pair(first: float, second: float, speeds: tuple[float | None, float | None], gain: float) -> State:
    """A baseline of 1.6 and a candidate, measured at two times."""
    base = under(first, speeds[0], "fit", 1.6, "baseline")
    return state(base, proposed(1), under(second, speeds[1], "c1", 1.6 - gain, "candidate", 1), baseline=False)


@pytest.mark.parametrize(
    ("second", "speeds"), [(100.0, (1.0, 0.7)), (100.0, (0.7, 1.0)), (5000.0, (None, None)), (5000.0, (1.0, None))]
)
@pytest.mark.parametrize("gain", [0.1, 0.0, -0.1])
def test_the_best_is_measured_beside_a_candidate_where_the_two_cannot_be_compared(
    second: float, speeds: tuple[float | None, float | None], gain: float
) -> None:
    found = pair(0.0, second, speeds, gain)
    step = assess(found, found.open[1], 0.01)
    assert step == Work(Role.INCUMBENT, "fit", SEED[0], 1)
    for event in under(
        second + 70, 0.5, "fit", 1.601, "best", 1
    ):  # whatever the machine does now, it is the same moment
        apply(found, event)
    assert found.scores["fit"][SEED[0]] == 1.601
    after = assess(found, found.open[1], 0.01)
    assert isinstance(after, Judged) if gain < 0.1 else after == Work(Role.REPLICATE, "c1", SEED[1], 1)


@pytest.mark.parametrize(("second", "speeds"), [(90_000.0, (1.0, 0.9)), (600.0, (None, None))])
def test_a_pair_that_compares_is_judged(second: float, speeds: tuple[float | None, float | None]) -> None:
    found = pair(0.0, second, speeds, -0.1)
    assert isinstance(assess(found, found.open[1], 0.01), Judged)


def test_the_first_reference_is_the_runs() -> None:
    found = pair(0.0, 100.0, (None, 0.8), 0.0)
    assert found.reference_s == 0.01
    late = under(200.0, 0.7, "c1", 1.6, "confirm", 1, index=1)[1]
    assert isinstance(late, ev.Measured) and late.result.speed is not None
    other = replace(late.result.speed, reference_s=0.02)
    apply(found, replace(late, result=replace(late.result, speed=other)))
    assert found.reference_s == 0.01
    work = Work(Role.CANDIDATE, "c1", SEED[2], 1)
    assert jobs.job(found, PROFILES["cpu"], Charter(), work, "j", Path("a/b/c"), 1 << 34).reference_s == 0.01


def test_a_best_measured_long_after_for_another_candidate_is_not_beside_this_one() -> None:
    found = pair(0.0, 100.0, (1.0, 0.6), 0.1)
    for index in range(10):  # other experiments end in between
        for event in under(200.0 + index, 1.0, f"x{index}", 1.7, "candidate"):
            apply(found, event)
    for event in under(9000.0, 1.0, "fit", 1.6, "best"):
        apply(found, event)
    again = Work(Role.REPLICATE, "c1", SEED[0], 1)
    assert assess(found, found.open[1], 0.01) == again
    for event in under(50.0, 0.7, "c1", 1.5, "confirm", 1):  # the clock on the wall was set back: that does not matter
        apply(found, event)
    assert assess(found, found.open[1], 0.01) == Work(Role.INCUMBENT, "fit", SEED[0], 1)
    for event in under(60.0, 0.4, "fit", 1.6, "best", 1):
        apply(found, event)
    assert assess(found, found.open[1], 0.01) == Work(Role.REPLICATE, "c1", SEED[1], 1)


def test_a_stale_candidate_that_cannot_be_compared_is_applied_again() -> None:
    found = pair(0.0, 100.0, (1.0, 0.6), -0.1)
    more = [*proposed(2), *under(200.0, 0.6, "c2", 1.4, "candidate", 2)]
    for event in [*more, ev.Judged(number=2, verdict=Verdict.KEEP, finding="f", commit="k2")]:
        apply(found, event)
    assert found.incumbent == "k2" and assess(found, found.open[1], 0.01) == Rebase(1)


def test_pairs_that_do_not_compare_say_nothing_of_the_noise() -> None:
    def with_speed(speed: float) -> State:
        theirs = [event for index in (0, 1) for event in under(0.0, 1.0, "fit", 1.6, "best", index=index)]
        ours = [event for index in (0, 1) for event in under(9.0, speed, "c1", 1.5 + index, "candidate", 1, index)]
        return state(theirs, proposed(1), ours)

    assert noise(with_speed(1.0)).pairs == 1 and noise(with_speed(0.5)).pairs == 0


def test_each_node_has_a_reference_of_its_own() -> None:
    """A speed counts relative to the reference of the node on which it was measured."""
    found = pair(0.0, 100.0, (1.0, 1.0), 0.0)
    late = under(200.0, 0.7, "c1", 1.6, "confirm", 1, index=1)[1]
    assert isinstance(late, ev.Measured) and late.result.speed is not None
    there = replace(late.result, speed=replace(late.result.speed, reference_s=0.02))
    apply(found, replace(late, result=there, node="b"))
    assert found.references == {"": 0.01, "b": 0.02} and found.reference_s == 0.01
    assert found.conditions["c1"][SEED[1]].speed == 0.7
    moved = replace(there, job="again", speed=replace(late.result.speed, reference_s=0.03))
    apply(found, replace(late, result=moved, node="b"))
    assert found.conditions["c1"][SEED[1]].speed is None  # of a cache that was deleted
