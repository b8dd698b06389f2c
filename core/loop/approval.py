"""Approval: a proposal goes on at once, or waits for a human until its countdown ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from core.record import events as ev
from core.record import live
from core.run.active import ActiveRun

COUNTDOWN_S = 60.0
LONGEST_HOLD_S = 1800.0  # a countdown that was stopped runs again after so long: an editor may have been forgotten
UNANSWERED = 3  # approvals by time-out in a row after which nobody is asked any more


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

    def tick(self, elapsed_s: float) -> None:
        """Count down, unless somebody reads."""
        if not self.held:
            self.left_s -= elapsed_s
            return
        self.held_s += elapsed_s
        if self.held_s >= LONGEST_HOLD_S:
            self.holders.clear()


class Approval:
    """Decides when a proposal may be trained."""

    def __init__(self, active: ActiveRun, attended: Callable[[], bool], countdown_s: float) -> None:
        """`attended`: whether somebody watches, or is about to."""
        self._active, self._attended, self._countdown_s = active, attended, countdown_s
        self._unanswered = 0
        self._ticked = time.monotonic()
        self.waiting: Waiting | None = None

    def tick(self) -> None:
        """Let the countdown of the waiting proposal go on."""
        now = time.monotonic()
        elapsed, self._ticked = now - self._ticked, now
        if self.waiting is not None:
            self.waiting.tick(elapsed)

    def forget_judged(self) -> None:
        """A proposal that has its verdict waits no more."""
        if self.waiting is not None and self.waiting.number not in self._active.state.open:
            self.waiting = None

    def step(self) -> None:
        """Approve what need not wait; start the countdown of what does, one at a time."""
        state = self._active.state
        for experiment in [e for e in state.open.values() if not e.approved]:
            asking = state.approval == "ask" and self._attended() and experiment.retry_of is None
            if not asking:
                self.answer(experiment.number, "auto")
            elif self.waiting is None or self.waiting.number != experiment.number:
                self.waiting = Waiting(experiment.number, self._countdown_s)
            elif self.waiting.left_s <= 0:
                self.answer(experiment.number, "time-out")
                self._unanswered += 1
                if self._unanswered >= UNANSWERED:
                    self._active.record(ev.ApprovalChanged(mode="auto", by=f"{UNANSWERED} proposals without an answer"))
            if asking:
                break

    def answer(self, number: int, by: ev.ApprovedBy) -> None:
        """Record that a proposal may be trained."""
        self._active.record(ev.Approved(number=number, by=by))
        self.waiting = None
        if by == "human":
            self._unanswered = 0

    def skipped(self) -> None:
        """The human does not want the waiting proposal."""
        self.waiting, self._unanswered = None, 0

    def hold(self, number: int, who: str, *, on: bool) -> None:
        """An app begins or ends to read or write; meanwhile the countdown stands still."""
        if self.waiting is not None and self.waiting.number == number:
            change = self.waiting.holders.add if on else self.waiting.holders.discard
            change(who)

    def gone(self, who: str) -> None:
        """An app went away: what it held must not wait for it."""
        if self.waiting is not None:
            self.waiting.holders.discard(who)
