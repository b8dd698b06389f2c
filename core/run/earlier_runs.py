"""What earlier runs on the same data have measured, for the agent of a new run."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from msgspec import structs

from core.machine.project import Project
from core.model import Effect, RunConfig
from core.record import events as ev
from core.record.experiment import Experiment
from core.record.state import State
from core.run.choose_run import try_read_header
from core.run.reading import read_state
from core.target import TARGET
from core.target.target import Measured

BUDGET_RATIO = 2.0  # effects change with the budget; those of runs within this factor of it are used
MOST_RUNS, MOST_EFFECTS = 20, 400
BOOK = frozenset(entry.name for entry in TARGET.book)


def known_effects(project: Project, config: RunConfig) -> ev.Earlier | None:
    """Return what is known when a run with this configuration begins: from runs in these logs, and what comes with the target.

    Runs that cannot be read are left out. The same change in several experiments counts once, with the mean of its gains.

    Returns:
        The event to record; None if nothing is known. A rehearsal knows nothing, since its scores come from a table.
    """
    if config.computed:
        return None
    effects: list[Effect] = []
    runs: list[str] = []
    for folder in islice(_comparable_runs(project, config), MOST_RUNS):
        own = _effects_in(folder)[: MOST_EFFECTS - len(effects)]
        if own:
            effects += own
            runs.append(folder.name)
        if len(effects) >= MOST_EFFECTS:
            break
    shipped = [effect for night in TARGET.measured for effect in _shipped(night, config)]
    if not effects and not shipped:
        return None
    return ev.Earlier(effects=merged([*effects, *shipped]), runs=tuple(runs), shipped=len(shipped), own=len(effects))


def _shipped(night: Measured, config: RunConfig) -> Iterator[Effect]:
    """Yield what a recorded night says about a run with this configuration: its effects, or only those of ideas under other conditions."""
    if night.about(config) and _near(night.budget_s, config):
        yield from night.effects
    else:
        yield from (structs.replace(one, noise=night.noise) for one in night.effects if one.edits and not one.after)


def lessons(project: Project, config: RunConfig, origin: str | None) -> ev.Lessons | ev.Notice:
    """Return the lessons with which a run with this configuration begins, or a notice that no lessons exist.

    Args:
        project: The source tree and its logs.
        config: The configuration of the new run.
        origin: The run that it starts from. None for the latest run with lessons on the same data.
    """
    folders = [project.pick(origin)] if origin is not None else _comparable_runs(project, config)
    for folder in folders:
        with contextlib.suppress(Exception):  # whatever is wrong with an old journal must not prevent a new run
            earlier_lessons = read_state(folder).lessons
            if earlier_lessons is not None:
                return ev.Lessons(lines=earlier_lessons.lines, agent=earlier_lessons.agent, source=folder.name)
    where = f"Run {origin} has" if origin is not None else "Earlier runs on the same data have"
    return ev.Notice(text=f"{where} no lessons, so this run begins without any.")


def effects_of(state: State) -> Iterator[Effect]:
    """Yield the effect of each scored experiment, the newest first, whose change is noted as ideas of the book and constants."""
    for experiment in reversed(state.experiments.values()):
        if (
            experiment.gain is not None
            and math.isfinite(experiment.gain)
            and experiment.revised is None
            and _noted(experiment)
        ):
            before, after = experiment.notes.before or {}, experiment.notes.knobs or {}
            yield Effect(
                gain=round(experiment.gain, 5), edits=experiment.notes.edits or (), step=experiment.notes.step, before=before, after=after
            )  # fmt: skip


def _comparable_runs(project: Project, config: RunConfig) -> Iterator[Path]:
    """Yield the folders of runs whose effects say something about a run with this configuration, those started last first."""
    same = ("fingerprint", "device", "profile", "executor")
    for folder in project.runs():
        other = try_read_header(folder)
        if folder.name == config.name or other is None or not _near(other.budget_s, config):
            continue
        if all(getattr(other, name) == getattr(config, name) for name in same):
            yield folder


def _effects_in(folder: Path) -> list[Effect]:
    try:
        return list(effects_of(read_state(folder)))
    except Exception:  # whatever is wrong with an old journal must not prevent a new run
        return []


def merged(effects: list[Effect]) -> tuple[Effect, ...]:
    """Return one effect for each change, with the mean of its gains."""
    groups: dict[tuple[object, ...], list[Effect]] = {}
    for effect in effects:
        key = (effect.edits, tuple(effect.before.items()), tuple(effect.after.items()), effect.noise)
        groups.setdefault(key, []).append(effect)
    return tuple(_mean(group) for group in groups.values())


def _mean(group: list[Effect]) -> Effect:
    times = [one.times for one in group]
    gain = statistics.fmean([one.gain for one in group], times)
    return structs.replace(group[0], gain=round(gain, 5), times=sum(times))


def _noted(experiment: Experiment) -> bool:
    before, after, edits = experiment.notes.before or {}, experiment.notes.knobs or {}, experiment.notes.edits or ()
    return bool(edits or after) and before.keys() == after.keys() and BOOK.issuperset(edits)


def _near(budget_s: float, config: RunConfig) -> bool:
    return budget_s <= BUDGET_RATIO * config.budget_s and config.budget_s <= BUDGET_RATIO * budget_s
