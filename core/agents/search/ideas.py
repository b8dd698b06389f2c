"""The ideas of the book on a given train.py: which apply, and which are left out. Also which changes failed together. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from core.agents.base import Context, PastExperiment, SeenExperiment
from core.change import edits
from core.model import Value
from core.target import TARGET
from core.target.entry import Entry
from core.verdicts import Verdict

IDEAS: Mapping[str, Entry] = {entry.name: entry for entry in TARGET.book}


def applied(entry: Entry, source: str) -> str | None:
    """Return train.py with an idea. None if it does not apply, or if train.py has it or another one of its kind already."""
    instead = [other for other in TARGET.book if entry.instead and other.instead == entry.instead]
    if any(other.present(source) for other in (entry, *instead)):
        return None
    return edits.try_apply(source, entry.edits)


def fits(entry: Entry, source: str, left_alone: Collection[str]) -> bool:
    """Return whether an idea applies to train.py and touches none of these names."""
    changed = applied(entry, source)
    if changed is None or not left_alone:
        return changed is not None
    try:
        edits.validate_change(source, changed, off_limits=left_alone)
    except edits.EditError:
        return False
    return True


def unwanted(context: Context) -> set[str]:
    """Return the names of the ideas that were skipped, or that failed, when they were tried alone."""
    return _alone(past for past in context.past if _ended_badly(past))


def skipped(context: Context) -> set[str]:
    """Return the names of the changes that were skipped when they were proposed alone."""
    return _alone(past for past in context.past if past.verdict is Verdict.SKIPPED)


def unwanted_together(context: Context) -> list[frozenset[str]]:
    """Return the sets of changes that were skipped or failed together. Each of them may be fine without the others."""
    return [marks for past in context.past if _ended_badly(past) and len(marks := changes_of(past)) > 1]


def _ended_badly(past: PastExperiment) -> bool:
    return past.verdict is Verdict.SKIPPED or past.verdict.failed


def changes_of(experiment: SeenExperiment) -> frozenset[str]:
    """Return the changes of an experiment as names: its ideas, its knobs with their direction, and "#7" for other code."""
    changes = {knob_change(name, *values) for name, values in experiment.constants.items()}
    return frozenset(changes | set(structural(experiment)))


def open_alone(context: Context) -> set[str]:
    """Return the changes that an open experiment tries alone. Its score is about to say what they are worth."""
    return _alone(context.open)


def _alone(experiments: Iterable[SeenExperiment]) -> set[str]:
    """Return the changes of those experiments that make a single one."""
    return {name for one in experiments if len(marks := changes_of(one)) == 1 for name in marks}


def knob_change(name: str, before: Value, after: Value) -> str:
    """Return a name for a change of a knob, such as "WIDTH up", or "WINDOW_PATTERN = SL" for a value without an order."""
    if isinstance(before, str | bool) or isinstance(after, str | bool):
        return choice(name, after)
    return f"{name} {'up' if after > before else 'down'}"


def choice(name: str, value: Value) -> str:
    """Return the name of the factor for a value of a knob."""
    return f"{name} = {value}"


def structural(experiment: SeenExperiment) -> list[str]:
    """Return the changes besides the constants: ideas of the book by their names, otherwise the experiment's number."""
    if not experiment.structural:
        return []
    return list(experiment.proposal.notes.edits or (f"#{experiment.number}",))
