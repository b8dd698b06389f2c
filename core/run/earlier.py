"""What earlier runs on the same data have measured, for the agent of a new run."""

from __future__ import annotations

from collections.abc import Iterator

from core.machine.project import Project, UsageError
from core.model import Effect, RunConfig
from core.record import events as ev
from core.record.experiment import Experiment
from core.record.journal import JournalError
from core.record.state import State
from core.run.reading import read_state
from core.target import TARGET

BUDGET_RATIO = 2.0  # effects change with the budget; those of runs within this factor of it are used
MOST_RUNS, MOST_EFFECTS = 20, 400


def known(project: Project, config: RunConfig) -> ev.Earlier | None:
    """Return what is known when a run with this configuration begins: from runs in these logs, and what comes with the target.

    The runs that were started last come first. Runs that cannot be read are left out.

    Returns:
        The event to record; None if nothing is known.
    """
    effects: list[Effect] = []
    runs: list[str] = []
    for folder in project.runs()[:MOST_RUNS]:
        try:
            state = read_state(folder)
        except (UsageError, JournalError, OSError):
            continue
        if state.config is None or folder.name == config.name or not comparable(state.config, config):
            continue
        if found := list(effects_of(state))[: MOST_EFFECTS - len(effects)]:
            effects += found
            runs.append(folder.name)
    shipped = [
        effect
        for night in TARGET.measured
        if config.executor == "local" and night.about(config.profile, config.dataset) and _near(night.budget_s, config)
        for effect in night.effects
    ]
    if not effects and not shipped:
        return None
    return ev.Earlier(effects=(*effects, *shipped), runs=tuple(runs), shipped=len(shipped))


def comparable(other: RunConfig, config: RunConfig) -> bool:
    """Return whether effects in a run with the configuration `other` say something about one with `config`."""
    same = ("fingerprint", "device", "profile", "executor")
    return all(getattr(other, name) == getattr(config, name) for name in same) and _near(other.budget_s, config)


def effects_of(state: State) -> Iterator[Effect]:
    """Yield the effect of each scored experiment whose change the agent has noted as ideas of the book and constants."""
    for one in state.experiments.values():
        if one.gain is not None and one.revised is None and _noted(one):
            before, after = one.notes.before or {}, one.notes.knobs or {}
            yield Effect(gain=round(one.gain, 5), edits=one.notes.edits or (), before=before, after=after)


def _noted(one: Experiment) -> bool:
    before, after = one.notes.before or {}, one.notes.knobs or {}
    return bool(one.notes.edits or after) and before.keys() == after.keys()


def _near(budget_s: float, config: RunConfig) -> bool:
    return 1 / BUDGET_RATIO <= budget_s / config.budget_s <= BUDGET_RATIO
