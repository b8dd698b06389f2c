"""The countdown of a waiting proposal: keys let it begin again, and typing, reading and editing hold it."""

from __future__ import annotations

from typing import cast

from msgspec.structs import replace

from core.loop.approval import LONGEST_HOLD_S, UNANSWERED, Approval, Waiting
from core.loop.control import Control
from core.loop.ending import Ending
from core.loop.slots import Slots
from core.model import Limits
from core.record import events as ev
from core.run import commands
from core.run.active import ActiveRun
from core.verdicts import Verdict
from tests.core.run.test_active import active
from tests.core.run.test_notify import proposed

__all__ = ["active"]


class Desk:
    """An approval that is told what an app tells the loop. The first experiment of its run has begun."""

    def __init__(self, active: ActiveRun) -> None:
        active.record(ev.ApprovalChanged(mode="ask"))
        self.active = active
        self.approval = Approval(active, lambda: True, 10.0)
        self._control = Control(active, self.approval, cast(Slots, None), Ending(Limits()), "listed")
        active.record(proposed(1))
        self.approval.step()

    def propose(self, number: int) -> Waiting:
        self.active.record(replace(proposed(number), parent=self.active.state.incumbent))
        self.approval.step()
        assert self.approval.waiting is not None and self.approval.waiting.number == number
        return self.approval.waiting

    def time_out(self, number: int) -> None:
        self.propose(number).tick(11.0)
        self.approval.step()
        assert self.active.state.experiments[number].approved == "time-out"

    def send(self, command: commands.Command) -> commands.Reply:
        return self._control.execute(command)


def test_the_first_experiment_starts_without_waiting_and_the_second_waits(active: ActiveRun) -> None:
    active.record(ev.ApprovalChanged(mode="ask"))
    approval = Approval(active, lambda: True, 10.0)
    for number in (1, 2, 3):
        active.record(proposed(number))
    active.record(ev.Judged(number=1, verdict=Verdict.INVALID, finding="It cannot be trained."))
    approval.step()
    assert active.state.experiments[2].approved == "auto" and not active.state.experiments[3].approved
    assert approval.waiting is not None and approval.waiting.number == 3
    active.record(ev.Judged(number=2, verdict=Verdict.INTERRUPTED, finding="Aborted."))
    approval.step()
    assert not active.state.experiments[3].approved, "its countdown goes on"


def test_a_key_lets_the_countdown_begin_again(active: ActiveRun) -> None:
    desk = Desk(active)
    waiting = desk.propose(2)
    waiting.tick(9.0)
    assert desk.send(commands.Attend()).ok and waiting.left_s == 10.0
    waiting.tick(9.0)
    desk.approval.step()
    assert not active.state.experiments[2].approved


def test_a_skipped_proposal_does_not_count_against_the_limit(active: ActiveRun) -> None:
    desk, ending = Desk(active), Ending(Limits(max_experiments=1))
    desk.propose(2)
    assert desk.send(commands.Skip(number=2, reason="no")).ok
    assert (active.state.judged, active.state.counted) == (1, 0)
    ending.check(active.state, nothing_left=False)
    assert not ending.reason
    active.record(ev.Judged(number=1, verdict=Verdict.INVALID, finding="It cannot be trained."))
    ending.check(active.state, nothing_left=False)
    assert ending.reason == "reached --max-experiments 1"


def test_who_presses_keys_is_not_taken_for_away(active: ActiveRun) -> None:
    desk = Desk(active)
    for number in range(2, UNANSWERED + 1):
        desk.time_out(number)
    desk.send(commands.Attend())
    desk.time_out(UNANSWERED + 1)
    assert active.state.approval == "ask"
    for number in range(UNANSWERED + 2, 2 * UNANSWERED + 1):
        desk.time_out(number)
    assert active.state.approval == "auto", "after so many in a row without a key"


def test_a_proposal_that_comes_while_the_human_types_is_held_too(active: ActiveRun) -> None:
    desk = Desk(active)
    assert desk.send(commands.Hold(on=True, who="app")).ok
    waiting = desk.propose(2)
    waiting.tick(60.0)
    assert waiting.held and waiting.left_s == 10.0
    desk.send(commands.Approve(number=2))
    assert desk.propose(3).held
    assert desk.send(commands.Hold(on=False, who="app")).ok and not desk.approval.waiting.held  # type: ignore[union-attr]


def test_what_an_app_held_is_released_although_its_proposal_was_answered(active: ActiveRun) -> None:
    desk = Desk(active)
    desk.propose(2)
    desk.send(commands.Hold(number=2, on=True, who="app"))
    desk.send(commands.Approve(number=2))
    assert desk.send(commands.Hold(number=2, on=False, who="app")).ok
    assert not desk.propose(3).held
    assert not desk.send(commands.Hold(number=2, on=True, who="app")).ok, "#2 does not wait"


def test_nobody_puts_a_proposal_off_for_ever(active: ActiveRun) -> None:
    waiting = Desk(active).propose(2)
    waiting.holders.add("an app that was left open")
    waiting.tick(LONGEST_HOLD_S)
    assert not waiting.held
    waiting.tick(4.0)
    waiting.restart_countdown(10.0)
    assert waiting.left_s == 6.0


def test_a_disconnected_app_holds_nothing(active: ActiveRun) -> None:
    desk = Desk(active)
    desk.send(commands.Hold(on=True, who="app"))
    desk.approval.release_holds("app")
    assert not desk.propose(2).held
