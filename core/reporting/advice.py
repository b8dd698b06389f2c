"""What to do next after a run that has kept nothing. Pure."""

from __future__ import annotations

from core.judging import policy
from core.judging.noise import Noise
from core.record.state import State
from core.reporting import highlights
from core.reporting.phrases import resume_command
from nanochat.contract.shell import make

LONGER = 2  # times the budget that is proposed
FEW = 3  # near misses that are named


def needed(sigma: float) -> str:
    """Return which gains are kept at this noise, as text. `sigma`: noise of one score, in bpb."""
    few, many = min(policy.KEEP), max(policy.KEEP)
    small, large = (policy.KEEP[n] * sigma * (2 / n) ** 0.5 for n in (many, few))
    return f"{large:.4f} over {few} seeds, or {small:.4f} over {many}"


def after_nothing(state: State, noise: Noise) -> tuple[str, ...]:
    """Return sentences on why nothing may have been kept, and on what to try.

    Args:
        state: The state of the run.
        noise: Its noise.

    Returns:
        The sentences; () if something was kept, or nothing has a score yet.
    """
    config = state.config
    if config is None or state.kept or not any(e.val_bpb is not None for e in state.experiments.values()):
        return ()
    longer = make("run", "--name", f"{state.name}-longer", "--budget", f"{LONGER * config.budget_s:g}")
    sentences = [
        f"At {config.budget_s:g} s a training, the noise of one score is {noise.sigma:.4f}, so only a gain of at least "
        f"{needed(noise.sigma)}, is kept. Longer trainings usually scatter less, so smaller gains show: "
        f"{longer} starts a run with them."
    ]
    near = highlights.near_misses(state, noise.sigma)[:FEW]
    if near:
        named = ", ".join(f"#{one.number} ({one.change_words})" for one in near)
        sentences.append(
            f"Near misses that are worth another training: {named}. {resume_command(state.name)} goes on with this run; "
            f"there, r measures the selected experiment on a new seed, and o keeps it."
        )
    return tuple(sentences)
