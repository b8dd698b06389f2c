"""Reads what `compare` and the app show of two experiments or two runs. Writes nothing."""

from __future__ import annotations

from pathlib import Path

from core.change import edits
from core.judging import schedule
from core.machine.project import UsageError
from core.record import journal
from core.record.experiment import Experiment, experiment_id
from core.record.fold import apply
from core.record.state import State
from core.reporting import run_comparison
from core.reporting.comparison import START, Comparison, comparison
from core.reporting.results import BEST_DIFF
from core.reporting.run_comparison import Moment, RunComparison, RunFacts, RunMaterial, RunPair
from core.run.reading import check_header, read_state, read_status, status_of

MOST_TRIES = 20  # experiments from whose files the start is restored


def compare(state: State, folder: Path, numbers: tuple[int, int], sigma: float, *, alive: bool) -> Comparison:
    """Compare two experiments of a run.

    Args:
        state: The state of the run.
        folder: Its folder.
        numbers: The experiments; 0 for the start.
        sigma: Noise of one score, in bpb.
        alive: Whether its loop runs.

    Raises:
        KeyError: There is no such experiment.
    """
    first, second = (source(state, folder, number) for number in numbers)
    return comparison(state, sigma, numbers, (first, second), alive=alive)


def source(state: State, folder: Path, number: int) -> str | None:
    """Return the train.py of an experiment, or of the start for 0; None if the files do not tell. Raises KeyError."""
    if number != START:
        return _experiment_source(folder, state.experiments[number])
    best, diff = _read(folder / "train.py"), _read(folder / BEST_DIFF)
    if best is not None and (diff is not None or not state.kept):
        restored = edits.undone(best, diff or "")
        if restored is not None:
            return restored
    start = state.start_commit.commit if state.start_commit is not None else ""
    children = [experiment for experiment in state.experiments.values() if experiment.parent == start]
    for child in children[:MOST_TRIES]:
        new, diff = _experiment_source(folder, child), _read(_folder(folder, child) / "change.diff")
        if new is not None and diff and (restored := edits.undone(new, diff)) is not None:
            return restored
    return None


def compare_runs(first: Path, second: Path) -> RunComparison:
    """Compare two runs. Raises UsageError or JournalError if one cannot be read, or is gone."""
    return read_runs(first, second).comparison


def read_runs(first: Path, second: Path) -> RunPair:
    """Compare two runs, and read their kept changes, their progress and their best train.py. Raises as `compare_runs`."""
    (facts, material), (other_facts, other_material) = map(_read_run, (first, second))
    return run_comparison.run_pair(run_comparison.run_comparison(facts, other_facts), (material, other_material))


def compare_experiments(folder: Path, first: str, second: str) -> Comparison:
    """Compare two experiments that a user has named: by number, or "start" or "best".

    Raises:
        UsageError: A name is unknown, both are the same, or the run has no header yet.
        JournalError: The journal cannot be read.
    """
    state = read_state(folder)
    numbers = _number(state, first), _number(state, second)
    if numbers[0] == numbers[1]:
        none = f"Run {state.name} has kept no change, so its best is the start. "
        is_best = numbers[0] == START and "best" in (first, second)
        raise UsageError(
            f"{none if is_best else ''}{first} and {second} are the same experiment. Name two different ones."
        )
    alive = read_status(folder).loop.alive
    return compare(state, folder, numbers, schedule.noise(state).sigma, alive=alive)


def _number(state: State, name: str) -> int:
    """Return the experiment that a user has named."""
    word = name.strip().removeprefix("#").lower()
    if word in ("start", "baseline"):
        return START
    if word == "best":
        return state.kept[-1] if state.kept else START
    has = f"#1 to #{max(state.experiments)}" if state.experiments else "no experiment yet"
    known = f"Run {state.name} has {has}"
    if not (word.isascii() and word.isdigit()):
        raise UsageError(
            f"{name} names no experiment. Give a number, start or best; --runs compares two runs. {known}."
        )
    if int(word) != START and int(word) not in state.experiments:
        raise UsageError(f"There is no experiment #{int(word)}. {known}.")
    return int(word)


def _read_run(folder: Path) -> tuple[RunFacts, RunMaterial]:
    if not (folder / journal.NAME).exists():
        raise journal.RunGone(journal.DELETED.format(run=folder.name))
    state, moments = State(name=folder.name), list[Moment]()
    for event in journal.read(folder / journal.NAME):
        before = state.kept[-1:]
        apply(state, event)
        if state.kept[-1:] != before:
            best = state.kept[-1] if state.kept else START
            moments.append(Moment(best=best, trainings=state.ended, hours=state.worked_s / 3600))
    check_header(state, folder)
    status = status_of(state, folder)
    material = RunMaterial(
        progress=run_comparison.progress(state, moments),
        source=source(state, folder, state.kept[-1] if state.kept else START),
    )
    return run_comparison.facts(state, status), material


def _experiment_source(folder: Path, experiment: Experiment) -> str | None:
    return _read(_folder(folder, experiment) / "train.py")


def _folder(folder: Path, experiment: Experiment) -> Path:
    return folder / experiment_id(experiment.number)


def _read(path: Path) -> str | None:
    """Return a text with its line ends as they are; None if it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
