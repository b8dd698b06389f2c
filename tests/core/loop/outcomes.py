"""All ways in which a training can end, and an executor whose trainings end like that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from msgspec.structs import replace

from core.execution.base import ExecutorFailed, MachineLost, Update
from core.execution.deterministic import DeterministicExecutor
from core.git.refs import wanted_refs
from core.model import Role
from core.record import events as ev
from core.record.fold import fold
from core.record.state import State
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from tests.core.loop.night import Answer, Night

End = Callable[[Result], Result]  # makes another result of one with a score, or raises
Choose = Callable[[ev.Launched, int], End | None]  # how the n-th training of this work ends; None: with its score

HANG_S = 600.0  # how long a training takes that somebody has to end


def _failed(outcome: Outcome, crash: CrashClass | None = None) -> End:
    reason = f"it ended with {crash or outcome}"
    return lambda result: Result(job=result.job, outcome=outcome, crash=crash, reason=reason)


def _raised(error: Exception) -> End:
    def end(result: Result) -> Result:
        raise error

    return end


# train.py is at fault, so the same training would end like that again.
FAULTS: dict[str, End] = {f"crash: {kind}": _failed(Outcome.CRASH, kind) for kind in CrashClass} | {
    outcome: _failed(outcome) for outcome in Outcome if outcome not in (Outcome.SCORED, Outcome.CRASH, Outcome.INTERRUPTED)
}  # fmt: skip
DISTURBED: dict[str, End] = {
    "suspended": lambda result: replace(result, suspended_s=60.0),
    "out of time on a busy machine": lambda result: Result(
        job=result.job, outcome=Outcome.TIMEOUT, reason="too slow", wall_s=100.0, cpu_s=10.0
    ),
}
LOST: dict[str, End] = {
    "interrupted": lambda result: Result(job=result.job, outcome=Outcome.INTERRUPTED, reason="the scorer was killed"),
    "harness": _raised(ExecutorFailed("The harness is gone.")),
    "machine": _raised(MachineLost("A node has ended.")),
}
PASSING = DISTURBED | LOST  # the machine is at fault, so the training is repeated
ENDS = FAULTS | PASSING


def verdict_of(name: str) -> Verdict:
    """The verdict on a candidate whose training ends like that, one of FAULTS."""
    return Verdict.CRASH if name.startswith("crash") else Verdict(name)


class Ending(DeterministicExecutor):
    """Ends trainings as `choose` says. A training that it names HANG goes on until somebody ends it."""

    def __init__(self, night: Night, answer: Answer, choose: Choose) -> None:
        super().__init__(answer)
        self._night, self._choose = night, choose
        self._count: Counter[tuple[Role, str, int]] = Counter()

    async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
        launched = next(event for event in launches(self._night) if event.job == job.id)
        self._count[key(launched)] += 1
        end = self._choose(launched, self._count[key(launched)])
        self._seconds = HANG_S if end is hang else 0.0
        result = await super().run(job, update, nodes)
        return result if end is None else end(result)


def hang(result: Result) -> Result:
    """The end of a training that somebody has to end."""
    assert result.outcome is Outcome.INTERRUPTED
    return result


def key(event: ev.Launched | ev.Measured) -> tuple[Role, str, int]:
    """What a training is of. A training with a result is made once, unless the machine was at fault."""
    return event.role, event.commit, event.seed


def launches(night: Night, role: Role | None = None) -> list[ev.Launched]:
    events = (event for event in night.events() if isinstance(event, ev.Launched))
    return [event for event in events if role in (None, event.role)]


def results(night: Night, role: Role | None = None) -> list[ev.Measured]:
    events = (event for event in night.events() if isinstance(event, ev.Measured))
    return [event for event in events if role in (None, event.role)]


def _says_something(event: ev.Measured) -> bool:
    """Whether it has a result. The incumbent was scored before, so a failure of it says something about the machine."""
    if event.disturbed or event.result.outcome is Outcome.INTERRUPTED:
        return False
    return event.role is not Role.INCUMBENT or event.scored


def check(night: Night, state: State | None = None) -> State:
    """Check what holds at every end of a loop, whatever happened in the night. Returns the state after it.

    `state`: the state that the loop ended with; None if it ended by an error.
    """
    events = night.events()
    folded = fold(events, State(name="night"))
    assert state is None or state == folded, "the journal alone gives the same state"
    assert folded.stopped is not None and not folded.running, "the end and all results are recorded"
    jobs = [event.job for event in launches(night)]
    assert len(set(jobs)) == len(jobs) and sorted(jobs) == sorted(event.job for event in results(night))
    counted = Counter(key(event) for event in results(night) if _says_something(event))
    assert set(counted.values()) <= {1}, "no training that says something is repeated"
    judged = Counter(event.number for event in events if isinstance(event, ev.Judged))
    assert set(judged.values()) <= {1}, "nothing is judged twice"
    if folded.finished and folded.baseline is not None:
        assert not folded.open and not folded.reruns
    active = night.active()
    refs, wanted = active.repo.refs.commits("night"), wanted_refs(active.repo.refs, folded, "night")
    active.journal.close()
    assert refs == wanted, "git has what the journal says"
    if folded.baseline is not None and judged:
        rows = (night.folder / "results.tsv").read_text().splitlines()
        assert len(rows) == 2 + len(judged), "the head, the baseline, and one row for each verdict"
    return folded
