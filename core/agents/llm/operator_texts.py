"""The task in the prompt for each operator: what to propose, and the material as data. Pure."""

from __future__ import annotations

from core.agents.base import PastExperiment
from core.agents.llm.formats import Tier
from core.agents.llm.material import Plan
from core.agents.llm.quoting import BEGIN, END, change, data
from core.text import sanitize_line

HYPOTHESIS, ERROR = 200, 300  # characters
FIRST = "What program.md and the human ask for comes first."
LIMITED = "Only this constant is offered this time."


def task(plan: Plan, tier: Tier) -> str:
    """Return the task for an operator other than `draft`."""
    numbers = " and ".join(f"#{number}" for number in plan.numbers)
    match plan.operator:
        case "improve" if tier == "knob":
            text = f"Improve a near miss. Experiment {numbers} helped, but too little to be kept. Go further in its direction, or less far."
        case "improve":
            text = (
                f"Improve a near miss. Experiment {numbers} changed this train.py and helped, but too little to be kept. Propose this change "
                "with one thing about it made better: a stronger or a weaker value, a better place, or less cost in speed."
            )
        case "repair" if tier == "knob":
            text = f"Repair a crash. Experiment {numbers} went too far with this constant. Go less far in the same direction."
        case "repair":
            text = (
                f"Repair a crash. The training of experiment {numbers} failed. Propose the same idea on this train.py again, with the "
                "error corrected. If it cannot work as it is, propose the nearest change that can."
            )
        case "combine":
            text = (
                f"Combine two near misses. The changes of {numbers} each helped, but too little to be kept, and they touch different "
                "parts. Propose both together. These are the edits of both:"
            )
        case "simplify":
            text = (
                f"Simplify. train.py has {plan.grown} AST nodes more than at the start of the run. Propose a change that removes code "
                "which does not pay, and adds none. A change with clearly less code is kept even if the score stays the same."
            )
        case "ablate":
            text = (
                f"Take a kept change back. Later changes may have made experiment {numbers} unnecessary. Propose train.py without it."
                + ("" if tier == "knob" else " These edits take it back:")
            )
        case "draft":
            raise ValueError("a draft has no task of its own")
    shown = _material(plan, tier)
    return "\n".join(part for part in (text, shown, LIMITED if plan.knob else "", FIRST) if part)


def _material(plan: Plan, tier: Tier) -> str:
    """Return the change and its result, between the marks for data."""
    if not plan.on:
        return ""
    lines = [_result(past) for past in plan.on]
    lines += [_moves(past) for past in plan.on] if plan.knob else [change(plan.edits, tier)]
    lines += [f"The end of its error: {error}" for past in plan.on if (error := _error(past))]
    return "\n".join([BEGIN, *lines, END])


def _result(past: PastExperiment) -> str:
    result = f"crashed ({data(past.crash)})" if past.crash else "not measured"
    if past.gain is not None:
        error = f" ± {past.error:.4f}" if past.error is not None else ""
        result = f"{past.gain:+.4f}{error} (positive is better)"
    return f"#{past.number}, {result}: {data(past.proposal.hypothesis, HYPOTHESIS)}"


def _moves(past: PastExperiment) -> str:
    return ", ".join(f"{name} was moved from {before} to {after}" for name, (before, after) in past.constants.items())


def _error(past: PastExperiment) -> str:
    """Return the last lines of a traceback as one line. The end says most."""
    words = sanitize_line(past.traceback)
    return data(words[-ERROR:], ERROR)
