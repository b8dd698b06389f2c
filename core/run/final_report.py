"""The final report: trains the start and the incumbent of a run again, and scores both on the unused test split."""

from __future__ import annotations

from msgspec.structs import replace

from core.execution.base import Executor
from core.judging import policy
from core.judging.schedule import Work
from core.machine import stats
from core.machine.project import UsageError
from core.model import Role
from core.record import events as ev
from core.run import jobs
from core.run.active import ActiveRun
from nanochat.contract.job import Outcome, Result

FRESH = 1000  # index of a seed that no verdict uses


async def report(active: ActiveRun, executor: Executor) -> ev.Reported:
    """Train and score the start and the incumbent on a fresh seed. Records and returns the result.

    Raises:
        UsageError: The run has kept nothing, or one of the two could not be scored.
    """
    state = active.state
    if not state.kept or state.start_commit is None:
        raise UsageError(
            f"Run {active.name} has kept nothing yet, so there is nothing to report on. Nothing was trained."
        )
    seed = policy.seed(active.config.seed, FRESH)
    baseline = await _score(active, executor, Role.BASELINE, state.start_commit.commit, seed)
    best = await _score(active, executor, Role.INCUMBENT, state.incumbent, seed)
    event = ev.Reported(commit=state.incumbent, seed=seed, baseline=baseline, best=best)
    active.record(event)
    return event


async def _score(active: ActiveRun, executor: Executor, role: Role, commit: str, seed: int) -> float:
    out = active.folder / "report" / role
    out.mkdir(parents=True, exist_ok=True)
    (out / "train.py").write_text(active.source(commit), encoding="utf-8")
    work = Work(role, commit, seed)
    job = jobs.job(
        active.state, active.profile, active.program.charter, work, f"report-{role}", out, stats.memory_total()
    )
    active.seal.check()
    result: Result = await executor.run(
        replace(job, split="test", reference=None, preflight=False), lambda message: None
    )
    active.seal.check()
    if result.outcome is not Outcome.SCORED or result.val_bpb is None:
        raise UsageError(f"The {role} could not be scored on the test split: {result.reason}. Nothing was recorded.")
    return result.val_bpb
