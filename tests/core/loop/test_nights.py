"""What the loop does in every situation: real git and a real journal, trainings that are computed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import pytest

from core.agents.base import AgentFailed, Context, OpenExperiment
from core.execution.base import Update
from core.execution.deterministic import DeterministicExecutor, Ending, World
from core.judging.policy import MAX_PAIRS
from core.loop import backoff
from core.loop.loop import Loop
from core.model import Limits, Proposal, Role
from core.record import events as ev
from core.record import hints
from core.record.fold import fold
from core.record.state import State
from core.run import commands
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from tests.core.loop.night import SOURCE, Idea, Listed, Night, changed

GOOD, BAD = "K1 = 1", "K2 = 1"
WORLD = World(effects={GOOD: -0.2, BAD: 0.2}, seeds=0.01, noise=0.002)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for what failed are short."""
    monkeypatch.setattr(backoff, "BACKOFF_S", (0.01, 0.05))


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path)
    yield made
    if made.folder.exists():  # the journal alone says how the run stands
        assert fold(made.events()).experiments.keys() == {e.number for e in fold(made.events()).experiments.values()}


def verdicts(state: State) -> list[str]:
    return [e.verdict.value if e.verdict else "open" for e in state.experiments.values()]


def seeds_of(night: Night, commit: str) -> set[int]:
    return {event.seed for event in night.events() if isinstance(event, ev.Measured) and event.commit == commit}


# -- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_gain_is_kept_a_loss_is_not_and_what_changes_nothing_is_neither(night: Night) -> None:
    state = night.run([GOOD, BAD, "K3 = 1"], WORLD)
    assert verdicts(state) == ["keep", "discard", "discard"]
    assert "worse" in state.experiments[2].reason and "worse" not in state.experiments[3].reason.split(":")[0]
    assert GOOD in night.active().source(state.incumbent) and state.stopped is not None and state.stopped.finished


def test_the_branch_holds_the_start_and_exactly_what_was_kept(night: Night) -> None:
    state = night.run([GOOD, BAD, "K4 = 1"], World(effects={GOOD: -0.2, BAD: 0.2, "K4 = 1": -0.2}, noise=0.002))
    active = night.active()
    assert verdicts(state) == ["keep", "discard", "keep"] and len(state.commits) == 3
    assert active.repo.refs.commits("night")[active.repo.refs.branch("night")] == state.commits[-1]
    assert active.source(state.incumbent) == changed(changed(SOURCE, GOOD), "K4 = 1")


def test_a_gain_that_does_not_hold_is_not_confirmed(night: Night) -> None:
    lucky = iter((1.40, *[1.52] * 20))
    state = night.run([GOOD], lambda source, seed: next(lucky) if GOOD in source else 1.5)
    assert verdicts(state) == ["discard"] and state.experiments[1].reason.startswith("not confirmed")
    assert 2 <= state.experiments[1].pairs <= MAX_PAIRS


def test_every_pair_is_on_one_seed(night: Night) -> None:
    state = night.run([GOOD, "K3 = 1", "K4 = 1"], WORLD)
    start = state.commits[0]
    for experiment in state.experiments.values():
        if experiment.parent == start:
            assert seeds_of(night, experiment.attempts[0]) <= seeds_of(night, start)


# -- agents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (AgentFailed("The model is gone."), "The model is gone."),
        (RuntimeError("a bug"), "failed: RuntimeError: a bug"),
        (SystemExit(3), "failed: SystemExit: 3"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_an_agent_that_fails_is_asked_again(night: Night, trouble: BaseException, words: str) -> None:
    state = night.run([trouble, GOOD, trouble], WORLD)
    refused = [event for event in night.events() if isinstance(event, ev.Refused)]
    assert verdicts(state) == ["keep"] and len(refused) == 2 and all(words in event.reason for event in refused)


def test_an_agent_that_is_away_for_long_is_recorded_as_a_stall_once(night: Night) -> None:
    async def until_told(loop: Loop) -> None:
        told, before = asyncio.Event(), loop.active.report

        def report(event: ev.AnyEvent, state: State) -> None:
            before(event, state)
            if isinstance(event, ev.Notice) and event.stalled:
                told.set()

        loop.active.report = report
        await told.wait()
        loop.stop("the test has seen enough", now=True)

    night.run([GOOD, AgentFailed("The limit is reached.", wait_s=2 * backoff.STALLED_S)], WORLD, meanwhile=until_told)
    (told,) = [event.text for event in night.events() if isinstance(event, ev.Notice)]
    assert told.startswith(
        "No agent has proposed anything for a long time. The limit is reached. The agent is asked again at "
    )


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("def train(:", "crash"),
        (SOURCE, "invalid"),
        ("x = 1\n", "crash"),
    ],
)
def test_a_proposal_that_is_refused_three_times_is_recorded_and_never_trained(
    night: Night, source: str, verdict: str
) -> None:
    bad: list[Idea] = [Proposal(hypothesis="Bad.", source=source)] * 3
    state = night.run([*bad, GOOD], WORLD)
    assert verdicts(state) == [verdict, "keep"] and not state.experiments[1].launched


