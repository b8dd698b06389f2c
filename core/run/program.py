"""program.md during a run: it is read again when it changes, and its interpretation is recorded."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from core.agents.base import Hint
from core.agents.search import steering
from core.change import touched
from core.charter import Charter, CharterError
from core.charter import read as read_charter
from core.git.errors import RepositoryError
from core.machine.project import UsageError
from core.model import NO_COST, Cost
from core.record import events as ev
from core.record import experiment as recorded
from core.text import program_sha

if TYPE_CHECKING:
    from core.run.active import ActiveRun


class Program:
    """program.md as the run understands it. If a new version cannot be used, the last usable one counts."""

    def __init__(self, active: ActiveRun) -> None:
        self._active = active
        self.charter, self.text = Charter(), ""
        self._stamp: tuple[int, int, int, int] | None = None

    def watch(self) -> None:
        """Read program.md if it has changed. If it cannot be used, keep the last usable version and record the problem.

        Raises:
            UsageError: It cannot be used, and there is no earlier version.
        """
        try:
            status = self._active.project.program.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        except OSError:
            stamp = (0, 0, 0, -1)
        if stamp == self._stamp:
            return
        known, present = self._active.state.charter, self.present()
        self._stamp = stamp
        try:
            charter, text = check_charter(self._active.project.program, touched.names(present))
        except UsageError as error:
            if known is None or not self.text:
                raise
            problem = f"{error} The last valid version is used."
            self._active.record(msgspec.structs.replace(known, problem=problem, cost=NO_COST))
            return
        charter = msgspec.structs.replace(charter, notes=(*charter.notes, *steering.unfit(charter, present)))
        sha = program_sha(text)
        self.charter, self.text = charter, text
        event = ev.Charter(
            sha=sha,
            understood=charter.understood(),
            limits=charter.limits,
            proposed=tuple(ev.ProposedLimit(proposal.line, proposal.sentence) for proposal in charter.proposed),
            warnings=charter.warnings,
        )
        if known is None or _told(known) != _told(event):  # an earlier version may have interpreted it differently
            self._active.record(event)

    def answer(self, text: str | None = None) -> str:
        """Return what `search` does with a hint that is not recorded yet, or without one with the latest hint or reason for skipping."""
        before = list(self._active.state.all_hints)
        last = before.pop() if text is None else recorded.Hint(len(before) + 1, text)
        try:
            source, incumbent = self.present(), self._active.state.incumbent
            tried = self._active.tried(incumbent) if incumbent else {}
            earlier = [
                Hint(number=hint.number, text=hint.text, skipped=hint.skipped) for hint in before if not hint.taken_back
            ]
            leave = steering.combined(self.charter, earlier, source, touched.names(source)).leave
            reason = last.skipped is not None
            return steering.answer(last.text, source, self.charter.off_limits, tried, reason=reason, leave=leave)
        except RepositoryError as error:
            return f"search could not look at it: {error}"

    def present(self) -> str:
        """Return the train.py that a proposal would change now; "" if it cannot be read."""
        if self._active.state.incumbent:
            return self._active.source(self._active.state.incumbent)
        try:
            return self._active.project.train.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return ""

    def restated(self, sentences: tuple[str, ...], cost: Cost) -> None:
        """Record the agent's restatement of program.md and what it cost. It is only shown; the checked limits do not change."""
        known = self._active.state.charter
        if known is not None and (sentences or cost != NO_COST):
            unsaid = f"{cost.model or 'the agent'} could not restate it and is asked again later"
            understood = self.charter.understood(sentences) if sentences else (*self.charter.understood(), unsaid)
            self._active.record(msgspec.structs.replace(known, understood=understood, cost=cost))


def _told(event: ev.Charter) -> tuple[object, ...]:
    """Return the parts of a charter event that do not come from a model."""
    return event.sha, event.problem, event.limits, event.proposed, event.warnings


def check_charter(path: Path, known: Collection[str] = ()) -> tuple[Charter, str]:
    """Read program.md. `known` are the names in train.py. Raises UsageError if it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return read_charter(text, known), text
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"program.md cannot be read ({error}). Write down in {path} what to research.") from None
    except CharterError as error:
        raise UsageError(str(error)) from None
