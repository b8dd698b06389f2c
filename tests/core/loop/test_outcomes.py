"""Every role of a training with every way in which it can end: the verdicts, the tries, and how the night goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import pytest

from core.execution.base import ExecutorFailed
from core.execution.deterministic import World
from core.judging import final_check, policy, schedule
from core.judging.final_check import FIRST, FIRST_LONGER, FinalCheck
from core.judging.schedule import DISTURBED_TRIES, MAX_MACHINE_RETRIES
from core.loop import backoff
from core.loop import loop as main_loop
from core.loop.backoff import HARNESS_TRIES, LOST_TRIES
from core.loop.human_actions import rerun
from core.loop.loop import Loop
from core.machine.project import UsageError
from core.model import Limits, Role
from core.record import events as ev
from core.record.fold import CHECK_TRIES, RERUN_TRIES
from core.record.state import FAILED_SEEDS, FAILED_TRIES, State
from core.run import commands
from core.run.final_report import report
from core.verdicts import Verdict
from nanochat.contract.job import Outcome
from tests.core.loop.night import SOURCE, Night
from tests.core.loop.outcomes import (
    DISTURBED,
    ENDS,
    FAULTS,
    LOST,
    PASSING,
    Choose,
    End,
    Ending,
    check,
    hang,
    key,
    launches,
    results,
    verdict_of,
)  # fmt: skip
from tests.core.loop.test_nights import told, until

GOOD, BAD = "K1 = 1", "K2 = 1"
WORLD = World(effects={GOOD: -0.2, BAD: 0.2}, seeds=0.01, noise=0.002)
GIVEN_UP = {"interrupted": HARNESS_TRIES, "harness": HARNESS_TRIES, "machine": LOST_TRIES}  # trainings until then
MANY = Limits(max_crashes_in_a_row=100)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for what failed are short, and so is the time after which a change is given up."""
    monkeypatch.setattr(backoff, "BACKOFF_S", (0.001, 0.01))
    monkeypatch.setattr(backoff, "HARNESS_GIVEN_UP_S", 0.0)
    monkeypatch.setattr(main_loop, "TICK_S", 0.01)


def of_role(role: Role, end: End, times: int = 1000) -> Choose:
    """The first `times` trainings of everything with this role end like that."""
    return lambda launched, count: end if launched.role is role and count <= times else None


def first_of_role(role: Role, end: End) -> Choose:
    """The first training of the night with this role ends like that."""
    left = [end]
    return lambda launched, count: left.pop() if launched.role is role and left else None


def ideas(count: int) -> list[str]:
    return [f"K{number} = 1" for number in range(1, count + 1)]


def unconfirmed(source: str, seed: int) -> float:
    """Every change looks good on the first seed, and is not on others."""
    return 1.5 if source == SOURCE else 1.47 if seed == policy.seed(1, 0) else 1.53


# -- candidates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("role", [Role.CANDIDATE, Role.REPLICATE])
def test_a_change_that_is_at_fault_is_judged_by_that_and_not_trained_again(
    tmp_path: Path, role: Role, slots: int
) -> None:
    night, names = Night(tmp_path), list(FAULTS)

    def choose(launched: ev.Launched, count: int) -> End | None:
        return FAULTS[names[launched.number - 1]] if launched.role is role and launched.number else None

    executors = [Ending(night, unconfirmed, choose) for _ in range(slots)]
    state = check(night, night.run(ideas(len(names)), unconfirmed, limits=MANY, executors=executors))
    assert {names[e.number - 1]: e.verdict for e in state.experiments.values()} == {n: verdict_of(n) for n in names}
    assert all(f"it ended with {(e.crash or e.verdict).value}" in e.reason for e in state.experiments.values())
    assert Counter(event.number for event in launches(night, role)) == dict.fromkeys(state.experiments, 1)
    assert state.finished and not state.kept and state.crash_streak == len(names)


@pytest.mark.parametrize("role", [Role.CANDIDATE, Role.REPLICATE])
def test_a_change_whose_training_the_machine_spoils_once_is_trained_again(tmp_path: Path, role: Role) -> None:
    night, names = Night(tmp_path), list(PASSING)

    def choose(launched: ev.Launched, count: int) -> End | None:
        of_it = launched.role is role and count == 1 and launched.number
        return PASSING[names[launched.number - 1]] if of_it and launched.number else None

    state = check(night, night.run(ideas(len(names)), unconfirmed, executors=[Ending(night, unconfirmed, choose)]))
    assert {e.verdict for e in state.experiments.values()} == {Verdict.DISCARD} and state.finished
    assert all("not confirmed" in e.reason for e in state.experiments.values())
    assert Counter(event.number for event in launches(night, role)) == dict.fromkeys(state.experiments, 2)


