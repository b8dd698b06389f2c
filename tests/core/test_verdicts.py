"""The table of verdicts."""

from __future__ import annotations

from core.verdicts import Verdict


def test_every_verdict_has_a_letter_a_name_and_an_explanation_of_its_own() -> None:
    for column in ("letter", "words", "about"):
        values = [getattr(verdict, column) for verdict in Verdict]
        assert all(values) and len(set(values)) == len(values), column


def test_an_idea_loses_by_its_results_and_not_by_what_the_machine_or_a_human_did() -> None:
    assert {verdict.value for verdict in Verdict if verdict.lost} == {
        "discard", "crash", "timeout", "overrun", "invalid",
    }  # fmt: skip
    assert {verdict.value for verdict in Verdict if not verdict.tried} == {
        "skipped", "interrupted", "conflict", "disturbed",
    }  # fmt: skip
