"""The message of the commit that `apply` makes on the user's branch. Pure."""

from __future__ import annotations

import textwrap

from core.judging import final_check, gain
from core.judging.noise import Noise
from core.record.state import State
from core.reporting import highlights, phrases
from core.target import TARGET

SUBJECT, BODY = 100, 72  # characters of the subject, and of a line of text in the body


def commit_message(state: State, noise: Noise) -> str:
    """Return the message: the gain and the run, then a line for each kept change, then the outcomes of the checks.

    Args:
        state: The state of a run that has kept a change.
        noise: Its noise.
    """
    subject = _subject(state, noise.sigma)
    changes = [f"Each change of {TARGET.metric} is against the best before it; {TARGET.better_sign}."]
    changes += [
        _item(f"{one.full_name}{f': {one.change_words}' if one.change_words else ''}")
        for one in highlights.kept(state, noise.sigma)
    ]
    if moved := phrases.set_for_machine(state):
        changes.append(f"- {moved}: {phrases.NOT_COMPARED}")
    name = [] if subject.endswith(f" {state.name}") else [f"Run: {state.name}"]
    texts = [*([f"This was {phrases.REHEARSAL}."] if _computed(state) else []), *phrases.checks(state, noise.sigma)]
    wrapped = [textwrap.fill(words, BODY, break_long_words=False, break_on_hyphens=False) for words in texts]
    return "\n\n".join([subject, *name, "\n".join(changes), *wrapped])


def _subject(state: State, sigma: float) -> str:
    """Return the first line, with the gain measured afresh once it was. A name of a run that does not fit is left out."""
    count = len(state.kept)
    check = final_check.outcome(state, sigma)
    difference = check if check is not None and check.complete else gain.so_far(state, sigma)
    scores = f"{TARGET.metric} {phrases.scores(difference)}: " if difference is not None else ""
    kept = f"{scores}{count} change{'s' if count > 1 else ''} kept by AutoResearch"
    subject = f"Rehearsal: {kept}" if _computed(state) else kept
    named = f"{subject} run {state.name}"
    return named if len(named) <= SUBJECT else subject


def _item(text: str) -> str:
    """Return an item of a list. Its further lines are indented."""
    return textwrap.fill(
        text, BODY, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _computed(state: State) -> bool:
    return state.config is not None and state.config.computed
