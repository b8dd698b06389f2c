"""The main loop: judge, propose, approve, launch, wait, repeat. Start reading at `Loop.run`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence

from core.execution.base import Executor
from core.judging import final_check, schedule
from core.judging.schedule import Rebase, Work
from core.loop.ablations import Ablations
from core.loop.approval import COUNTDOWN_S, Approval
from core.loop.asking import Asking
from core.loop.control import Control
from core.loop.ending import Ending
from core.loop.machine_wait import MachineWait
from core.loop.proposals import Proposer
from core.loop.slots import Slots
from core.machine.project import UsageError
from core.machine.stats import disk_full
from core.model import Limits, Role
from core.record import events as ev
from core.record.journal import JournalError
from core.run import commands
from core.run.active import ActiveRun
from core.run.live import Live

CHECK_INTERRUPTED = "the final check was interrupted"
TICK_S = 1.0  # how often clocks, limits and the disk are checked when nothing else happens


class Loop:
    """Works on a run until it is told to stop or reaches a limit. Nothing starts before `run`.

    Args:
        active: The run, opened for work.
        proposer: Asks the agent.
        executors: One for each slot.
        limits: When this start of the loop ends by itself.
        say: Prints a sentence for the user.
        countdown_s: Seconds that a proposal waits for an answer.
        attend_s: Seconds at the beginning in which an app is expected, so that proposals wait.
        final_seeds: Seeds of the final check, in which the start and the best are measured afresh. 0 for no such check.
        hours_before: Hours of `limits.max_hours` that earlier starts have used.
        ablation: Whether kept changes are taken out of the best once more, when the agent has nothing left.
    """

    def __init__(
        self,
        active: ActiveRun,
        proposer: Proposer,
        executors: Sequence[Executor],
        limits: Limits,
        say: Callable[[str], None] = print,
        *,
        countdown_s: float = COUNTDOWN_S,
        attend_s: float = 0.0,
        final_seeds: int = 0,
        hours_before: float = 0.0,
        ablation: bool = False,
    ) -> None:
        self.active = active
        self._final_seeds = final_seeds
        self._wake = asyncio.Event()
        self._began, self._attend_s = time.monotonic(), attend_s
        self._live = Live(active.folder)
        self._ending = Ending(limits, hours_before)
        self._machine_wait = MachineWait(active)
        self._slots = Slots(active, executors, self._ending, self._machine_wait, self._live, self._wake.set)
        ablations = Ablations(active, on=ablation)
        self._asking = Asking(active, proposer, ablations, self._ending, self._live, self._wake.set, say)
        self._approval = Approval(active, self._is_attended, countdown_s)
        self._control = Control(
            active, self._approval, self._slots, self._ending, proposer.agent.name, checks=final_seeds > 0
        )
        self._server = commands.Server(active.folder, self._handle_command, self._app_disconnected)
        self._is_unreachable = False  # whether a notice says that no command can arrive

    async def run(self) -> str:
        """Run the loop until it is told to stop or reaches a limit. If it is killed, nothing that was recorded is lost.

        Returns:
            Why it ended.

        Raises:
            JournalError: The journal cannot be written.
            TamperedError: The run's own copies were altered.
            UsageError: The baseline cannot be trained.
            DataUnusable: The scorer cannot use the data.
            ExecutorLost: Nothing can be trained any more in this start.
        """
        ending = self._ending
        await self._server.start()
        try:
            while True:
                self._tick()
                await self._listen()
                self._machine_wait.attempt(self._judge)
                if self._should_end():
                    break
                self._asking.step(busy=self._slots.busy)
                self._approval.step()
                self._show_present()
                self._launch()
                await self._sleep()
        except UsageError as error:
            ending.failure, ending.reason, ending.finished = error, "the baseline could not be measured", True
        finally:
            await self._close()
        if isinstance(ending.failure, UsageError):
            self.active.record(ev.Stopped(reason=ending.reason, finished=True, worked_s=self.active.worked_s))
        if ending.failure is not None:
            raise ending.failure
        reason, finished = ending.reason, ending.finished
        if finished and ending.now and self._lacks_check():  # the next start continues the run, and so the check
            reason, finished = f"{reason}; {CHECK_INTERRUPTED}", False
        self.active.record(ev.Stopped(reason=reason, finished=finished, worked_s=self.active.worked_s))
        self.active.publish()
        self.active.publish_due(now=True)
        return reason

    def stop(self, reason: str, *, now: bool = False) -> None:
        """End the loop after the running experiments, or `now` without waiting for them."""
        self._ending.stop(reason, now=now)
        self._wake.set()

    # -- steps ----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Advance the countdown, write what is due, and pause or resume when the disk is full or has room again."""
        self._approval.tick()
        self._show_present()
        self.active.publish_due()
        state, warning = self.active.state, disk_full(self.active.folder)
        if warning and not state.paused:
            self.active.record(ev.Paused(reason=warning))
        elif not warning and state.paused and state.pause_reason:
            self.active.record(ev.Resumed())
            self.active.journal.keep_reserve()
            self.active.write_best()

    def _show_present(self) -> None:
        """Write live.json, at once if another proposal waits than before, so that it agrees with the journal."""
        waiting = self._approval.waiting
        self._live.write(
            waiting.picture if waiting is not None else None,
            proposing=self._asking.task is not None,
            stopping=bool(self._ending.reason),
        )

    def _judge(self) -> None:
        """Judge or rebase every experiment that is ready for it."""
        state = self.active.state
        if state.baseline_failure is not None:
            self.active.start.make_smaller()  # raises UsageError if that cannot help
        self.active.experiments.recheck()
        self._approval.forget_judged()
        for number in sorted(state.aborted):
            if not state.jobs_of(number):
                self.active.experiments.aborted(number)
        running = {launched.number for launched in state.running.values()}
        for experiment in list(state.open.values()):
            if experiment.number in running or not experiment.approved or state.baseline is None:
                continue
            step = schedule.assess(state, experiment, self.active.sigma)
            if isinstance(step, ev.Judged):
                self.active.experiments.judge(step)
            elif isinstance(step, Rebase):
                self.active.experiments.rebase(experiment)

    def _should_end(self) -> bool:
        ending, state, busy = self._ending, self.active.state, self._slots.busy
        if ending.failure is not None:
            return True
        ending.check(state, nothing_left=self._asking.exhausted and not (busy or state.open or self._work()))
        if not ending.reason:
            return False
        if self._waits_for_room and not ending.now and ending.check_result and self._lacks_check():
            return False
        # while it stops, do not wait for a machine that fails
        work = self._work()
        is_checking = ending.finished and any(
            step.role is Role.FINAL for step in work
        )  # nobody asked to stop, so it has time
        return ending.now or not (busy or (work and (is_checking or not self._machine_wait.waiting)))

    def _launch(self) -> None:
        proposal_task = self._asking.task if self._asking.exclusive else None
        if proposal_task is None:
            self._slots.launch(self._work)
        elif any(work.role is Role.FINAL for work in self._work()):
            proposal_task.cancel()  # no experiment follows, and the GPU is needed

    def _work(self) -> list[Work]:
        """Return the measurements that are wanted, the most urgent first."""
        state = self.active.state
        only_started = bool(self._ending.reason) or state.paused
        work = list(schedule.next_work(state, self.active.sigma, only_started=only_started))
        if work or not self._ending.check_result or self._waits_for_room:
            return work
        # Also after a pause by the human, since the check cannot be paused.
        return list(final_check.next_work(state, self._final_seeds))

    @property
    def _waits_for_room(self) -> bool:
        """Whether the loop has paused itself, because the disk is full."""
        return self.active.state.paused and bool(self.active.state.pause_reason)

    def _lacks_check(self) -> bool:
        """Return whether the final check that belongs to the end of the run is not complete."""
        return next(final_check.next_work(self.active.state, self._final_seeds), None) is not None

    async def _sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), TICK_S)
        self._wake.clear()

    async def _close(self) -> None:
        """Cancel the proposal and end running jobs, which are recorded as interrupted."""
        proposal_task = self._asking.task
        if proposal_task is not None:
            proposal_task.cancel()
        try:
            interrupted = await self._slots.close()
        finally:
            if proposal_task is not None:
                await asyncio.gather(proposal_task, return_exceptions=True)
        await self._server.close()
        await self._asking.close()
        self._live.close()
        if interrupted and not isinstance(self._ending.failure, JournalError):
            self.active.experiments.interrupt_running(self._ending.reason or "the loop ended")
        self.active.publish_due(now=True)
        self.active.backlog.close()

    # -- the human ------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Make sure that commands can arrive, even if the socket was removed. If not, a notice says so once."""
        await self._server.keep()
        if self._server.problem and not self._is_unreachable:
            self.active.record(ev.Notice(text=_unreachable_notice(self._server.problem)))
        self._is_unreachable = bool(self._server.problem)

    async def _handle_command(self, command: commands.Command) -> commands.Reply:
        reply = self._control.execute(command)
        self._wake.set()
        return reply

    def _app_disconnected(self, who: str) -> None:
        """Release what a disconnected app held."""
        self._approval.release_holds(who)
        self._wake.set()

    def _is_attended(self) -> bool:
        """Return whether an app is attached or about to be."""
        coming = not self._server.ever and time.monotonic() - self._began < self._attend_s
        return self._server.attached > 0 or coming


def _unreachable_notice(problem: str) -> str:
    return (
        f"Commands cannot reach this loop ({problem}). The loop keeps running; `kill {os.getpid()}` stops it cleanly."
    )
