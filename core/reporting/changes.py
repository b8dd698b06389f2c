"""The name and the topic of a change, for tables and charts. Pure."""

from __future__ import annotations

from core.record.experiment import Experiment
from core.reporting.phrases import one_line
from core.target import TARGET

LISTED = 2  # parts of a combination that its name lists
NAME = 46  # characters of the short name of a change
CLAUSE = (": ", "; ", ". ", " (", ", ")  # where the first clause of a hypothesis ends


def short_name(experiment: Experiment) -> str:
    """Return a name for a change of at most NAME characters: its constants with their values, or else its first clause."""
    notes = experiment.notes
    if experiment.ablation is not None:  # "without #3: ..." says both what was taken out and how
        return _cut(one_line(experiment.hypothesis, 400))
    is_sentence = len(notes.edits or ()) == 1 and not notes.knobs  # its hypothesis says more than the name of the edit
    if experiment.revised is None and (notes.knobs or notes.edits) and not is_sentence:
        before = notes.before or {}
        moves = [f"{name} {before[name]} → {value}" for name, value in (notes.knobs or {}).items() if name in before]
        parts = [*moves, *(notes.edits or ())]
        if parts and len(parts) <= LISTED and len(words := ", ".join(parts)) <= NAME:
            return one_line(words, NAME)
        if parts and len(parts[0]) < NAME - 4:
            return one_line(f"{parts[0]}, +{len(parts) - 1}", NAME)
    words = one_line(experiment.hypothesis, 400)
    clause = min((words[:at] for end in CLAUSE if (at := words.find(end)) > 0), key=len, default=words).rstrip(".")
    return _cut(clause)


def _cut(clause: str) -> str:
    """Return a text of at most NAME characters, cut between words where that leaves enough."""
    if len(clause) <= NAME:
        return clause
    kept = clause[: NAME - 1]
    return f"{kept.rsplit(' ', 1)[0] if ' ' in kept[NAME // 2 :] else kept}…"


def topic(experiment: Experiment) -> str:
    """Return the target's topic of an experiment: the agent's, or that of the constant it changes; "" if there is none."""
    named = experiment.topic.strip().casefold()
    for name, others in TARGET.topics.items():
        if named == name or named in others:
            return name
    constants = [*(experiment.notes.knobs or ()), *(name for name in experiment.notes.idea or () if name.isupper())]
    return TARGET.topic_of(constants[0]) if constants else ""
