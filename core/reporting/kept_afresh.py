"""What the final check has found about each kept change alone, as text. Pure."""

from __future__ import annotations

from core.judging import final_check
from core.judging.final_check import Step
from core.record.state import State
from core.reporting import phrases
from core.reporting.changes import short_name


def words(step: Step) -> str:
    """Return what a kept change alone has gained on fresh seeds, and whether that holds, as text."""
    seeds = f"{step.seeds} fresh seed{'s' if step.seeds > 1 else ''}"
    return f"{phrases.change(step.change, step.error)} on {seeds}: {_whether_it_holds(step)}"


def _whether_it_holds(step: Step) -> str:
    if step.is_worse:
        return "it is worse than without it"
    if step.is_simplification:
        return "it is simpler, and not clearly worse"
    return "it holds" if step.holds else f"it is not certain, {step.needed:.4f} was needed"


def lines(state: State, sigma: float) -> list[str]:
    """Return a line for each kept change, and one that counts those that hold. `sigma`: noise of one measurement, in bpb."""
    found = final_check.steps(state, sigma)
    missing = len(state.kept) - len(found)
    unmeasured = f"; {missing} could not be measured" if missing else ""
    holding = sum(step.holds for step in found.values())
    return [
        *(f"#{number} {short_name(state.experiments[number])}: {words(step)}." for number, step in found.items()),
        f"{holding} of {phrases.count(len(found), 'kept change')} hold{'s' if holding == 1 else ''} alone{unmeasured}.",
    ]
