"""The final check of a run that has ended, on its own: `autoresearch report`."""

from __future__ import annotations

from collections.abc import Collection

from core.execution.base import Executor, Placed
from core.judging import final_check
from core.judging.final_check import FinalCheck
from core.machine.project import UsageError
from core.model import Role
from core.run.active import ActiveRun
from nanochat.contract.job import Job, Outcome, Result


async def report(
    active: ActiveRun, executor: Executor, seeds: int, role: Role = Role.FINAL, *, each: bool = False
) -> FinalCheck:
    """Train the start and the incumbent on fresh seeds, and score both on the test split. With a longer budget for LONGER.

    With `each`, the kept changes between the two are trained as well.

    Each training is recorded. Those that an earlier check has recorded are not repeated.

    Raises:
        UsageError: The run has kept nothing, or one of the two could not be scored.
        ExecutorFailed: The harness failed.
    """
    if not active.state.kept:
        raise UsageError(
            f"Run {active.name} has kept nothing yet, so there is nothing to report on. Nothing was trained."
        )
    last = "its earlier trainings failed, and --seeds N with a larger N tries other seeds"
    while work := next(final_check.next_work(active.state, seeds, role, each=each), None):
        job = active.trainings.launch(work, 0)
        active.seal.check()
        result, placed = await _run(executor, job, work.nodes)
        active.seal.check()
        event = active.trainings.measured(work, result, placed.node, placed.kind)
        last = (event.disturbed or result.reason).removesuffix(".")
        if result.outcome is Outcome.INTERRUPTED:
            break
    active.publish_due(now=True)
    outcome = final_check.outcome(active.state, active.sigma, role)
    if outcome is None:
        raise UsageError(f"The start and the best could not both be scored on the test split: {last}.")
    return outcome


async def _run(executor: Executor, job: Job, nodes: Collection[str]) -> tuple[Result, Placed]:
    """Run a job, on one of these nodes if any are named. Returns its result, and where it ran; its node is "" for this machine."""
    placed = [Placed(job.id, "")]
    result = await executor.run(
        job, lambda message: placed.append(message) if isinstance(message, Placed) else None, nodes
    )
    return result, placed[-1]
