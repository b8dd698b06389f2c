"""Carries out the human's commands to the running loop."""

from __future__ import annotations

from core.agents.search.steering import REFUSED
from core.git.errors import RepositoryError
from core.loop import human_actions
from core.loop.approval import Approval
from core.loop.ending import Ending
from core.loop.slots import Slots
from core.record import events as ev
from core.record import hints
from core.record.events import STOP_REQUESTED
from core.record.journal import JournalError
from core.run import commands
from core.run.active import ActiveRun
from core.verdicts import Verdict

HINT_CHARACTERS = 4000


class Control:
    """Carries out commands. Each is recorded before it is acknowledged.

    Args:
        active: The run.
        approval: The proposal that waits for an answer.
        slots: The running jobs.
        ending: Whether and why the loop ends.
        agent: The name of the agent. It decides how a hint is answered.
        checks: Whether the loop makes a final check before it ends.
    """

    def __init__(
        self, active: ActiveRun, approval: Approval, slots: Slots, ending: Ending, agent: str, *, checks: bool = False
    ) -> None:
        self._active, self._approval, self._slots, self._ending, self._agent = active, approval, slots, ending, agent
        self._checks = checks

    def execute(self, command: commands.Command) -> commands.Reply:
        """Carry out a command, or reply why that is not possible. Other errors of the machine are raised, for the server."""
        try:
            if isinstance(command, commands.Reapply) and self._is_waiting(command.number):
                return human_actions.reapply(self._active, command.number)
            ok, reply = self._execute(command)
        except human_actions.CommandRejected as error:
            return commands.Reply(ok=False, words=str(error), offer=error.offer)
        except RepositoryError as error:
            ok, reply = False, f"{error} Nothing was recorded."
        except JournalError as error:
            self._ending.fail(error)
            ok, reply = False, str(error)
        return commands.Reply(ok=ok, words=reply)

    def _execute(self, command: commands.Command) -> tuple[bool, str]:
        active = self._active
        match command:
            case commands.Attach():
                return True, f"attached to {active.folder.name}"
            case commands.Stop():
                return True, self._stop(command.now)
            case commands.Pause():
                if active.state.checking:
                    return False, "the final check cannot be paused; stop again to leave it out"
                active.record(ev.Paused())
                return True, "paused after the current experiment"
            case commands.Resume():
                active.record(ev.Resumed())
                return True, "resumed"
            case commands.Tell():
                return self._add_hint(command.text)
            case commands.TakeBack():
                return self._take_back_hint(command.number)
            case commands.SetApproval():
                active.record(ev.ApprovalChanged(mode=command.mode, by="human"))
                reply = "unattended from now on" if command.mode == "auto" else "proposals wait for you from now on"
                return True, reply
            case commands.Abort():
                return self._abort(command.number)
            case commands.Own():
                return True, human_actions.own(active, command.parent, command.source, command.hypothesis)
            case commands.Rerun():
                return True, human_actions.rerun(active, command.number)
            case commands.Overrule():
                return True, human_actions.overrule(active, command.number, command.verdict)
            case commands.Attend():
                self._approval.attend()
                return True, "the countdown begins again"
            case commands.Hold(number=0) | commands.Hold(on=False):
                return True, self._hold(command)
            case commands.Revise() if not self._is_waiting(command.number):
                raise human_actions.rejected_revision(active, command.number, command.source, command.parent)
            case commands.Approve() | commands.Skip() | commands.Revise() | commands.Hold() if self._is_waiting(
                command.number
            ):
                return True, self._answer(command)
            case commands.Approve() | commands.Skip() | commands.Revise() | commands.Hold() | commands.Reapply():
                return False, f"#{command.number} does not wait for an answer"

    def _is_waiting(self, number: int) -> bool:
        """Return whether a proposal is neither approved nor judged."""
        experiment = self._active.state.open.get(number)
        return experiment is not None and not experiment.approved

    def _stop(self, now: bool) -> str:
        """Stop. The first time the final check still follows; a second time, or at a limit, it is left out."""
        again = bool(self._ending.reason)
        self._ending.stop(STOP_REQUESTED, now=now, check_result=self._checks and not now and not again)
        if now:
            return "stopping now"
        if not self._checks:
            return "stopping after the current experiment"
        if again:
            return "stopping without the rest of the final check"
        return (
            "stopping after the current experiment. If a change was kept, the start and the best are then measured again; "
            "stop again to leave that out"
        )

    def _abort(self, number: int) -> tuple[bool, str]:
        state = self._active.state
        if not self._slots.abort(number):
            if number not in state.open or not state.open[number].launched:
                return False, f"#{number} is not running"
            self._active.experiments.aborted(number)  # between two of its jobs
        return True, f"aborting #{number}"

    def _add_hint(self, text: str) -> tuple[bool, str]:
        """Record a hint."""
        if not text.strip() or len(text) > HINT_CHARACTERS:
            return False, f"A hint has 1 to {HINT_CHARACTERS} characters. Nothing was recorded."
        answer = self._search_answer(text)
        unused = answer.removeprefix(REFUSED) if answer.startswith(REFUSED) else ""
        self._active.record(ev.Hint(text=text, unused=unused))
        return True, f"hint {len(self._active.state.all_hints)}: {self._reader_text(answer)}"

    def _take_back_hint(self, number: int) -> tuple[bool, str]:
        all_hints = self._active.state.all_hints
        if not 1 <= number <= len(all_hints):
            return False, f"There is no hint {number}. {hints.counted(all_hints)} Nothing was changed."
        if all_hints[number - 1].taken_back:
            return False, f"Hint {number} was taken back before. Nothing was changed."
        self._active.record(ev.TakenBack(number=number))
        self._active.publish()  # a reason for skipping stands in the notebook
        return True, f"hint {number} is taken back; no agent sees it from now on"

    def _search_answer(self, hint: str | None = None) -> str:
        """Return what `search` does with a new hint, or with the latest reason for skipping; "" if it does not propose."""
        team = self._agent.split(",")  # without stand-ins
        return self._active.program.answer(hint) if "search" in team else ""

    def _reader_text(self, answer: str) -> str:
        """Return what the agent does with the latest hint or reason. `answer`: what `search` does, which only acts on some of them."""
        if self._agent == "search":
            return answer
        return f"the agent reads it before its next proposal{f'; {answer}' if answer else ''}"

    def _answer(self, command: commands.Approve | commands.Skip | commands.Revise | commands.Hold) -> str:
        """Carry out an answer to the waiting proposal."""
        number = command.number
        match command:
            case commands.Approve():
                reply = human_actions.check_approvable(self._active, number)
                self._approval.answer(number, "human")
                return reply
            case commands.Skip():
                self._approval.drop_skipped()
                reason = command.reason
                self._active.experiments.judge(
                    ev.Judged(number=number, verdict=Verdict.SKIPPED, reason=reason, finding="", by="human")
                )
                if not reason.strip():
                    return f"skipped #{number}"
                reader_text = self._reader_text(self._search_answer())
                return f"skipped #{number}, hint {len(self._active.state.all_hints)}: {reader_text}"
            case commands.Revise():
                return human_actions.revise(self._active, number, command.source, command.hypothesis, command.parent)
            case commands.Hold():
                return self._hold(command)

    def _hold(self, command: commands.Hold) -> str:
        self._approval.hold(command.who, on=command.on)
        return "the countdown is paused" if command.on else "the countdown continues"
