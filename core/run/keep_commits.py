"""The commits of kept changes on the run's branch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict

from core.change import knobs, parts, touched
from core.judging import gain
from core.record import events as ev
from core.record.experiment import Experiment
from core.reporting import phrases
from core.reporting.changes import joined, short_name
from core.target import TARGET

if TYPE_CHECKING:
    from core.run.active import ActiveRun

SUBJECT = 72  # characters of the first line of a message
NUMBER = re.compile(r"#\d")  # of an experiment, which says nothing outside of the run
UNSCORED = "This part was not measured alone. The last part has the score of all."


class KeepCommits(TypedDict):
    """The fields of `Judged` that name commits."""

    commit: str
    parts: tuple[ev.KeptPart, ...]


def commit_change(active: ActiveRun, experiment: Experiment, judged: ev.Judged) -> KeepCommits:
    """Commit a kept change on top of the incumbent. Each change of a combination gets its own commit.

    Nothing points at the commits yet. If the loop is killed before they are recorded, the next one makes them again.

    Args:
        active: The run.
        experiment: The experiment to keep.
        judged: Its verdict.

    Returns:
        The commits. The last one has the tree that was judged, and the scores in its message.
    """
    incumbent, source = active.state.incumbent, active.source(experiment.commit)
    steps = _steps(active, experiment, source)
    kept_parts: list[ev.KeptPart] = []
    parent = incumbent
    for index, step in enumerate(steps, 1):
        name = _part_subject(step.name, f" (part {index} of {len(steps)})")
        hypothesis, scores = _one_line(experiment.hypothesis), _scores(active, experiment, judged)
        body = f"{hypothesis}\n\n{scores}"
        if len(steps) == 1:
            name = _change_subject(experiment, active.source(experiment.parent), source)
            body = scores if name == hypothesis else body
        elif index < len(steps):
            body = f"{UNSCORED}\nExperiment {judged.number} of run {active.name}, proposed by {experiment.agent}."
        parent = active.repo.commit(parent, step.source, message(name, body))
        kept_parts.append(ev.KeptPart(name=step.name, commit=parent))
    return KeepCommits(commit=parent, parts=tuple(kept_parts) if len(kept_parts) > 1 else ())


def _steps(active: ActiveRun, experiment: Experiment, source: str) -> tuple[parts.Step, ...]:
    """Return the changes of a combination. A change that the human revised, or that is not a combination, is one step."""
    noted = experiment.notes.parts or ()
    incumbent = active.state.incumbent
    if len(noted) < 2 or experiment.revised is not None or experiment.parent != incumbent:
        return (parts.Step("", source),)
    return parts.steps(active.source(incumbent), source, noted, off_limits=active.program.charter.off_limits)


def _scores(active: ActiveRun, experiment: Experiment, judged: ev.Judged) -> str:
    """Return the scores and the verdict as the body of a commit message."""
    scale = gain.Scale(active.state)
    parent = scale.score(experiment.parent)
    assert experiment.val_bpb is not None and parent is not None
    change = (scale.change(experiment) or 0.0) if judged.gain is None else TARGET.change(judged.gain)
    return (
        f"{TARGET.metric} {parent:.6f} -> {parent + change:.6f} ({phrases.change(change, digits=6)} over {judged.pairs} pairs on the same "
        f"seeds, noise {judged.sigma:.6f}; {TARGET.better_sign}).\n"
        f"Verdict: {judged.verdict}{', ' + judged.reason if judged.by else ''}. "
        f"Experiment {judged.number} of run {active.name}, proposed by {experiment.agent}."
    )


def _change_subject(experiment: Experiment, before: str, after: str) -> str:
    """Return the subject for a change that is one commit: its hypothesis if that fits, else the names of what it changes."""
    line, notes = _one_line(experiment.hypothesis), experiment.notes
    if NUMBER.search(line):  # such as "Undo #7"
        moved = knobs.moved(before, after)
        moves = [f"{name} {old} -> {new}" for name, (old, new) in moved.items()]
        names = [*moves, *(name for name in touched.touched(before, after) if name not in moved)]
        return joined(names or [line], SUBJECT)
    is_named = experiment.revised is None and (notes.knobs or notes.edits)
    if len(line) <= SUBJECT or not is_named:
        return line
    return short_name(experiment, SUBJECT).replace("→", "->")


def _part_subject(name: str, place: str) -> str:
    """Return the subject of a part. A long name is cut, so that its place is seen."""
    line = _one_line(name)
    room = SUBJECT - len(place)
    return f"{line if len(line) <= room else f'{line[: room - 3]}...'}{place}"


def message(subject: str, body: str) -> str:
    """Return a commit message. A subject over SUBJECT characters is cut, and stands above the body in full."""
    line = _one_line(subject)
    if len(line) <= SUBJECT:
        return f"{line}\n\n{body}"
    return f"{line[: SUBJECT - 3]}...\n\n{line}\n\n{body}"


def _one_line(hypothesis: str) -> str:
    return " ".join(hypothesis.split()) or "A change without a hypothesis"
