"""The main loop: propose, train, judge, record, again. Start reading at `Loop.run`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.agents.base import AgentFailed, Exhausted, listen, members
from core.execution.base import DataUnusable, Executor, ExecutorFailed
from core.git.repository import RepositoryError
from core.judging import schedule
from core.judging.schedule import Rebase, Work
from core.loop import human_actions
from core.loop.backoff import BACKOFF_S, Trouble, longer
from core.loop.proposals import Proposer
from core.machine.project import UsageError
from core.machine.stats import disk_full
from core.model import Limits
from core.record import events as ev
from core.record import hints, live
from core.record.journal import JournalError
from core.run import commands
from core.run.active import Laboratory
from core.run.integrity import Changed
from core.run.jobs import interrupted
from core.run.live import Live
from core.verdicts import Verdict
from nanochat.contract.job import Job, Outcome
from nanochat.contract.messages import Progress, Started

TICK_S = 1.0  # how often clocks, limits and the disk are looked at when nothing else happens
APPROVAL_S = 60.0
LONGEST_HOLD_S = 1800.0  # a countdown that was stopped runs again after so long: an editor may have been forgotten
UNANSWERED = 3  # approvals by time-out in a row after which the gate turns to auto
LOAD = 3  # proposals for one loading of a model that shares the GPU
REFUSED = 3  # proposals in a row that are never trained, after which the agent is asked more rarely
HINT_CHARACTERS = 4000


@dataclass
class Waiting:
    """The proposal that waits for a human, and its countdown."""

    number: int
    left_s: float
    held_s: float = 0.0
    holders: set[str] = field(default_factory=set)  # the apps in which somebody reads or writes

    @property
    def held(self) -> bool:
        return bool(self.holders)

    @property
    def picture(self) -> live.Waiting:
        return live.Waiting(number=self.number, left_s=round(self.left_s, 1), held=self.held)


@dataclass
class Slot:
    """One place where a job can run."""

    index: int
    executor: Executor
    task: asyncio.Task[None] | None = None
    work: Work | None = None


@dataclass
class Loop:
    """Everything a run does, until it is told to stop or reaches a limit."""

    lab: Laboratory
    proposer: Proposer
    executors: list[Executor]
    limits: Limits
    approval_s: float = APPROVAL_S
    attend_s: float = 0.0  # an app is on its way: for so long a proposal waits for it to come
    say: Callable[[str], None] = print
    slots: list[Slot] = field(init=False)
    waiting: Waiting | None = None

    def __post_init__(self) -> None:
        self.slots = [Slot(index, executor) for index, executor in enumerate(self.executors)]
        self._live = Live(self.lab.folder)
        self._server = commands.Server(self.lab.folder, self._obey, self._gone)
        self._deaf = False  # no command can arrive, and that was said
        self._wake = asyncio.Event()
        self._began = self._ticked = time.monotonic()
        self._stopping = ""  # the reason, once the loop is to end
        self._now = False  # do not wait for running experiments
        self._finished = False  # a limit was reached: the run needs no continuation
        self._exhausted = False  # the agent has nothing left
        self._failed: Exception | None = None
        self._unanswered = 0
        self._proposing: asyncio.Task[None] | None = None
        self._backoff_s, self._ask_again = 0.0, 0.0
        self._refused = 0
        self._trouble = Trouble()  # with git, files and processes
        agent = self.proposer.agent
        self._exclusive = bool(getattr(agent, "exclusive", False))  # nothing trains while it thinks
        listen(agent, hear=self._live.hear, phase=self._live.doing, note=self._note)

    async def run(self) -> str:
        """Loop until told to stop or at a limit; returns the reason. Killed at any instant, nothing recorded is lost.

        Raises JournalError when the disk takes no more, Changed when the run's own copies were altered, and
        UsageError when the baseline itself cannot be trained.
        """
        await self._server.start()
        try:
            while True:
                self._tick()
                await self._listen()
                self._unless_held(self._judge)
                if self._over():
                    break
                self._propose()
                self._approve()
                self._launch()
                await self._sleep()
        except UsageError as error:
            self._failed, self._stopping, self._finished = error, "the baseline could not be measured", True
        finally:
            await self._close()
        if isinstance(self._failed, UsageError):
            self.lab.record(ev.Stopped(reason=self._stopping, finished=True))
        if self._failed is not None:
            raise self._failed
        self.lab.record(ev.Stopped(reason=self._stopping, finished=self._finished))
        self.lab.publish()
        return self._stopping

    def stop(self, reason: str, *, now: bool = False, finished: bool = False) -> None:
        """End the loop after the running experiments, or `now` without waiting for them."""
        self._stopping = self._stopping or reason
        self._now = self._now or now
        self._finished = self._finished or finished
        self._wake.set()

    def _unless_held(self, work: Callable[[], None]) -> None:
        """Do it, unless the machine failed us a moment ago."""
        if self._held:
            return
        try:
            work()
            self._trouble.succeeded("verdict")
        except RepositoryError as error:
            self._hold(str(error), "verdict")
        except OSError as error:
            self._hold(f"The files of a verdict cannot be written ({error}). All that was recorded is kept.", "verdict")

    @property
    def _held(self) -> bool:
        return time.monotonic() < self._trouble.until

    def _hold(self, reason: str, what: str) -> None:
        """Wait for a machine that fails: git behind a lock, no file to be written, no process to be had."""
        wait_s = self._trouble.hold(what, time.monotonic())
        self.lab.record(ev.Notice(text=f"{reason} It is tried again in {wait_s:.0f} s."))

    # -- when to end ----------------------------------------------------------------------------------------------

    def _over(self) -> bool:
        if self._failed is not None:
            return True
        if not self._stopping:
            self._check_limits()
        if not self._stopping:
            return False
        # nobody who stops waits for a machine that fails
        return self._now or not (self._busy() or (self._work() and not self._held))

    def _check_limits(self) -> None:
        limits, state = self.limits, self.lab.state
        if limits.max_experiments is not None and state.judged >= limits.max_experiments and not state.open:
            self.stop(f"reached the limit of {limits.max_experiments} experiments", finished=True)
        elif limits.max_hours is not None and time.monotonic() - self._began >= limits.max_hours * 3600:
            self.stop(f"reached the limit of {limits.max_hours:g} hours", finished=True)
        elif state.crash_streak >= limits.max_crashes_in_a_row:
            self.stop(f"{state.crash_streak} experiments in a row failed; the last findings in notebook.md say how")
        elif self._exhausted and not (self._busy() or state.open or self._work()):
            self.stop("the agent has nothing left to propose", finished=True)

    def _busy(self) -> bool:
        return any(slot.task is not None for slot in self.slots)

    def _work(self) -> list[Work]:
        state = self.lab.state
        sigma = schedule.noise(state).sigma
        return list(schedule.wanted(state, sigma, only_started=bool(self._stopping) or state.paused))

    async def _sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), TICK_S)
        self._wake.clear()

    async def _listen(self) -> None:
        """See to it that commands can arrive, also after somebody has removed the socket."""
        await self._server.keep()
        if self._server.problem and not self._deaf:
            self.lab.record(ev.Notice(text=self._unheard(self._server.problem)))
        self._deaf = bool(self._server.problem)

    @staticmethod
    def _unheard(problem: str) -> str:
        return f"No command can reach this loop ({problem}). It goes on; `kill {os.getpid()}` ends it in good order."

    def _tick(self) -> None:
        now = time.monotonic()
        elapsed, self._ticked = now - self._ticked, now
        asked = self.waiting
        if asked is not None and asked.held:
            asked.held_s += elapsed
            if asked.held_s >= LONGEST_HOLD_S:
                asked.holders.clear()
        elif asked is not None:
            asked.left_s -= elapsed
        self._live.write(
            asked.picture if asked is not None else None,
            proposing=self._proposing is not None,
            stopping=bool(self._stopping),
        )
        state, warning = self.lab.state, disk_full(self.lab.folder)
        if warning and not state.paused:
            self.lab.record(ev.Paused(reason=warning))
        elif not warning and state.paused and state.pause_reason:
            self.lab.record(ev.Resumed())
            self.lab.journal.keep_reserve()

    # -- verdicts, one at a time ----------------------------------------------------------------------------------

    def _judge(self) -> None:
        state = self.lab.state
        if state.baseline_failure is not None:
            self.lab.fit_smaller()  # raises UsageError when that cannot help
        self.lab.recheck()
        if self.waiting is not None and self.waiting.number not in state.open:
            self.waiting = None
        running = {launched.number for launched in state.running.values()}
        for experiment in list(state.open.values()):
            if experiment.number in running or not experiment.approved or state.baseline is None:
                continue
            step = schedule.assess(state, experiment, schedule.noise(state).sigma)
            if isinstance(step, ev.Judged):
                self.lab.judge(step)
            elif isinstance(step, Rebase):
                self.lab.rebase(experiment)

    # -- proposals ------------------------------------------------------------------------------------------------

    def _propose(self) -> None:
        """Keep one proposal ahead of the slots, made while the others train."""
        state, limit = self.lab.state, self.limits.max_experiments
        ahead = sum(1 for experiment in state.open.values() if not experiment.launched)
        if self._proposing or self._stopping or self._exhausted or state.paused or time.monotonic() < self._ask_again:
            return
        if ahead >= 1 or (limit is not None and state.judged + len(state.open) >= limit):
            return
        if self._exclusive and self._busy():
            return  # the GPU is training's; the model comes when it is free
        self._proposing = asyncio.create_task(self._ask_agent())

    async def _ask_agent(self) -> None:
        try:
            before = self.lab.state.next_number
            await self._ask()
            self._backoff_s = 0.0
            self._mind_refusals(before)
        except Exhausted:
            self._exhausted = True
        except AgentFailed as error:
            self._back_off(str(error), error.wait_s)
        except JournalError as error:
            self._failed = error
        except RepositoryError as error:
            self._back_off(str(error))
        except OSError as error:
            self._back_off(f"The files of a proposal cannot be written ({error}).")
        except (Exception, SystemExit) as error:  # an agent's bug must not end the night
            self._back_off(f"The agent {self.proposer.agent.name} broke: {type(error).__name__}: {error}")
        finally:
            self._proposing = None
            self._wake.set()

    def _mind_refusals(self, first: int) -> None:
        """An agent whose proposals are refused again and again is asked ever more rarely, not without end in a second."""
        for number in range(first, self.lab.state.next_number):
            refused = self.lab.state.experiments[number].verdict is not None
            self._refused = self._refused + 1 if refused else 0
        if self._refused > REFUSED:
            self._ask_again = time.monotonic() + min(2.0 ** (self._refused - REFUSED), BACKOFF_S[1])

    async def _ask(self) -> None:
        """One proposal; of a model that shares the GPU several, and then it leaves before anything trains."""
        self._expect()
        if not self._exclusive:
            await self.proposer.propose(self.lab)
            return
        try:
            for _ in range(self._load()):
                await self.proposer.propose(self.lab)
        finally:
            await self._release()

    def _expect(self) -> None:
        """Tell the agents what they will have to read, before anything is asked of them."""
        for agent in members(self.proposer.agent):
            if hasattr(agent, "expect"):
                agent.expect(self.lab.source(self.lab.state.best), self.lab.charter_text)

    async def _release(self) -> None:
        """Let the agent leave the GPU. Failing at that is said; it is no failed proposal and no reason to stop or to wait."""
        try:
            await self.proposer.agent.release()
        except Exception as error:
            self._note(f"{error or type(error).__name__} The model may still be on the GPU; the run goes on.")

    def _note(self, text: str) -> None:
        """A sentence for the journal from somebody who cannot do anything about a journal that fails."""
        try:
            self.lab.record(ev.Notice(text=text))
        except JournalError as error:
            self._failed = self._failed or error

    def _load(self) -> int:
        """Proposals while the model is loaded, within the run's limit."""
        limit, state = self.limits.max_experiments, self.lab.state
        left = LOAD if limit is None else limit - state.judged - len(state.open)
        return max(1, min(LOAD, left))

    def _back_off(self, reason: str, wait_s: float = 0.0) -> None:
        self._backoff_s = longer(self._backoff_s)
        self._backoff_s = max(self._backoff_s, wait_s)
        self._ask_again = time.monotonic() + self._backoff_s
        self.lab.record(ev.Refused(number=self.lab.state.next_number, agent=self.proposer.agent.name, reason=reason))
        self.say(f"{reason} It is asked again {_when(self._backoff_s)}; nothing else waits for it.")

    def _approve(self) -> None:
        state = self.lab.state
        for experiment in [e for e in state.open.values() if not e.approved]:
            asking = state.gate == "ask" and self._attended() and experiment.again is None
            if not asking:
                self._answer(experiment.number, "auto")
            elif self.waiting is None or self.waiting.number != experiment.number:
                self.waiting = Waiting(experiment.number, self.approval_s)
            elif self.waiting.left_s <= 0:
                self._answer(experiment.number, "time-out")
                self._unanswered += 1
                if self._unanswered >= UNANSWERED:
                    self.lab.record(ev.Gate(mode="auto", by=f"{UNANSWERED} proposals without an answer"))
            if asking:
                break  # one question at a time

    def _attended(self) -> bool:
        """Whether somebody watches, or is about to."""
        coming = not self._server.ever and time.monotonic() - self._began < self.attend_s
        return self._server.attached > 0 or coming

    def _answer(self, number: int, by: ev.ApprovedBy) -> None:
        self.lab.record(ev.Approved(number=number, by=by))
        self.waiting = None
        if by == "human":
            self._unanswered = 0

    # -- jobs -----------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        free = [slot for slot in self.slots if slot.task is None]
        if self._now or self._failed or not free or (self._exclusive and self._proposing):
            return
        if self._held:
            return
        for slot, work in zip(free, self._work(), strict=False):
            slot.work = work
            slot.task = asyncio.create_task(self._measure(slot, work))

    async def _measure(self, slot: Slot, work: Work) -> None:
        try:
            await self._run_job(slot, work, self.lab.launch(work, slot.index))
        except (JournalError, Changed, DataUnusable) as error:
            self._failed = error
        except RepositoryError as error:
            self._hold(str(error), "job")
        except asyncio.CancelledError:
            await slot.executor.abort()
            raise
        except OSError as error:
            self._hold(f"The files of a job cannot be written ({error}). All that was recorded is kept.", "job")
        except Exception as error:  # a bug of ours: end in good order and say where, rather than spin
            self._failed = error
        finally:
            self._live.forget(slot.index)
            slot.task = slot.work = None
            self._wake.set()

    async def _run_job(self, slot: Slot, work: Work, job: Job) -> None:
        try:
            self.lab.seal.check()
            result = await slot.executor.run(job, lambda message: self._update(slot, work, message))
            self.lab.seal.check()
            if result.outcome is Outcome.INTERRUPTED and work.number not in self.lab.state.aborted:
                raise ExecutorFailed(f"The harness gave up on a job: {result.reason}")
            self._trouble.job_ended(time.monotonic())
        except ExecutorFailed as error:
            self._hold(str(error), "job")
            result = interrupted(job, str(error), self._trouble.given_up(work.commit, time.monotonic()))
        self.lab.measured(work, result)

    def _update(self, slot: Slot, work: Work, message: Started | Progress) -> None:
        if isinstance(message, Started):
            self.lab.note_processes(message)
        else:
            self._live.update(slot.index, work, message)

    async def _close(self) -> None:
        """End proposing and running jobs, the harness processes too. What was running is recorded as interrupted."""
        tasks = [slot.task for slot in self.slots if slot.task is not None]
        tasks += [self._proposing] if self._proposing else []
        running = [slot.work for slot in self.slots if slot.work is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(slot.executor.close() for slot in self.slots))
        await self._server.close()
        await self._release()
        self._live.close()
        if running and not isinstance(self._failed, JournalError):
            self.lab.interrupt_running(self._stopping or "the loop ended")

    # -- commands -------------------------------------------------------------------------------------------------

    async def _obey(self, command: commands.Command) -> commands.Reply:
        try:
            ok, words = self._do(command)
        except human_actions.Declined as error:
            ok, words = False, str(error)
        except RepositoryError as error:
            ok, words = False, f"{error} Nothing was recorded."
        except JournalError as error:
            self._failed, ok, words = error, False, str(error)
        self._wake.set()
        return commands.Reply(ok=ok, words=words)

    def _do(self, command: commands.Command) -> tuple[bool, str]:
        state = self.lab.state
        match command:
            case commands.Attach():
                return True, f"attached to {self.lab.folder.name}"
            case commands.Stop():
                self.stop("told to stop", now=command.now)
                return True, "stopping now" if command.now else "stopping after the current experiment"
            case commands.Pause():
                self.lab.record(ev.Paused())
                return True, "paused after the current experiment"
            case commands.Resume():
                self.lab.record(ev.Resumed())
                return True, "going on"
            case commands.Tell():
                return self._told(command.text)
            case commands.TakeBack():
                return self._taken_back(command.number)
            case commands.SetGate():
                self.lab.record(ev.Gate(mode=command.mode, by="human"))
                return (
                    True,
                    "unattended from now on" if command.mode == "auto" else "proposals wait for you from now on",
                )
            case commands.Abort():
                slot = next((s for s in self.slots if s.work and s.work.number == command.number), None)
                if slot is not None:
                    self.lab.record(ev.Aborted(number=command.number))
                    self._background_abort(slot)
                elif command.number in state.open and state.open[command.number].launched:  # between two of its jobs
                    self.lab.aborted(command.number)
                else:
                    return False, f"#{command.number} is not running"
                return True, f"aborting #{command.number}"
            case commands.Own():
                return True, human_actions.own(self.lab, command.parent, command.source, command.hypothesis)
            case commands.Rerun():
                return True, human_actions.rerun(self.lab, command.number)
            case commands.Overrule():
                return True, human_actions.overrule(self.lab, command.number, command.verdict)
            case commands.Approve() | commands.Skip() | commands.Revise() | commands.Hold():
                if command.number not in state.open or state.open[command.number].approved:
                    return False, f"#{command.number} does not wait for an answer"
                return self._answered(command)

    def _gone(self, who: str) -> None:
        """An app went away: what it held must not wait for it."""
        if self.waiting is not None:
            self.waiting.holders.discard(who)
        self._wake.set()

    def _told(self, text: str) -> tuple[bool, str]:
        """Take in a hint."""
        if not text.strip() or len(text) > HINT_CHARACTERS:
            return False, f"A hint has 1 to {HINT_CHARACTERS} characters. Nothing was recorded."
        self.lab.record(ev.Hint(text=text))
        return True, f"hint {len(self.lab.state.said)}: {self._read_by()}"

    def _taken_back(self, number: int) -> tuple[bool, str]:
        said = self.lab.state.said
        if not 1 <= number <= len(said):
            return False, f"There is no hint {number}. {hints.counted(said)} Nothing was changed."
        if said[number - 1].taken_back:
            return False, f"Hint {number} was taken back before. Nothing was changed."
        self.lab.record(ev.TakenBack(number=number))
        self.lab.publish()  # a reason for skipping stands in the notebook
        return True, f"hint {number} is taken back; no agent sees it from now on"

    def _read_by(self) -> str:
        """What becomes of what a human said last: a language model reads them, `search` acts on some only."""
        agent = self.proposer.agent
        if agent.name == "search":
            return self.lab.answer()
        turns = agent.name.split(",")  # of several agents; a stand-in is not named
        also = f"; {self.lab.answer()}" if "search" in turns else ""
        return f"the agent reads it with its next proposal{also}"

    def _answered(
        self, command: commands.Approve | commands.Skip | commands.Revise | commands.Hold
    ) -> tuple[bool, str]:
        match command:
            case commands.Approve():
                self._answer(command.number, "human")
                return True, f"approved #{command.number}"
            case commands.Skip():
                self.waiting, self._unanswered = None, 0
                self.lab.judge(
                    ev.Judged(
                        number=command.number, verdict=Verdict.SKIPPED, reason=command.reason, finding="", by="human"
                    )
                )
                if not command.reason.strip():
                    return True, f"skipped #{command.number}"
                heard = self._read_by()
                return True, f"skipped #{command.number}, hint {len(self.lab.state.said)}: {heard}"
            case commands.Revise():
                return True, human_actions.revise(self.lab, command.number, command.source, command.hypothesis)
            case commands.Hold():
                if self.waiting is not None and self.waiting.number == command.number:
                    change = self.waiting.holders.add if command.on else self.waiting.holders.discard
                    change(command.who)
                return True, "the countdown stands still" if command.on else "the countdown goes on"

    def _background_abort(self, slot: Slot) -> None:
        abort = asyncio.create_task(slot.executor.abort())
        abort.add_done_callback(lambda _: self._wake.set())
        self._aborting = abort  # a reference, or the task may be collected


def _when(seconds: float) -> str:
    """In some seconds, or at a time of day."""
    if seconds < 100:
        return f"in {seconds:.0f} s"
    then = datetime.now() + timedelta(seconds=seconds)
    return f"at {then:%H:%M}" if seconds < 12 * 3600 else f"at {then:%H:%M on %a %d %b}"