def test_the_same_change_is_not_trained_twice(night: Night) -> None:
    state = night.run(["K3 = 1", "K3 = 1", "K3 = 1", "K3 = 1"], WORLD)
    assert verdicts(state) == ["discard", "invalid"] and "tried before" in state.experiments[2].reason


# -- several slots -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [2, 4])
def test_several_slots_judge_the_same(tmp_path: Path, slots: int) -> None:
    good = [f"K{i} = 1" for i in (1, 4, 7)]
    world = World(effects={idea: -0.2 for idea in good} | {BAD: 0.2}, noise=0.002)
    night = Night(tmp_path, slots=slots, seconds=0.02)
    state = night.run([good[0], BAD, good[1], "K3 = 1", good[2]], world)
    assert [e.verdict for e in state.experiments.values()] == [
        Verdict.KEEP, Verdict.DISCARD, Verdict.KEEP, Verdict.DISCARD, Verdict.KEEP,
    ]  # fmt: skip
    best = night.active().source(state.incumbent)
    assert all(idea in best for idea in good) and BAD not in best


def test_with_many_slots_a_likely_gain_is_measured_on_several_seeds_at_once(tmp_path: Path) -> None:
    most, noisy = 0, World(effects={GOOD: -0.02, BAD: 0.2}, noise=0.005)

    def watch(event: ev.AnyEvent, state: State) -> None:
        nonlocal most
        most = max(most, sum(job.role is Role.REPLICATE for job in state.jobs_of(1)))

    night = Night(tmp_path, slots=9, seconds=0.02, report=watch)
    state = night.run([GOOD, BAD], noisy)
    assert verdicts(state) == ["keep", "discard"] and most > 1
    trained = [(event.commit, event.seed) for event in night.events() if isinstance(event, ev.Launched)]
    assert len(set(trained)) == len(trained), "nothing is measured twice"


class Watching(Listed):
    """Notes what each proposal is told of the experiments without a verdict."""

    def __init__(self, ideas: Iterable[Idea]) -> None:
        super().__init__(ideas)
        self.open: list[OpenExperiment] = []

    async def propose(self, context: Context) -> Proposal:
        self.open += context.open
        assert not {one.number for one in context.open} & {one.number for one in context.past}
        return await super().propose(context)


def test_an_agent_is_told_what_other_slots_work_on(tmp_path: Path) -> None:
    night = Night(tmp_path, slots=2, seconds=0.05)
    agent = Watching([GOOD, *(f"K{k} = 1" for k in range(3, 9))])
    night.run_agent(agent, World(effects={GOOD: -0.02}, noise=0.002), Limits())
    first = [one for one in agent.open if one.number == 1]
    name, _, value = GOOD.split()
    assert first[0].proposal.hypothesis == f"Set {GOOD}." and first[0].constants == {name: (0, int(value))}
    assert first[0].gain is None and first[-1].gain == pytest.approx(0.02, abs=0.01), "once it has a pair"
    assert first[-1].error > 0 and len(first[-1].seeds) > 0


class LongAfterFirst(DeterministicExecutor):
    """The first job ends at once, and no other."""

    async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
        result = await super().run(job, update)
        self._seconds = 600.0
        return result


def test_free_slots_are_filled_without_waiting_for_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.loop.loop.TICK_S", 600.0)

    async def stop_when_full(loop: Loop) -> None:
        while len(loop.active.state.running) < 4:  # noqa: ASYNC110  the loop fills it
            await asyncio.sleep(0.01)
        loop.stop("all slots are busy", now=True)

    night = Night(tmp_path, slots=4)
    executors = [LongAfterFirst(WORLD), *(DeterministicExecutor(WORLD, 600.0) for _ in range(3))]
    state = night.run([f"K{i} = 1" for i in range(1, 6)], WORLD, meanwhile=stop_when_full, executors=executors)
    assert state.stopped is not None and state.stopped.reason == "all slots are busy"


# -- limits, ends, and going on ---------------------------------------------------------------------------------------


def test_a_limit_of_experiments_is_exact(night: Night) -> None:
    state = night.run([GOOD, BAD, "K3 = 1", "K4 = 1"], WORLD, limits=Limits(max_experiments=2))
    assert len(state.experiments) == 2 and state.finished


def test_a_limit_of_hours_ends_the_run(night: Night) -> None:
    state = night.run([f"K3 = {i}" for i in range(1, 500)], WORLD, limits=Limits(max_hours=0.5 / 3600))
    assert state.finished and state.stopped is not None and "hours" in state.stopped.reason


def test_too_many_crashes_in_a_row_stop_the_loop_for_now(night: Night) -> None:
    world = World(endings={"K3 = ": Ending(outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION, reason="boom")})

    def answer(source: str, seed: int) -> float | Ending:
        return world(source, seed) if "K3 = 0" not in source else 1.5

    state = night.run([f"K3 = {i}" for i in range(1, 9)], answer, limits=Limits(max_crashes_in_a_row=3))
    assert len(state.experiments) in (3, 4) and state.stopped is not None and not state.finished


