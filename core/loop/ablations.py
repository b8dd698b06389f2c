"""Proposes the best without one of its kept changes, when the agent has nothing new."""

from __future__ import annotations

import time

from core.change import edits, knobs, removal, touched
from core.judging import ablation
from core.judging.ablation import KeptChange
from core.model import Notes, Proposal
from core.record import events as ev
from core.reporting.changes import short_name
from core.run.active import ActiveRun
from core.text import sanitize_line

AGENT = "ablation"  # recorded as the agent that proposed them


class Ablations:
    """Takes each kept change out of the best once, the oldest first.

    What it proposes follows from the journal, so a resumed run continues in the same way.

    Args:
        active: The run.
        on: Whether to propose any.
    """

    def __init__(self, active: ActiveRun, *, on: bool) -> None:
        self._active, self._on = active, on
        self._passed_over: set[tuple[str, tuple[int, int]]] = set()  # (best, change) that cannot be taken out of it

    @property
    def left(self) -> tuple[KeptChange, ...]:
        """The changes that are still to be taken out of the present best."""
        best = self._active.state.incumbent
        changes = ablation.outstanding(self._active.state) if self._on else ()
        return tuple(change for change in changes if (best, change.key) not in self._passed_over)

    def propose(self) -> None:
        """Record the next ablation as a proposal, if there is one.

        A change that cannot be taken out is passed over, and a notice says so once.
        """
        began, active = time.monotonic(), self._active
        best = active.state.incumbent
        source = active.source(best)
        active.program.watch()
        for change in self.left:
            try:
                candidate = self._without(change, source)
            except edits.EditError as error:
                self._passed_over.add((best, change.key))
                self._say(f"{change.words} is not taken out of the best: {error}")
                continue
            proposal = self._proposal(change, source, candidate)
            active.experiments.propose(proposal, best, source, candidate, seconds=time.monotonic() - began)
            return

    def _without(self, change: KeptChange, source: str) -> str:
        """Return the best without a change. Raises EditError if there is no such train.py, or it was tried."""
        active = self._active
        old, new = active.source(change.old), active.source(change.new)
        candidate = removal.without(source, old, new, active.merge)
        edits.validate_change(source, candidate, off_limits=active.program.charter.off_limits)
        if number := active.tried(active.state.incumbent).get(edits.fingerprint(candidate)):
            raise edits.EditError(f"the best without it was tried as experiment {number}")
        return candidate

    def _proposal(self, change: KeptChange, source: str, candidate: str) -> Proposal:
        experiment = self._active.state.experiments[change.number]
        moved = knobs.moved(source, candidate)
        idea = touched.touched(source, candidate)
        made = [f"{name} {after} -> {before}" for name, (before, after) in moved.items()]  # when it was kept
        only_constants = bool(made) and set(idea) <= moved.keys()
        what = ", ".join(made) if only_constants else sanitize_line(change.name or short_name(experiment), 100)
        return Proposal(
            hypothesis=f"Take out {what}",
            source=candidate,
            agent=AGENT,
            topic=experiment.topic,
            notes=Notes(
                knobs={name: after for name, (_, after) in moved.items()} or None,
                before={name: before for name, (before, _) in moved.items()} or None,
                without=change.key,
                idea=idea,
            ),
        )

    def _say(self, text: str) -> None:
        if text not in self._active.state.notices:
            self._active.record(ev.Notice(text=text))
