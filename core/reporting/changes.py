"""The name and the topic of a change, for tables and charts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from core.record.experiment import Experiment
from core.reporting.phrases import one_line
from core.target import TARGET

NAME, LINE = 46, 72  # characters of a name in a chart, and of one in a line of text, such as the subject of a commit
CLAUSE = (": ", "; ", ". ", " (", ", ")  # where the first clause of a hypothesis ends


def short_name(experiment: Experiment, room: int = NAME) -> str:
    """Return a name for a change: its constants with their values and its edits, or else the first clause of its hypothesis.

    Args:
        experiment: The experiment.
        room: Characters that the name has at most.
    """
    return joined(parts(experiment), room)


def parts(experiment: Experiment) -> tuple[str, ...]:
    """Return the changes of an experiment, each in a few words. A combination has several."""
    notes = experiment.notes
    hypothesis = one_line(experiment.hypothesis, 400)
    if experiment.ablation is not None:  # its hypothesis says both what was taken out and how
        return (hypothesis,)
    is_sentence = len(notes.edits or ()) == 1 and not notes.knobs  # its hypothesis says more than the name of the edit
    if experiment.revised is None and (notes.knobs or notes.edits) and not is_sentence:
        before = notes.before or {}
        moves = [f"{name} {before[name]} → {value}" for name, value in (notes.knobs or {}).items() if name in before]
        if names := tuple(one_line(part, 400) for part in (*moves, *(notes.edits or ()))):
            return names
    clause = min((hypothesis[:at] for end in CLAUSE if (at := hypothesis.find(end)) > 0), key=len, default=hypothesis)
    return (clause.rstrip("."),)


def joined(names: Sequence[str], room: int) -> str:
    """Return names as a list of at most `room` characters. Those that do not fit are counted: "WIDTH 128 → 192, +2"."""
    for count in range(len(names), 0, -1):
        more = f", +{len(names) - count}" if count < len(names) else ""
        if len(words := ", ".join(names[:count]) + more) <= room:
            return words
    more = f", +{len(names) - 1}" if len(names) > 1 else ""
    return _cut(names[0], max(1, room - len(more))) + more


def _cut(clause: str, room: int) -> str:
    """Return a text of at most `room` characters, cut between words where that leaves enough."""
    if len(clause) <= room:
        return clause
    kept = clause[: room - 1]
    return f"{kept.rsplit(' ', 1)[0] if ' ' in kept[room // 2 :] else kept}…"


def topic(experiment: Experiment) -> str:
    """Return the target's topic of an experiment: the agent's, or that of the constant it changes; "" without one."""
    named = experiment.topic.strip().casefold()
    for name, others in TARGET.topics.items():
        if named == name or named in others:
            return name
    constants = [*(experiment.notes.knobs or ()), *(name for name in experiment.notes.idea or () if name.isupper())]
    return TARGET.topic_of(constants[0]) if constants else ""
