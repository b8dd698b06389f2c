"""What a tracker gets of the start and of an experiment, from the state of the run and the files of a training. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.change import knobs
from core.judging.gain import Scale
from core.model import Value
from core.record.events import Measured
from core.record.experiment import Experiment
from core.record.state import State
from core.reporting import findings
from core.reporting.changes import LINE, short_name, topic
from core.track.tracked import Point, Tracked
from nanochat.contract import metrics

START = "start"  # title and verdict of the start
ID_LETTERS = 16  # of the id of the run, in the id of an experiment
GROUP_LETTERS = 6  # the same in the name of the group
TRAIN = "train/"  # before the names of values of a training
GB = 1e9


@dataclass(frozen=True)
class Files:
    """What the folder of a run holds of one training: train.py if it is there, and the lines of its metrics.jsonl."""

    source: str | None = None
    metrics: Sequence[str] = ()


def trackable(state: State) -> list[Experiment]:
    """Return the experiments that were trained and have a verdict on their idea, by number."""
    experiments = (state.experiments[number] for number in sorted(state.experiments))
    return [
        experiment
        for experiment in experiments
        if experiment.verdict is not None and experiment.verdict.group != "cut short" and state.training_of(experiment)
    ]


def start(state: State, files: Files) -> Tracked | None:
    """Return the start of a run. None before it has a score."""
    commit = state.start_commit.commit if state.start_commit is not None else ""
    measured, score = state.facts.get(commit), state.mean(commit)
    if measured is None or score is None:
        return None
    config: dict[str, Value] = {"change": START, "verdict": START, "commit": commit}
    summary = {"val_bpb": score, **_training_figures(measured), "seconds": measured.result.total_wall_s}
    return _tracked(state, 0, START, "", config, summary, measured, files, known=_start_knobs(state))


def experiment(state: State, number: int, sigma: float, files: Files) -> Tracked:
    """Return an experiment of a run, which must be one of `trackable`.

    Args:
        state: The state of the run.
        number: The number of the experiment.
        sigma: Noise of one score, in bpb.
        files: What the folder of the run holds of its training.
    """
    judged = state.experiments[number]
    verdict, measured, scale = judged.verdict, state.training_of(judged), Scale(state)
    assert verdict is not None and measured is not None
    parents = {state.experiments[kept].kept_as: kept for kept in state.kept}
    change = scale.change(judged)
    finding = findings.shown(judged, scale)
    config: dict[str, Value] = {
        "change": short_name(judged, LINE), "hypothesis": judged.hypothesis, "agent": judged.agent, "topic": topic(judged),
        "verdict": verdict.words, "finding": finding, "parent": parents.get(judged.parent, 0), "commit": judged.commit,
    }  # fmt: skip
    figures = {
        "val_bpb": scale.of(judged), "change": change, "change_error": scale.error(judged, sigma),
        "pairs": float(scale.pairs(judged)), "kept": float(verdict.kept), "seconds": judged.seconds,
    }  # fmt: skip
    summary = {**_training_figures(measured), **{name: value for name, value in figures.items() if value is not None}}
    notes = "\n\n".join(filter(None, (judged.hypothesis, finding)))
    return _tracked(
        state, number, short_name(judged, LINE), notes, config, summary, measured, files, known=judged.notes.knobs or {}
    )


def curve(lines: Iterable[str]) -> tuple[Point, ...]:
    """Return the points of a metrics.jsonl with increasing steps. Invalid lines and values are skipped."""
    points: dict[int, Point] = {}
    for line in lines:
        one = metrics.point(line)
        if one is not None and one.values and one.step >= 0 and 0 <= one.progress <= 1:
            values = {TRAIN + name: value for name, value in one.values.items()}
            points[one.step] = Point(one.step, one.progress, {**values, f"{TRAIN}progress": one.progress})
    return tuple(points[step] for step in sorted(points))


def _tracked(
    state: State,
    number: int,
    title: str,
    notes: str,
    config: Mapping[str, Value],
    summary: Mapping[str, float],
    measured: Measured,
    files: Files,
    known: Mapping[str, Value],
) -> Tracked:
    """Return what a tracker gets. `known`: the knobs that the record names, for when train.py is gone."""
    assert state.config is not None
    run = state.config
    settings: dict[str, Value] = {
        "run": run.name, "run_id": state.id, "experiment": number, "dataset": run.dataset, "device": run.device,
        "profile": run.profile, "executor": run.executor, "budget_s": run.budget_s, "run_seed": run.seed, "seed": measured.seed,
    }  # fmt: skip
    return Tracked(
        id=f"{state.id[:ID_LETTERS]}-{number:05d}", group=f"{run.name}-{state.id[:GROUP_LETTERS]}", number=number,
        title=title, verdict=str(config["verdict"]), failed=measured.result.val_bpb is None, notes=notes,
        config={**settings, **config, **(_knobs(files.source) or known)}, summary=summary, curve=curve(files.metrics),
        begun_t=measured.t - measured.result.total_wall_s, ended_t=measured.t,
    )  # fmt: skip


def _training_figures(measured: Measured) -> dict[str, float]:
    """Return the figures of a training that were measured."""
    result = measured.result
    figures = {
        "params": result.params, "steps": result.steps, "peak_memory_gb": result.peak_memory / GB,
        "tokens_per_s": result.tokens / result.charged_s if result.charged_s else 0.0, "final_loss": result.final_loss,
    }  # fmt: skip
    return {name: float(value) for name, value in figures.items() if value}


def _start_knobs(state: State) -> Mapping[str, Value]:
    return state.start_commit.knobs if state.start_commit is not None else {}


def _knobs(source: str | None) -> dict[str, Value]:
    """Return all knobs of a train.py; empty if it is gone or not Python."""
    try:
        return {knob.name: knob.value for knob in knobs.read(source)} if source is not None else {}
    except SyntaxError:
        return {}
