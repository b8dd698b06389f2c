"""Approval of proposals: at once, or after a human has answered or the countdown has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from core.record import events as ev
from core.record import live
from core.run.active import ActiveRun

COUNTDOWN_S, LEAST_COUNTDOWN_S = 60.0, 10.0
LONGEST_HOLD_S = 1800.0  # a proposal is not put off for longer, in case an editor was left open
UNANSWERED = 3  # approvals by time-out in a row after which proposals no longer wait


def default_countdown_s(budget_s: float) -> float:
    """Return how long a proposal waits for an answer, in seconds: as long as a training of `budget_s`, within limits.

    So it waits while another experiment trains, and the machine is rarely idle.
    """
    return min(COUNTDOWN_S, max(LEAST_COUNTDOWN_S, budget_s))


@dataclass
class Waiting:
    """A proposal that waits for a human, and its countdown."""

    number: int
    left_s: float
    put_off_s: float = 0.0  # by holding the countdown, and by beginning it again
    holders: set[str] = field(default_factory=set)  # apps in which the human reads or types; shared by all proposals

    @property
    def held(self) -> bool:
        return bool(self.holders)

    @property
    def picture(self) -> live.Waiting:
        return live.Waiting(number=self.number, left_s=round(self.left_s, 1), held=self.held)

    def tick(self, elapsed_s: float) -> None:
        """Advance the countdown, unless it is held."""
        if not self.held:
            self.left_s -= elapsed_s
            return
        self.put_off_s += elapsed_s
        if self.put_off_s >= LONGEST_HOLD_S:
            self.holders.clear()

    def restart_countdown(self, countdown_s: float) -> None:
        """Let the countdown begin again, unless the proposal was put off for too long."""
        if self.put_off_s < LONGEST_HOLD_S:
            self.put_off_s += max(0.0, countdown_s - self.left_s)
            self.left_s = max(self.left_s, countdown_s)


class Approval:
    """Decides when a proposal may be trained.

    Args:
        active: The run.
        attended: Returns whether an app is attached or about to be.
        countdown_s: Seconds that a proposal waits for an answer.
    """

    def __init__(self, active: ActiveRun, attended: Callable[[], bool], countdown_s: float) -> None:
        self._active, self._attended, self._countdown_s = active, attended, countdown_s
        self._unanswered = 0
        self._ticked = time.monotonic()
        self._holders: set[str] = set()  # the apps that hold the countdown of whatever waits
        self.waiting: Waiting | None = None

    def tick(self) -> None:
        """Advance the countdown of the waiting proposal."""
        now = time.monotonic()
        elapsed, self._ticked = now - self._ticked, now
        if self.waiting is not None:
            self.waiting.tick(elapsed)

    def forget_judged(self) -> None:
        """Drop the waiting proposal if it has a verdict."""
        if self.waiting is not None and self.waiting.number not in self._active.state.open:
            self.waiting = None

    def step(self) -> None:
        """Approve proposals that need not wait. Of the others, start the countdown of one at a time.

        The first experiment of a run starts without waiting, so that the machine is not idle while the human reads.
        """
        state = self._active.state
        for experiment in [e for e in state.open.values() if not e.approved]:
            may_wait = experiment.retry_of is None and not self._is_first(experiment.number)
            asking = may_wait and state.approval == "ask" and self._attended()
            if not asking:
                self.answer(experiment.number, "auto")
            elif self.waiting is None or self.waiting.number != experiment.number:
                self.waiting = Waiting(experiment.number, self._countdown_s, holders=self._holders)
                self._active.waits(experiment.number)
            elif self.waiting.left_s <= 0:
                self.answer(experiment.number, "time-out")
                self._unanswered += 1
                if self._unanswered >= UNANSWERED:
                    self._active.record(ev.ApprovalChanged(mode="auto", by=f"{UNANSWERED} proposals without an answer"))
            if asking:
                break

    def _is_first(self, number: int) -> bool:
        """Return whether no earlier experiment of the run was approved, or still can be."""
        experiments = self._active.state.experiments.values()
        return number == next(e.number for e in experiments if e.approved or e.verdict is None)

    def answer(self, number: int, by: ev.ApprovedBy) -> None:
        """Record that a proposal may be trained."""
        self._active.record(ev.Approved(number=number, by=by))
        self.waiting = None
        if by == "human":
            self._unanswered = 0

    def drop_skipped(self) -> None:
        """Drop the waiting proposal, which the human skipped."""
        self.waiting, self._unanswered = None, 0

    def hold(self, who: str, *, on: bool) -> None:
        """Stop the countdown while the human reads, types or edits in an app (`on`), or let it go on."""
        change = self._holders.add if on else self._holders.discard
        change(who)

    def attend(self) -> None:
        """Let the countdown begin again, and forget proposals without an answer: the human is there."""
        self._unanswered = 0
        if self.waiting is not None:
            self.waiting.restart_countdown(self._countdown_s)

    def release_holds(self, who: str) -> None:
        """Release what a disconnected app held."""
        self._holders.discard(who)