def test_a_hint_that_search_cannot_use_is_listed_as_not_used(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.05)

    async def hint(loop: Loop) -> None:
        await told(loop, commands.Tell(text="leave K4 alone"), commands.Tell(text="make it better"), commands.Stop())

    state = night.run([f"K3 = {i}" for i in range(1, 50)], WORLD, meanwhile=hint, agent="search")
    used, unused = state.all_hints
    assert not used.unused and unused.unused.startswith("it knows forms such as")
    assert "(not used by search: it knows forms" in hints.line(unused) and "not used" not in hints.line(used)


async def told(loop: Loop, *commands_: commands.Command) -> None:
    await until(lambda: (loop.active.folder / commands.ADDRESS).exists())
    for command in commands_:
        reply = await asyncio.to_thread(commands.send, loop.active.folder, command)
        assert reply.ok, reply.words


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  the journal is what is waited for
            await asyncio.sleep(0.005)


def test_stopped_at_once_and_continued_loses_nothing(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.05)

    async def stop(loop: Loop) -> None:
        await until(lambda: any(launched.number == 1 for launched in loop.active.state.running.values()))
        await told(loop, commands.Stop(now=True))

    state = night.run([GOOD, BAD], WORLD, meanwhile=stop)
    assert verdicts(state)[0] == "open" or verdicts(state)[0] == "interrupted"
    state = night.run([BAD, "K3 = 1"], WORLD)
    assert "keep" in verdicts(state) and GOOD in night.active().source(state.incumbent)
    kept = next(e for e in state.experiments.values() if e.verdict is Verdict.KEEP)
    assert kept.hypothesis == f"Set {GOOD}."


def test_files_of_a_job_that_was_never_recorded_do_not_matter(night: Night) -> None:
    night.active().journal.close()
    left = [
        night.folder / folder / job / "metrics.jsonl" for folder, job in (("00000", "j000001"), ("00001", "j000002"))
    ]
    for path in left:
        path.parent.mkdir(parents=True)
        path.write_text("half a li")
    assert verdicts(night.run([BAD], WORLD)) == ["discard"]
    assert all(path.parent.exists() and not path.exists() for path in left)


@pytest.mark.parametrize("moment", ["baseline", "candidate", "between"])
def test_a_pause_at_any_moment_holds_until_it_is_taken_back(tmp_path: Path, moment: str) -> None:
    night = Night(tmp_path, seconds=0.03)

    async def pause(loop: Loop) -> None:
        state = loop.active.state
        if moment == "candidate":
            await until(lambda: any(launched.number == 1 for launched in state.running.values()))
        elif moment == "between":
            await until(lambda: state.judged == 1)
        await told(loop, commands.Pause())
        await until(lambda: not state.busy)
        judged = state.judged
        await asyncio.sleep(0.1)
        assert state.judged <= judged + 1 and not state.running
        await told(loop, commands.Resume())

    state = night.run([GOOD, BAD, "K3 = 1"], WORLD, meanwhile=pause)
    assert verdicts(state) == ["keep", "discard", "discard"]


def test_an_aborted_experiment_is_skipped_and_the_night_goes_on(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.05)

    async def abort(loop: Loop) -> None:
        await until(lambda: any(launched.number == 1 for launched in loop.active.state.running.values()))
        await told(loop, commands.Abort(number=1))

    state = night.run([GOOD, BAD], WORLD, meanwhile=abort)
    assert state.experiments[1].verdict not in (None, Verdict.KEEP) and verdicts(state)[1] == "discard"


def test_an_experiment_of_the_humans_own_is_trained_and_judged_like_any(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.05)

    async def own(loop: Loop) -> None:
        await until(lambda: loop.active.state.running)
        parent = loop.active.state.incumbent
        mine = changed(loop.active.source(parent), "K9 = 1")
        await told(loop, commands.Own(parent=parent, source=mine, hypothesis="Mine."))

    world = World(effects={"K9 = 1": -0.2}, noise=0.002)
    state = night.run(["K3 = 1"], world, meanwhile=own)
    mine = next(e for e in state.experiments.values() if e.agent == "human")
    assert mine.verdict is Verdict.KEEP and "K9 = 1" in night.active().source(state.incumbent)


def test_a_wished_rerun_measures_on_a_new_seed_and_leaves_the_verdict(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.02)

    async def rerun(loop: Loop) -> None:
        await until(lambda: loop.active.state.judged >= 1)
        await told(loop, commands.Rerun(number=1))

    state = night.run([BAD, "K3 = 1", "K4 = 1"], WORLD, meanwhile=rerun)
    assert state.experiments[1].verdict is Verdict.DISCARD and state.reruns == {}
    assert len(seeds_of(night, state.experiments[1].commit)) == 2
