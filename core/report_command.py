"""The final check of a run that has ended, from the command line to the report: `autoresearch report`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

from core.execution import registry as executors
from core.execution.base import Executor, ExecutorFailed
from core.judging.final_check import SEEDS, FinalCheck
from core.machine.project import Project, UsageError
from core.model import Role, RunConfig
from core.record.journal import JournalError
from core.record.run_lock import Lock
from core.reporting import kept_afresh, phrases
from core.run.active import ActiveRun
from core.run.background import say, tell, typeset
from core.run.device_use import check_run_device
from core.run.final_report import report
from core.run.opening import open_run
from core.run.options import Options
from core.run.plan import make_plan
from core.session import INTERRUPTED, print_event, slot_of, write_run_report

EACH_OR_LONGER = (
    "--each trains with the budget of the run, and --longer with three times that. Give one of them. Nothing was done."
)


def final(
    project: Project,
    name: str | None,
    seeds: int | None,
    *,
    longer: bool = False,
    each: bool = False,
    beside: bool = False,
) -> None:
    """Make the final check of a run on so many seeds (None for the usual number), print its outcome, and write the report.

    Args:
        project: The source tree and its logs.
        name: The name of the run; None for the usual choice.
        seeds: The number of seeds, those of earlier checks included.
        longer: With a longer budget.
        each: Whether to train all kept changes, and not only the last.
        beside: Whether it may share its device with another run.

    Raises:
        UserError: It cannot be made.
    """
    if each and longer:
        raise UsageError(EACH_OR_LONGER)
    options = Options(name=project.pick(name).name)
    chosen = make_plan(project, options)
    if not beside:
        check_run_device(project, chosen)
    active, lock = open_run(project, chosen, options, print_event, loop=False)
    trainers = _trainers(chosen.config, active)
    role, signals = Role.LONGER if longer else Role.FINAL, list[int]()

    async def work() -> FinalCheck:
        _interrupt_at_signals(signals.append)
        try:
            if plan := phrases.planned_check(active.state, seeds or SEEDS, role, each=each, slots=len(trainers)):
                say(plan)
            return await report(active, trainers, seeds or SEEDS, role, each=each)
        finally:
            await asyncio.gather(*(trainer.close() for trainer in trainers))

    try:
        outcome = asyncio.run(work())
        resume = phrases.resume_check(active.state, role)
        words = (
            phrases.longer_result(outcome, active.state, resume) if longer else phrases.final_result(outcome, resume)
        )
        say(typeset(words))
        for line in kept_afresh.lines(active.state, active.sigma, seeds or SEEDS) if each else ():
            say(typeset(line))
        write_run_report(active)
    except KeyboardInterrupt:
        tell(phrases.interrupted_check(active.state, role, seeds or SEEDS, each=each))
        raise SystemExit(INTERRUPTED + (signals[0] if signals else signal.SIGINT)) from None
    except ExecutorFailed as error:
        raise UsageError(str(error)) from error
    finally:
        _close(active, lock)


def _close(active: ActiveRun, lock: Lock) -> None:
    """Record the trainings that still run as interrupted, and close the run."""
    with contextlib.suppress(JournalError):
        active.experiments.interrupt_running("the report ended while it ran")
    active.journal.close()
    lock.release()


def _trainers(config: RunConfig, active: ActiveRun) -> list[Executor]:
    """Return an executor for each slot. The last start of the loop may have asked for fewer than this machine has."""
    maker, slots = executors.maker(config), min(config.slots, active.state.slots)
    return [maker(slot_of(active, f"harness-report-{index}.log", index)) for index in range(slots)]


def _interrupt_at_signals(note: Callable[[int], None]) -> None:
    """Make SIGTERM and SIGHUP end the check like Ctrl-C, unless they are ignored. `note` is called with their number."""

    def interrupt(number: int) -> None:
        note(number)
        signal.raise_signal(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
