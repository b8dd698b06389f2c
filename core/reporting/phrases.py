"""Words about a run that appear in more than one place. Pure."""

from __future__ import annotations

from core.model import Role
from core.record.experiment import Experiment
from core.record.state import State
from core.text import sanitize_line
from core.verdicts import Verdict
from nanochat.contract.shell import make

PASTE = "To have it enforced, put that line between the two lines --- at the top of program.md, in place of one with the same key"
UNTRIED = tuple(verdict.words for verdict in Verdict if not verdict.tried)
NOTABLE = 0.1  # of a difference between the machine's speed and that at the reference
DOING = {
    Role.BASELINE: "training",
    Role.CANDIDATE: "training",
    Role.REPLICATE: "confirming",
    Role.INCUMBENT: "again",
    Role.RERUN: "again",
}


def verdict(experiment: Experiment, alive: bool = True) -> str:
    """What became of an experiment, in a person's words. `alive` says whether a loop still works on those without a verdict."""
    found = experiment.verdict
    if found is None:
        doing = "running" if experiment.launched else "queued" if experiment.approved else "waiting"
        return doing if alive else f"was {doing}"
    if experiment.by == "human" and found not in (Verdict.SKIPPED, Verdict.INTERRUPTED):
        return f"{found.words}, by you"
    if found is Verdict.DISCARD and experiment.gain is not None:
        if not experiment.within_noise:
            return "worse" if experiment.gain < 0 else "discard"
        return "not confirmed" if experiment.pairs > 1 else "inconclusive"
    if found is Verdict.CRASH and experiment.crash:
        return f"crash {experiment.crash}"
    return found.words


def job_name(role: Role, number: int | None) -> str:
    """Whose job it is: the best is run again for the sake of an experiment, and is not that."""
    return f"#{number}" if number is not None and role not in (Role.BASELINE, Role.INCUMBENT) else role


def doing(role: Role, phase: str) -> str:
    """What a job does just now."""
    return DOING.get(role, phase) if phase == "training" else phase


def machine_speed(speed: float | None) -> str:
    """How fast the machine is, where that is worth a word; '' where it is about as at the reference, or not known."""
    return f"machine {speed:.0%} of reference" if speed and abs(speed - 1) >= NOTABLE else ""


def begun_as(name: str, header: str) -> str:
    """What to add to the name of a run whose folder was renamed or copied; '' for any other."""
    return f" (begun as {sanitize_line(header)})" if header != name else ""


def resume_command(name: str) -> str:
    """The command that continues this very run, as it is typed."""
    return make("run", "--name", name)


def over_limit_warning(state: State) -> str:
    """That the best itself is over a limit of program.md; '' where it is not."""
    limit, params = state.charter.limits.max_params if state.charter else None, state.params
    if not limit or not params or params <= limit:
        return ""
    return f"the best itself has {params:,} parameters: only a change that makes it smaller passes"


def understood(state: State) -> tuple[str, ...]:
    """What was understood of program.md, and whether the run stands on more than that allows."""
    words = state.charter.understood if state.charter else ()
    return (warning, *words) if (warning := over_limit_warning(state)) else words


def proposed_limit(line: str, sentence: str) -> str:
    """A limit that program.md seems to ask for: nothing enforces it."""
    return f"proposed, not enforced: {line} (from “{one_line(sentence, 120)}”)"


def one_line(text: str, limit: int = 160) -> str:
    return sanitize_line(text, limit)
