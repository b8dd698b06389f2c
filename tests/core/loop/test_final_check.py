"""The final check: when the loop makes it, what it trains, and that no verdict depends on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from core.agents.base import Context
from core.execution.base import ExecutorFailed, Update
from core.execution.deterministic import DeterministicExecutor, Ending, World
from core.judging import final_check, policy
from core.judging.final_check import FIRST, SEEDS, FinalCheck
from core.loop import backoff
from core.loop import loop as main_loop
from core.loop.loop import Loop
from core.model import Limits, Proposal, Role
from core.record import events as ev
from core.record.fold import apply, fold
from core.record.state import Check, State
from core.reporting import log_lines, phrases
from core.run import commands
from core.run.final_report import report
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from tests.core.loop.night import Listed, Night
from tests.core.loop.test_nights import BAD, GOOD, WORLD, told, until, verdicts


def checked(night: Night) -> list[tuple[str, int]]:
    """The trainings of the final check as (commit, seed)."""
    return [
        (event.commit, event.seed)
        for event in night.events()
        if isinstance(event, ev.Measured) and event.role is Role.FINAL and event.result.outcome is Outcome.SCORED
    ]


def logged(night: Night) -> list[str]:
    """The log lines of the final check."""
    state, lines = State(), list[str]()
    for event in night.events():
        apply(state, event)
        if isinstance(event, ev.Measured | ev.Launched) and event.role is Role.FINAL:
            lines.append((log_lines.line(event, state) or "").split("  ", 1)[1])
    return lines


def fresh(state: State, count: int = SEEDS) -> list[int]:
    assert state.config is not None
    return [policy.seed(state.config.seed, FIRST + index) for index in range(count)]


@pytest.mark.parametrize("slots", [1, 2])
def test_at_a_limit_start_and_best_are_measured_on_fresh_seeds(tmp_path: Path, slots: int) -> None:
    night = Night(tmp_path, slots=slots, final_seeds=SEEDS)
    state = night.run([GOOD, BAD, "K3 = 1"], WORLD, limits=Limits(max_experiments=2))
    both = [(commit, seed) for seed in fresh(state) for commit in (state.commits[0], state.incumbent)]
    assert sorted(checked(night)) == sorted(both)
    used = {event.seed for event in night.events() if isinstance(event, ev.Measured) and event.role is not Role.FINAL}
    assert used.isdisjoint(fresh(state)), "seeds that verdicts used"
    found = final_check.outcome(state, 0.002)
    assert found is not None and found.seeds == SEEDS and found.holds and found.change == pytest.approx(-0.2, abs=0.01)
    assert state.finished and verdicts(state) == ["keep", "discard"]


def test_its_scores_are_of_the_test_split_and_touch_no_other_score(tmp_path: Path) -> None:
    splits: dict[str, set[str]] = {}

    class Noting(DeterministicExecutor):
        async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
            splits.setdefault(job.split, set()).add(job.id)
            return await super().run(job, update)

    night = Night(tmp_path, final_seeds=1)
    state = night.run([GOOD], WORLD, executors=[Noting(WORLD)])
    of_role = {event.job: event.role for event in night.events() if isinstance(event, ev.Launched)}
    assert splits["test"] == {job for job, role in of_role.items() if role is Role.FINAL} and len(splits["test"]) == 2
    assert fresh(state, 1)[0] not in {seed for scores in state.scores.values() for seed in scores}


def test_without_a_kept_change_or_when_unwanted_nothing_is_trained(tmp_path: Path) -> None:
    night = Night(tmp_path / "a", final_seeds=SEEDS)
    assert night.run([BAD, "K3 = 1"], WORLD).finished and checked(night) == []
    night = Night(tmp_path / "b", final_seeds=0)
    assert night.run([GOOD], WORLD).kept == [1] and checked(night) == []


def test_a_stop_lets_it_follow_and_a_second_stop_leaves_it_out(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.05, final_seeds=SEEDS)

    async def stop(loop: Loop) -> None:
        state = loop.active.state
        await until(lambda: state.kept)
        await told(loop, commands.Stop())
        await until(lambda: any(launched.role is Role.FINAL for launched in state.running.values()))
        await told(loop, commands.Stop())

    state = night.run([GOOD, *(f"K3 = {i}" for i in range(1, 50))], WORLD, meanwhile=stop)
    assert len(checked(night)) == 1 and not state.finished, "the running training ends, and no other starts"
    state = night.run([], WORLD)
    assert len(checked(night)) == 2 * SEEDS and len(set(checked(night))) == 2 * SEEDS, "what was measured counts"
    assert state.finished


def test_stopping_at_once_skips_the_final_check(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.02, final_seeds=SEEDS)

    async def stop(loop: Loop) -> None:
        await until(lambda: loop.active.state.kept)
        await told(loop, commands.Stop(now=True))

    night.run([GOOD, *(f"K3 = {i}" for i in range(1, 50))], WORLD, meanwhile=stop)
    assert checked(night) == []


def test_an_interrupted_check_is_resumed_by_the_next_start(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.05, final_seeds=SEEDS)

    async def interrupt(loop: Loop) -> None:
        state = loop.active.state
        await until(lambda: any(launched.role is Role.FINAL for launched in state.running.values()))
        loop.stop("stop requested by SIGTERM", now=True)

    state = night.run([GOOD, BAD], WORLD, limits=Limits(max_experiments=1), meanwhile=interrupt)
    assert state.stopped is not None and not state.finished and len(checked(night)) < 2 * SEEDS
    assert state.stopped.reason == "reached --max-experiments 1; the final check was interrupted"
    state = night.run([BAD], WORLD, limits=Limits(max_experiments=1))
    assert state.finished and len(state.experiments) == 1, "the limit still holds"
    assert len(checked(night)) == 2 * SEEDS == len(set(checked(night))), "what was measured counts"
    state = night.run([BAD], WORLD, limits=Limits(max_experiments=2))
    assert state.finished and len(state.experiments) == 2


def test_a_new_best_is_checked_and_the_start_is_not_trained_again(tmp_path: Path) -> None:
    night = Night(tmp_path, final_seeds=SEEDS)
    world = World(effects={GOOD: -0.2, BAD: -0.2}, seeds=0.01, noise=0.002)
    night.run([GOOD], world, limits=Limits(max_experiments=1))
    before = checked(night)
    state = night.run([BAD], world, limits=Limits(max_experiments=2))
    assert state.kept == [1, 2]
    assert sorted(checked(night)[len(before) :]) == sorted((state.incumbent, seed) for seed in fresh(state))


def test_a_best_that_fails_there_is_given_up(tmp_path: Path) -> None:
    night = Night(tmp_path, final_seeds=SEEDS)
    boom = Ending(outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION, reason="boom")
    checks: list[int] = []

    def answer(source: str, seed: int) -> float | Ending:
        state = fold(night.events())
        if seed in fresh(state):
            checks.append(seed)
            return boom if GOOD in source else 1.5
        return WORLD(source, seed)

    state = night.run([GOOD], answer)
    assert state.finished and state.kept == [1] and final_check.outcome(state, 0.002) is None
    assert set(checks) == set(fresh(state)) and len(checks) == 5, (
        "it is tried once on each seed; the second time it is first"
    )
    assert state.failures == {}, "a failure there does not count against the incumbent"
    assert [line for line in logged(night) if "has no score on this seed: crash: boom" in line]
    again = night.run([], answer)
    assert again.finished and len(checks) == 5, "a restart does not try them again"


def test_the_journal_of_an_earlier_version_counts_too(tmp_path: Path) -> None:
    night = Night(tmp_path)
    state = night.run([GOOD], WORLD)
    reported = ev.Reported(commit=state.incumbent, seed=fresh(state)[0], baseline=1.5, best=1.45)
    state = fold([*night.events(), reported])
    found = final_check.outcome(state, 0.01)
    assert found is not None and (found.seeds, found.error) == (1, pytest.approx(0.01 * 2**0.5))
    assert next(final_check.next_work(state, 2)).seed == fresh(state, 2)[1]
    assert final_check.outcome(fold(night.events()), 0.01) is None


def test_pairs_that_scatter_more_than_the_noise_widen_the_error(tmp_path: Path) -> None:
    state = Night(tmp_path).run([GOOD], WORLD)
    changes = dict(zip(fresh(state), (-0.03, -0.01, 0.01), strict=True))
    state.checks[Role.FINAL] = Check(
        scores={
            state.commits[0]: dict.fromkeys(changes, 1.5),
            state.incumbent: {seed: 1.5 + change for seed, change in changes.items()},
        }
    )
    found = final_check.outcome(state, 0.001)
    assert found is not None and found.error == pytest.approx(0.02 / 3**0.5) and not found.holds
    assert final_check.outcome(state, 0.1).error == pytest.approx(0.1 * (2 / 3) ** 0.5)


def test_the_log_tells_each_training_and_the_outcome_after_each_pair(tmp_path: Path) -> None:
    night = Night(tmp_path, final_seeds=2)
    night.run([GOOD], WORLD)
    lines = logged(night)
    told = [line for line in lines if "to be scored" not in line]
    assert [("the start" in line, "Measured afresh on" in line) for line in told] == [
        (True, False), (False, True), (False, False), (True, True)
    ]  # fmt: skip
    assert "on 1 fresh seed and" in told[1] and "on 2 fresh seeds and" in told[3] and len(lines) == 8


def test_a_harness_that_fails_for_a_moment_does_not_cost_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BACKOFF_S", (0.01, 0.05))
    failed: list[str] = []

    class Failing(DeterministicExecutor):
        async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
            if job.split == "test" and len(failed) < 2:
                failed.append(job.id)
                raise ExecutorFailed("The harness is gone for a moment.")
            return await super().run(job, update)

    night = Night(tmp_path, final_seeds=1)
    state = night.run([GOOD], WORLD, executors=[Failing(WORLD)])
    assert len(failed) == 2 and len(checked(night)) == 2 and state.finished


def test_the_check_cannot_be_paused(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.05, final_seeds=SEEDS)

    async def pause(loop: Loop) -> None:
        state = loop.active.state
        await until(lambda: any(launched.role is Role.FINAL for launched in state.running.values()))
        reply = await asyncio.to_thread(commands.send, loop.active.folder, commands.Pause())
        assert not reply.ok and "cannot be paused" in reply.words

    night.run([GOOD], WORLD, meanwhile=pause)
    assert len(checked(night)) == 2 * SEEDS


def test_a_stop_of_a_paused_run_lets_the_check_follow(tmp_path: Path) -> None:
    night = Night(tmp_path, final_seeds=SEEDS)

    async def pause_and_stop(loop: Loop) -> None:
        state = loop.active.state
        await until(lambda: state.kept)
        await told(loop, commands.Pause())
        await until(lambda: not state.running)
        await told(loop, commands.Stop())

    state = night.run([GOOD, *(f"K3 = {i}" for i in range(1, 50))], WORLD, meanwhile=pause_and_stop)
    assert state.paused and len(checked(night)) == 2 * SEEDS


@pytest.mark.parametrize("patient", [True, False])
def test_the_check_waits_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient: bool) -> None:
    night, full = Night(tmp_path, final_seeds=SEEDS), [""]
    monkeypatch.setattr(main_loop, "TICK_S", 0.01)
    monkeypatch.setattr(main_loop, "disk_full", lambda folder: full[0])

    def fill(event: ev.AnyEvent, state: State) -> None:
        if isinstance(event, ev.Judged) and state.kept:
            full[0] = "the disk is full"

    async def free_or_stop(loop: Loop) -> None:
        state = loop.active.state
        await until(lambda: state.paused and not state.running)
        if patient:
            await asyncio.sleep(0.2)  # it would end meanwhile
            full[0] = ""
        else:
            await told(loop, commands.Stop(now=True))

    night.report = fill
    state = night.run([GOOD, BAD], WORLD, limits=Limits(max_experiments=1), meanwhile=free_or_stop)
    assert state.finished is patient and (len(checked(night)) == 2 * SEEDS) is patient


def test_scores_of_another_day_at_another_speed_form_no_pair(tmp_path: Path) -> None:
    """The start was checked while the machine was fast; the best of today is not compared with that."""
    night = Night(tmp_path, final_seeds=1)
    state = night.run([GOOD], WORLD)
    start, seed = state.commits[0], fresh(state, 1)[0]
    conditions = state.check(Role.FINAL).conditions
    slow, fast = (replace(conditions[start][seed], speed=speed) for speed in (0.7, 1.0))
    conditions[start][seed], conditions[state.incumbent][seed] = fast, replace(slow, turn=99)
    assert final_check.outcome(state, 0.002) is None
    (work,) = final_check.next_work(state, 1)
    assert (work.commit, work.seed) == (start, seed), "the earlier one is trained again"
    conditions[start][seed] = slow
    assert list(final_check.next_work(state, 1)) == [] and final_check.outcome(state, 0.002) is not None


def test_the_longer_check_has_three_times_the_budget_and_seeds_of_its_own(tmp_path: Path) -> None:
    budgets: list[tuple[str, float]] = []

    class Noting(DeterministicExecutor):
        async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
            budgets.append((job.split, job.budget_s))
            return await super().run(job, update)

    night = Night(tmp_path, final_seeds=1)
    state = night.run([GOOD], WORLD)
    assert state.config is not None
    active = night.active()
    with contextlib.closing(active.journal):
        found = asyncio.run(report(active, [Noting(WORLD)], 3, Role.LONGER))
        assert budgets == [("test", 3 * state.config.budget_s)] * 6 and found.seeds == 3 and found.holds
        assert asyncio.run(report(active, [Noting(WORLD)], 2, Role.LONGER)) == found and len(budgets) == 6, (
            "nothing twice"
        )
        told = phrases.checks(active.state, 0.002)
    state = fold(night.events())
    assert set(state.check(Role.LONGER).scores[state.incumbent]).isdisjoint(
        state.check(Role.FINAL).scores[state.incumbent]
    )
    assert final_check.outcome(state, 0.002) == final_check.outcome(active.state, 0.002), "the final check is as before"
    assert told[0].startswith("Measured afresh on 1 fresh seed ")
    assert told[1].startswith("With 3 times the budget (") and told[1].endswith(
        "The gain holds with the longer budget."
    )


@pytest.mark.parametrize(
    ("best", "words"),
    [(1.5, "The gain holds with"), (1.59, "the gain is not certain: 0.0200 was needed"), (1.7, "worse than the start")],
)
def test_the_longer_check_says_whether_the_gain_is_bound_to_the_budget(best: float, words: str, tmp_path: Path) -> None:
    state = Night(tmp_path).run([GOOD], WORLD)
    assert words in phrases.longer_result(FinalCheck(start=1.6, best=best, error=0.01, seeds=3), state)


def test_an_agent_that_needs_the_gpu_gives_way_to_the_check(tmp_path: Path) -> None:
    """It is still thinking about a proposal that nobody will try."""

    class Thinking(Listed):
        exclusive = True
        gave_way = False

        async def propose(self, context: Context) -> Proposal:
            if self.ideas:
                return await super().propose(context)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.gave_way = True
                raise
            raise AssertionError("nothing wakes it")

    async def stop(loop: Loop) -> None:
        await until(lambda: loop.active.state.kept and loop._asking.task is not None)
        await told(loop, commands.Stop())

    night, agent = Night(tmp_path, final_seeds=1), Thinking([GOOD, BAD, "K3 = 1"])  # as many as are asked for at once
    state = asyncio.run(night._run(agent, WORLD, Limits(), stop, None))
    assert (
        agent.gave_way and agent.released and len(checked(night)) == 2 and final_check.outcome(state, 0.002) is not None
    )
