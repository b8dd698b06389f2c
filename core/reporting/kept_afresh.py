"""What the final check has found about each kept change, as text. Pure."""

from __future__ import annotations

from core.judging import final_check
from core.judging.final_check import SEEDS, Step
from core.model import Role
from core.record.state import State
from core.reporting import phrases
from core.reporting.changes import short_name

MORE = "A gain that is not certain may still be real. More seeds decide: --seeds N."


def words(step: Step) -> str:
    """Return what a kept change has gained on fresh seeds over the best before it, and whether that holds, as text."""
    change = phrases.change(step.change, step.error)
    if not step.complete:
        return f"{change} on {step.seeds} of {step.wanted} fresh seeds so far"
    return f"{change} on {phrases.count(step.seeds, 'fresh seed')}, {_whether_it_holds(step)}"


def _whether_it_holds(step: Step) -> str:
    if step.is_worse:
        return "so train.py is worse with it"
    if step.is_simplification:
        return "so it is simpler and not clearly worse"
    return "so it holds" if step.holds else f"not certain ({step.needed:.4f} was needed)"


def lines(state: State, sigma: float, seeds: int = SEEDS) -> list[str]:
    """Return a line for each kept change, and one that counts those that hold.

    Args:
        state: The state of the run.
        sigma: Noise of one measurement, in bpb.
        seeds: The number of fresh seeds that were asked for.
    """
    found = final_check.steps(state, sigma)
    shown = [f"#{number} {short_name(state.experiments[number])}: {words(step)}." for number, step in found.items()]
    if next(final_check.next_work(state, seeds, each=True), None) is not None:
        resume = phrases.check_command(state, Role.FINAL, seeds, each=True)
        return [*shown, f"Not all kept changes are measured; {resume} continues."]
    gains = [step for step in found.values() if not step.is_simplification]
    simpler = [step for step in found.values() if step.is_simplification]
    counts = [_counted(gains, "gain", "holds", "hold")] if gains else []
    counts += [_counted(simpler, "simplification", "is not clearly worse", "are not clearly worse")] if simpler else []
    missing = len(state.kept) - len(found)
    counts += [f"{phrases.count(missing, 'kept change')} could not be scored."] if missing else []
    counts += [MORE] if any(not (step.holds or step.is_worse) for step in gains) else []
    return [*shown, " ".join(counts)]


def _counted(steps: list[Step], noun: str, one: str, several: str) -> str:
    holding = sum(step.holds for step in steps)
    return f"{holding} of {phrases.count(len(steps), noun)} {one if holding == 1 else several}."