@pytest.mark.parametrize("role", [Role.CANDIDATE, Role.REPLICATE])
def test_a_change_whose_training_the_machine_spoils_each_time_is_given_up(tmp_path: Path, role: Role) -> None:
    night, names = Night(tmp_path), list(PASSING)

    def choose(launched: ev.Launched, count: int) -> End | None:
        return PASSING[names[launched.number - 1]] if launched.role is role and launched.number else None

    state = check(night, night.run(ideas(len(names)), unconfirmed, executors=[Ending(night, unconfirmed, choose)]))
    verdicts = dict.fromkeys(DISTURBED, Verdict.DISTURBED) | dict.fromkeys(LOST, Verdict.CRASH)
    assert {names[e.number - 1]: e.verdict for e in state.experiments.values()} == verdicts and state.finished
    tries = dict.fromkeys(DISTURBED, DISTURBED_TRIES) | GIVEN_UP
    assert Counter(names[(event.number or 0) - 1] for event in launches(night, role)) == tries


# -- baseline and incumbent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAULTS)
def test_a_baseline_that_is_at_fault_ends_the_run_in_words(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path)
    with pytest.raises(UsageError, match=r"The baseline, your own train\.py, could not be measured: it ended with"):
        night.run([GOOD], WORLD, executors=[Ending(night, WORLD, of_role(Role.BASELINE, FAULTS[name]))])
    state = check(night)
    assert state.finished and state.stopped is not None and "baseline" in state.stopped.reason
    assert [event.role for event in launches(night)] == [Role.BASELINE] and state.baseline is None


def test_a_baseline_without_enough_memory_is_made_smaller_until_it_fits(tmp_path: Path) -> None:
    night = Night(tmp_path, source=f"BATCH_SIZE = 8  # rows a step\n{SOURCE}")

    def choose(launched: ev.Launched, count: int) -> End | None:
        source = night.source_of(launched.commit)
        return None if "BATCH_SIZE = 2" in source else FAULTS["crash: out-of-memory"]

    state = check(night, night.run([GOOD], WORLD, executors=[Ending(night, WORLD, choose)]))
    assert len(state.start_commits) == 3 and state.start_commit is not None
    assert state.start_commit.knobs == {"BATCH_SIZE": 2} and state.start_commit.before == {"BATCH_SIZE": 8}
    assert state.kept == [1] and "BATCH_SIZE = 2" in night.source_of(state.incumbent)


@pytest.mark.parametrize("name", PASSING)
def test_a_baseline_that_the_machine_spoils_is_trained_again(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path)
    state = check(
        night, night.run([GOOD], WORLD, executors=[Ending(night, WORLD, of_role(Role.BASELINE, PASSING[name], 1))])
    )
    assert len(launches(night, Role.BASELINE)) == 2 and state.kept == [1] and state.finished


def test_a_baseline_that_is_disturbed_each_time_counts_in_the_end(tmp_path: Path) -> None:
    night = Night(tmp_path)
    choose = of_role(Role.BASELINE, DISTURBED["suspended"])
    state = check(night, night.run([GOOD], WORLD, executors=[Ending(night, WORLD, choose)]))
    baselines = results(night, Role.BASELINE)
    assert [bool(event.disturbed) for event in baselines] == [True] * (MAX_MACHINE_RETRIES - 1) + [False]
    assert "slept" in baselines[-1].disturbance_ignored and state.kept == [1]


@pytest.mark.parametrize("name", LOST)
def test_a_baseline_that_never_comes_to_an_end_ends_the_run_in_words(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path)
    with pytest.raises(UsageError, match=r"The baseline, your own train\.py, could not be measured"):
        night.run([GOOD], WORLD, executors=[Ending(night, WORLD, of_role(Role.BASELINE, LOST[name]))])
    assert check(night).finished and len(launches(night)) == GIVEN_UP[name]


