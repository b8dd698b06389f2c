"""The message of the commit that `apply` makes."""

from __future__ import annotations

import msgspec
import pytest

from core.judging import gain, schedule
from core.record.fold import apply
from core.record.live import Picture
from core.record.state import State
from core.reporting import log_lines, phrases, summary
from core.reporting.commit_message import SUBJECT, commit_message
from core.reporting.page import page
from core.reporting.status import status
from tests.core.reporting.reports import START, report_of, state_of
from tests.events import measurement


def message(state: State) -> list[str]:
    return commit_message(state, schedule.noise(state)).splitlines()


@pytest.mark.parametrize(("count", "kept"), [(10, "1 change kept"), (30, "3 changes kept")])
def test_the_subject_has_the_gain_and_the_run_and_the_body_the_changes(count: int, kept: str) -> None:
    state = state_of(count, keep_every=10, hypothesis="Raise LR to 0.{}: larger steps.")
    found = gain.so_far(state, schedule.noise(state).sigma)
    assert found is not None
    subject, empty, _, *changes = message(state)
    assert subject == f"val_bpb {phrases.scores(found)}: {kept} by AutoResearch run night" and "± 0.0" in subject
    assert empty == "" and len(subject) <= SUBJECT
    assert changes == [f"- Raise LR to 0.{number}: -0.0040 ± 0.0010" for number in state.kept]


def test_the_final_check_is_in_the_body() -> None:
    state = state_of(10, keep_every=10)
    for seed in (1, 2, 3):
        for commit, score in ((START, 1.2), (state.incumbent, 1.1)):
            apply(state, measurement(role="final check", commit=commit, seed=seed, val_bpb=score))
    body = " ".join(message(state)[1:])
    assert "Measured afresh on 3 fresh seeds and the test split: 1.2000 -> 1.1000 (-0.1000 ±" in body
    assert "The gain holds." in body and max(map(len, message(state)[1:])) <= 80


def test_a_name_that_does_not_fit_is_in_the_body() -> None:
    state = state_of(10, keep_every=10)
    state.name = "n" * 100
    subject, *body = message(state)
    assert len(subject) <= SUBJECT and subject.endswith("by AutoResearch") and f"Run: {state.name}" in body


def test_a_rehearsal_is_named_as_one() -> None:
    state = state_of(10, keep_every=10)
    assert state.config is not None and "ehearsal" not in "\n".join(message(state))
    state.config = msgspec.structs.replace(state.config, executor="deterministic:world.json")
    subject, *body = message(state)
    assert (
        subject.startswith("Rehearsal: val_bpb ")
        and len(subject) <= SUBJECT
        and "nothing was trained" in " ".join(body)
    )


@pytest.mark.parametrize(("before", "words"), [({"DEPTH": 2}, "DEPTH 2 -> 1"), ({}, "DEPTH = 1")])
def test_knobs_set_before_the_run_are_named_in_every_message(before: dict[str, int], words: str) -> None:
    """The start has it already, so the change from the start to the best does not show it."""
    state = state_of(10, keep_every=10)
    assert state.start_commit is not None
    state.start_commit = msgspec.structs.replace(state.start_commit, knobs={"DEPTH": 1}, before=before)
    facts = status(state, schedule.noise(state), None, Picture())
    assert f"- {words}: {phrases.NOT_COMPARED}" in message(state)
    assert f"{words} ({phrases.NOT_COMPARED}" in summary.text(summary.summary(facts))
    assert f"{words}: {phrases.NOT_COMPARED}." in summary.at_end(facts, "logs/x", "a branch")
    assert phrases.typeset(f"{words}, {phrases.NOT_COMPARED}") in (log_lines.line(state.start_commit, state) or "")
    assert phrases.typeset(f"{words} ({phrases.NOT_COMPARED})") in page(report_of(state))
    state.start_commit = msgspec.structs.replace(state.start_commit, knobs={"DEPTH": 2}, before={"DEPTH": 2})
    assert phrases.set_for_machine(state) == "", "it was not changed"