def test_an_incumbent_that_fails_once_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside every verdict, so that each end has its turn."""
    monkeypatch.setattr(schedule, "REMEASURE_EVERY", 1)
    monkeypatch.setattr(schedule, "MAX_INCUMBENT_SEEDS", 100)
    night, left = Night(tmp_path), list(ENDS.values())

    def choose(launched: ev.Launched, count: int) -> End | None:
        return left.pop() if launched.role is Role.INCUMBENT and count == 1 and left else None

    worse = [f"{BAD[:-1]}{number}" for number in range(1, len(ENDS) + 2)]
    world = World(effects={BAD[:-1]: 0.2, "K2 = 0": -0.2}, noise=0.002)
    state = check(night, night.run(worse, world, executors=[Ending(night, world, choose)]))
    assert not left and {e.verdict for e in state.experiments.values()} == {Verdict.DISCARD}
    counts = Counter(key(event) for event in launches(night, Role.INCUMBENT))
    assert sorted(counts.values())[-len(ENDS) :] == [2] * len(ENDS)
    assert state.failures == state.disturbances == {} and state.finished


@pytest.mark.parametrize("name", ["crash: exception", "timeout", "overrun", "invalid", *LOST])
def test_an_incumbent_that_always_fails_costs_the_change_that_needs_it(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path)
    choose = of_role(Role.INCUMBENT, ENDS[name])
    state = check(night, night.run([GOOD, BAD], WORLD, executors=[Ending(night, WORLD, choose)]))
    assert [e.verdict for e in state.experiments.values()] == [Verdict.DISCARD] * 2 and state.finished
    words = f"the best train.py failed {FAILED_TRIES} times on each of {FAILED_SEEDS} seeds"
    assert words in state.experiments[1].reason
    tries = GIVEN_UP.get(name, 1) - 1 + FAILED_TRIES * FAILED_SEEDS
    assert len(launches(night, Role.INCUMBENT)) == tries


@pytest.mark.parametrize("name", DISTURBED)
def test_an_incumbent_that_is_always_disturbed_counts_in_the_end_if_it_has_a_score(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path)
    choose = of_role(Role.INCUMBENT, DISTURBED[name])
    state = check(night, night.run([GOOD], WORLD, executors=[Ending(night, WORLD, choose)]))
    scored = name == "suspended"
    assert state.kept == ([1] if scored else []) and state.finished
    tries = MAX_MACHINE_RETRIES if scored else MAX_MACHINE_RETRIES - 1 + FAILED_TRIES * FAILED_SEEDS
    assert len(launches(night, Role.INCUMBENT)) == tries


# -- reruns -----------------------------------------------------------------------------------------------------------


def wished(night: Night, names: list[str]) -> State:
    """A night of discarded changes, each of which the human wants measured again in the next start."""
    night.run(ideas(len(names)), lambda source, seed: 1.5 + 0.2 * (source != SOURCE))
    active = night.active()
    for number in active.state.experiments:
        rerun(active, number)
    active.journal.close()
    return active.state


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "always"])
@pytest.mark.parametrize("ends", [FAULTS, PASSING], ids=["at fault", "spoilt"])
def test_a_rerun_leaves_the_verdict_however_it_ends(tmp_path: Path, ends: dict[str, End], times: int) -> None:
    night, names = Night(tmp_path), list(ends)
    before = wished(night, names)
    verdicts = {e.number: (e.verdict, e.reason) for e in before.experiments.values()}
    assert set(before.reruns) == set(before.experiments)

    def choose(launched: ev.Launched, count: int) -> End | None:
        return ends[names[(launched.number or 0) - 1]] if launched.role is Role.RERUN and count <= times else None

    state = check(night, night.run([], WORLD, executors=[Ending(night, WORLD, choose)], limits=MANY))
    assert {e.number: (e.verdict, e.reason) for e in state.experiments.values()} == verdicts
    assert not state.reruns and state.finished and state.failures == {} and state.crash_streak == 0
    always = dict.fromkeys(FAULTS, 1) | dict.fromkeys(DISTURBED, RERUN_TRIES) | GIVEN_UP
    tries = {name: always[name] if times > 1 else 1 + (name in PASSING) for name in names}
    assert Counter(names[(event.number or 0) - 1] for event in launches(night, Role.RERUN)) == tries
    scores = {names[e.number - 1]: len(state.scores[e.commit]) for e in state.experiments.values()}
    assert scores == {name: 1 + (times == 1 and name in PASSING) for name in names}


# -- checks on the test split -----------------------------------------------------------------------------------------


def by_seed(state: State, first: int, names: list[str], commit: str, role: Role, times: int) -> Choose:
    """The trainings of one commit end by its seed: each in another way."""
    assert state.config is not None
    named = {policy.seed(state.config.seed, first + index): name for index, name in enumerate(names)}

    def choose(launched: ev.Launched, count: int) -> End | None:
        of_it = launched.role is role and launched.commit == commit and count <= times
        return ENDS.get(named[launched.seed]) if of_it else None

    return choose


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "always"])
@pytest.mark.parametrize("which", ["start", "best"])
def test_a_final_check_leaves_out_the_seeds_on_which_one_of_the_two_has_no_score(
    tmp_path: Path, which: str, times: int
) -> None:
    before = Night(tmp_path).run([GOOD], WORLD)
    commit, names = before.commits[0 if which == "start" else 1], ["scored", *ENDS]
    night = Night(tmp_path, final_seeds=len(names))
    choose = by_seed(before, FIRST, names, commit, Role.FINAL, times)
    state = check(night, night.run([], WORLD, executors=[Ending(night, WORLD, choose)]))
    assert state.finished and state.kept == [1] and state.scores == before.scores, "no verdict depends on it"
    assert state.failures == state.disturbances == {}
    found = final_check.outcome(state, 0.002)
    passing = len(PASSING) if times == 1 else 0
    assert found is not None and found.seeds == 1 + passing and found.holds
    lost = GIVEN_UP | {"harness": 1}  # the commit was given up on the seed before, and had no result since
    always = dict.fromkeys(FAULTS, 1) | dict.fromkeys(DISTURBED, CHECK_TRIES) | lost | {"scored": 1}
    seeds = [policy.seed(1, FIRST + index) for index in range(len(names))]
    tries = Counter(names[seeds.index(e.seed)] for e in launches(night, Role.FINAL) if e.commit == commit)
    assert tries == {name: always[name] if times > 1 else 1 + (name in PASSING) for name in names}
    jobs = state.jobs
    assert night.run([], WORLD).jobs == jobs, "the next start does not try them again"


def test_a_longer_check_leaves_out_the_seeds_on_which_the_best_has_no_score(tmp_path: Path) -> None:
    night, names = Night(tmp_path), ["scored", *FAULTS, *DISTURBED]
    before = night.run([GOOD], WORLD)
    choose = by_seed(before, FIRST_LONGER, names, before.incumbent, Role.LONGER, 1)
    found = longer(night, Ending(night, WORLD, choose), len(names))
    assert found.seeds == 1 + len(DISTURBED) and found.holds
    state = check(night)
    assert state.scores == before.scores and state.failures == {} and Role.FINAL not in state.checks
    jobs = state.jobs
    assert longer(night, Ending(night, WORLD, choose), len(names)) == found and check(night).jobs == jobs


@pytest.mark.parametrize("name", ["crash: exception", *DISTURBED])
def test_a_longer_check_without_a_pair_is_a_sentence(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path)
    before = night.run([GOOD], WORLD)
    choose = by_seed(before, FIRST_LONGER, [name], before.incumbent, Role.LONGER, 1000)
    reasons = {"suspended": "the machine slept for 60 s", "crash: exception": "it ended with exception"}
    for words in (reasons.get(name, "other programs kept the machine busy"), "--seeds N with a larger N"):
        with pytest.raises(UsageError, match=f"could not both be scored on the test split: .*{words}"):
            longer(night, Ending(night, WORLD, choose), 1)
    tries = Counter(event.commit == before.incumbent for event in launches(night, Role.LONGER))
    assert tries[True] == (CHECK_TRIES if name in DISTURBED else 1)
    assert check(night).kept == [1]


@pytest.mark.parametrize("name", LOST)
def test_a_longer_check_that_the_machine_ends_is_continued(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path)
    before = night.run([GOOD], WORLD)
    choose = by_seed(before, FIRST_LONGER, ["scored", name], before.incumbent, Role.LONGER, 1)
    executor = Ending(night, WORLD, choose)
    if name == "interrupted":
        assert longer(night, executor, 2).seeds == 1
    elif name == "machine":
        assert longer(night, executor, 2).seeds == 2, "other machines go on"
    else:
        with pytest.raises(ExecutorFailed):
            longer(night, executor, 2)
        night.clean_up()
    assert longer(night, executor, 2).seeds == 2
    check(night)
    scored = Counter(key(event) for event in results(night, Role.LONGER) if event.scored)
    assert len(scored) == 4 and set(scored.values()) == {1}


def longer(night: Night, executor: Ending, seeds: int) -> FinalCheck:
    active = night.active()
    with contextlib.closing(active.journal):
        return asyncio.run(report(active, [executor], seeds, Role.LONGER))


# -- the human --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.CANDIDATE, Role.REPLICATE, Role.INCUMBENT, Role.RERUN])
def test_an_experiment_can_be_aborted_in_each_of_its_trainings(tmp_path: Path, role: Role) -> None:
    night = Night(tmp_path)
    if role is Role.RERUN:
        wished(night, ["one"])

    async def abort(loop: Loop) -> None:
        await until(lambda: any(launched.role is role for launched in loop.active.state.running.values()))
        await told(loop, commands.Abort(number=1))

    executor = Ending(night, WORLD, first_of_role(role, hang))
    state = check(night, night.run([GOOD, BAD][role is Role.RERUN :], WORLD, meanwhile=abort, executors=[executor]))
    first, second = state.experiments.values()
    if role is Role.RERUN:
        assert first.verdict is Verdict.DISCARD and first.by == "" and not state.reruns
    else:
        assert first.verdict is Verdict.INTERRUPTED and first.by == "human" and first.retry_of is None
    assert second.verdict is Verdict.DISCARD and state.aborted == set() and state.finished
    assert len([event for event in launches(night, role) if event.number == 1]) == 1


class EndingInTurn(Ending):
    """Its trainings do not end at the moment when they are aborted, but one after another."""

    aborts = 0

    async def abort(self) -> None:
        EndingInTurn.aborts += 1
        await asyncio.sleep(0.05 * EndingInTurn.aborts)
        await super().abort()


def test_an_experiment_with_several_trainings_at_once_is_aborted_in_all_of_them(tmp_path: Path) -> None:
    night = Night(tmp_path, slots=9)

    def is_in_batch(job: ev.Launched) -> bool:
        return job.number == 1 and job.role in (Role.REPLICATE, Role.INCUMBENT)

    async def abort(loop: Loop) -> None:
        await until(lambda: len([job for job in loop.active.state.running.values() if is_in_batch(job)]) > 3)
        await told(loop, commands.Abort(number=1))

    world = World(effects={GOOD: -0.02, BAD: 0.2}, noise=0.002)  # such a gain needs more than one further pair
    end = {True: hang, False: None}
    executors = [EndingInTurn(night, world, lambda job, _: end[is_in_batch(job)]) for _ in range(night.slots)]
    state = check(night, night.run([GOOD, BAD], world, meanwhile=abort, executors=executors))
    events = night.events()
    (told_at,) = (at for at, event in enumerate(events) if isinstance(event, ev.Aborted))
    assert not [event for event in events[told_at:] if isinstance(event, ev.Launched) and event.number == 1]
    first, second = state.experiments.values()
    assert first.verdict is Verdict.INTERRUPTED and first.by == "human" and first.retry_of is None
    assert len([event for event in night.events() if isinstance(event, ev.Judged) and event.number == 1]) == 1
    assert second.verdict is Verdict.DISCARD and state.aborted == set() and state.finished


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.LONGER])
def test_a_run_that_is_stopped_at_once_in_any_training_is_continued_to_the_same_verdicts(
    tmp_path: Path, role: Role
) -> None:
    night = Night(tmp_path, final_seeds=1)

    async def stop(loop: Loop) -> None:
        await until(lambda: any(launched.role is role for launched in loop.active.state.running.values()))
        await told(loop, commands.Stop(now=True))

    if role is Role.RERUN:
        night.final_seeds = 0
        wished(night, ["one"])
        night.final_seeds = 1
    executor = Ending(night, WORLD, first_of_role(role, hang))
    state = check(night, night.run([GOOD, BAD][role is Role.RERUN :], WORLD, meanwhile=stop, executors=[executor]))
    (ended,) = (event for event in results(night) if event.result.outcome is Outcome.INTERRUPTED)
    assert ended.role is role
    assert not state.finished
    night.clean_up()
    done = {e.hypothesis for e in state.experiments.values()}
    left = [idea for idea in [GOOD, BAD][role is Role.RERUN :] if f"Set {idea}." not in done]
    state = check(night, night.run(left, WORLD))
    verdicts = {e.hypothesis: e.verdict for e in state.experiments.values() if e.verdict is not Verdict.INTERRUPTED}
    kept = Verdict.DISCARD if role is Role.RERUN else Verdict.KEEP
    assert verdicts == {f"Set {GOOD}.": kept, f"Set {BAD}.": Verdict.DISCARD} and state.finished
    assert len(launches(night, role)) > 1
