"""What agents note with a proposal: typed in Python, and in the journal as it was before it had types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.agents.base import AgentFailed, CharterSummary
from core.agents.llm.cost_counter import CostCounter
from core.model import NO_COST, NO_NOTES, STAGES, Cost, FormCost, Notes, Part, Proposal
from core.record import events as ev
from core.record import journal
from core.record.fold import fold
from tests.core.judging.test_schedule import CONFIG

FULL = Notes(
    format="edits", model="ollama:m", seconds=2.5, tries=3, tokens=0, prompt_tokens=90, repeats=0,
    forms={"edits": FormCost(asked=3, answered=2, parsed=2, applied=1, passed=1, tokens=90, seconds=2.4)},
    thinking="thinking off and 4000 tokens", operator="draft", on=(3, 4), dropped="combine",
    given=("a longer warm-up",), follows="a longer warm-up", later=("less decay",),
    knobs={"LR": 0.02, "DEPTH": 4, "TIED": True, "WINDOW": "SL"}, edits=("relu2",),
    parts=(Part(name="WIDTH 64 -> 96", gain=0.01, error=0.002, knobs={"WIDTH": 96}, edits=("relu2",)),), without=(12, 2),
    before={"LR": 0.01, "DEPTH": 3, "TIED": False, "WINDOW": "L"}, expected=(0.01, 0.002), step="LR up", said="2: LR up", aside="only size",
    instead="claude", why="It is at its limit.", line=7, idea=("LR", "MLP.forward"),
    own={"mood": "bold", "seen": [1, 2.5, None], "drawn": {"LR": 0.02, "TIED": True}, "last": None},
)  # fmt: skip

# As the agents wrote them when notes were a dict.
ROW = {"asked": 2, "answered": 2, "parsed": 1, "applied": 1, "passed": 1, "tokens": 40, "seconds": 1.25}
NONE = dict.fromkeys(("asked", "answered", "parsed", "applied", "passed", "tokens"), 0) | {"asked": 1, "seconds": 5.0}
KNOB = {
    "knobs": {"LR": 0.02},
    "edits": [],
    "from": {"LR": 0.01},
    "step": "LR up",
    "said": "1: LR up",
    "aside": "only size",
}
MODEL = {
    "format": "edits", "model": "ollama:m", "seconds": 1.3, "tries": 2, "tokens": 10, "prompt_tokens": 30, "repeats": 0,
    "forms": {"edits": ROW},
}  # fmt: skip
WRITTEN: tuple[dict[str, Any], ...] = (
    {},
    KNOB | {"idea": ["LR"]},
    {"edits": ["relu2"], "knobs": {}, "idea": []},
    {"knobs": {"A": 1, "B": True}, "edits": ["x"], "from": {"A": 2, "B": False}, "expected": [0.01, 0.00212], "idea": ["A"]},
    {"knobs": {"LR": 0.02}, **MODEL, "thinking": "thinking off and 4000 tokens", "idea": ["LR"]},
    KNOB | MODEL | {"tries": 0, "forms": {}, "instead": "ollama:m", "why": "It does not answer.", "idea": ["LR"]},
    {"instead": "ollama:m", "why": "no", "model": "ollama:m", "tries": 1, "tokens": 0, "forms": {"edits": NONE}, "idea": []},
    {"model": "claude", "seconds": 31.0, "idea": ["MLP.forward"]},
    {"line": 4, "idea": ["K5"]},
    {"knobs": {"LR": 0.02}, "said": 3},
)  # fmt: skip


def line(notes: object, kind: str = "proposed") -> bytes:
    """A line of a journal with these notes."""
    fields: dict[str, object] = {"type": "charter", "t": 1.0, "sha": "s"}
    if kind == "proposed":
        fields = {"type": "proposed", "t": 1.0, "number": 1, "commit": "c", "parent": "p", "fingerprint": "f"}
        fields |= {"hypothesis": "h", "agent": "a", "charter": "s"}
    return msgspec.json.encode(fields | ({"meta": notes} if notes else {}))


def read(folder: Path, *lines: bytes, schema: int = ev.SCHEMA) -> list[ev.AnyEvent]:
    """The events of a journal with these lines after its header, read as a whole."""
    header = msgspec.json.encode(ev.Created(v=schema, config=CONFIG))
    path = folder / journal.NAME
    path.write_bytes(b"".join(one + b"\n" for one in (header, *lines)))
    return list(journal.read(path))[1:]


def test_all_notes_are_read_back_as_they_were() -> None:
    unset = [name for name in Notes.__struct_fields__ if getattr(FULL, name) == getattr(NO_NOTES, name)]
    assert not unset, "the example has all of them"
    for proposal in (Proposal(hypothesis="h", notes=FULL), Proposal(hypothesis="h")):
        assert msgspec.json.decode(msgspec.json.encode(proposal), type=Proposal) == proposal
    assert json.loads(msgspec.json.encode(Proposal(hypothesis="h", notes=FULL)))["meta"]["from"] == FULL.before


@pytest.mark.parametrize("notes", WRITTEN)
@pytest.mark.parametrize("schema", [1, 2])
def test_the_journal_has_the_notes_as_before(tmp_path: Path, notes: dict[str, Any], schema: int) -> None:
    (event,) = read(tmp_path, line(notes), schema=schema)
    assert isinstance(event, ev.Proposed) and event.notes.own is None
    assert json.loads(msgspec.json.encode(event)) == json.loads(line(notes))


def test_a_restatement_has_its_cost_where_it_had_it_before(tmp_path: Path) -> None:
    paid, free = read(tmp_path, line(MODEL, "charter"), line({}, "charter"))
    assert isinstance(paid, ev.Charter) and isinstance(free, ev.Charter)
    assert json.loads(msgspec.json.encode(paid)) == json.loads(line(MODEL, "charter"))
    assert paid.cost.all_tokens == 40 and free.cost == NO_COST and b"meta" not in msgspec.json.encode(free)
    assert fold([paid, free]).restatings == [paid.cost]
    given = CharterSummary.of(["aim: low"])
    assert b"meta" not in msgspec.json.encode(ev.Charter(sha="s", cost=given.cost))


@pytest.mark.parametrize("schema", [1, 2])
def test_strange_notes_of_a_journal_are_read_as_notes_of_the_agents_own(tmp_path: Path, schema: int) -> None:
    strange = {
        "line": 3, "drawn": {"LR": 0.02}, "parts": [4, 7], "mood": "bold", "deep": {"a": [{}]}, "tokens": "many", "idea": "LR",
        "forms": {"edits": 5}, "knobs": {"LR": [1]}, "tries": None,
    }  # fmt: skip
    found = read(
        tmp_path,
        line({"line": 2}),
        line(strange),
        line({"own": {"a": 1}, "b": 2}),
        line({"own": None, "c": 3}),
        schema=schema,
    )
    own = {
        "drawn": {"LR": 0.02}, "parts": [4, 7], "mood": "bold", "tokens": "many", "idea": "LR", "forms": {"edits": 5},
    }  # fmt: skip
    assert [event.notes for event in found if isinstance(event, ev.Proposed)] == [
        Notes(line=2), Notes(line=3, own=own), Notes(own={"a": 1, "b": 2}), Notes(own={"c": 3}),
    ]  # fmt: skip
    for event in found:  # as a resumed run writes them again
        assert journal.decode(msgspec.json.encode(event), 1, tmp_path, schema=2) == event


@pytest.mark.parametrize("schema", [1, 2])
def test_strange_costs_of_a_restatement_are_left_out(tmp_path: Path, schema: int) -> None:
    (event,) = read(tmp_path, line({"model": "m", "tokens": "many", "mood": 1}, "charter"), schema=schema)
    assert isinstance(event, ev.Charter) and event.cost == Cost(model="m")


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize("notes", [3, ["a"], "words"])
def test_notes_that_are_not_an_object_are_damage(tmp_path: Path, notes: object, schema: int) -> None:
    with pytest.raises(journal.JournalError, match="Line 2 of"):
        read(tmp_path, line(notes), schema=schema)


def test_notes_of_a_later_version_are_kept_and_its_counts_do_no_harm(tmp_path: Path) -> None:
    (event,) = read(tmp_path, line({"tries": 2, "newer": 1, "forms": {"edits": ROW | {"judged": 1}}}))
    assert isinstance(event, ev.Proposed) and event.notes.own == {"newer": 1}
    assert event.notes.tries == 2 and event.notes.forms == {"edits": FormCost(**ROW)}


def test_costs_are_added_to_notes_without_losing_others() -> None:
    notes = Notes(knobs={"LR": 0.1}, format="knob", model="mine", tokens=5, own={"a": 1})
    cost = Cost(model="ollama:m", tries=2, tokens=0, forms={})
    expected = Notes(knobs={"LR": 0.1}, format="knob", model="ollama:m", tries=2, tokens=0, forms={}, own={"a": 1})
    assert notes.updated(cost) == expected and notes.updated(NO_COST) == notes
    assert Cost(format="edits").updated(cost) == Cost(format="edits", model="ollama:m", tries=2, tokens=0, forms={})


@pytest.mark.parametrize("cost", [{"tokens": "many"}, Cost(tokens=1.5), Cost(forms={"edits": object()}), 3, None])  # type: ignore[arg-type, dict-item]
def test_an_invalid_cost_never_reaches_the_journal(cost: Any) -> None:
    with pytest.raises(AgentFailed, match="is not a Cost"):
        raise AgentFailed("It failed.", cost=cost)


def test_what_a_model_cost_is_counted_by_stage() -> None:
    counter = CostCounter("ollama:m")
    for stage in STAGES:
        counter.count_attempt("edits", stage, tokens=10, prompt_tokens=1)
    counter.count_attempt("knob", "asked")
    found = json.loads(msgspec.json.encode(counter.cost))
    assert list(found) == ["model", "seconds", "tries", "tokens", "prompt_tokens", "repeats", "forms"]
    assert (found["tries"], found["tokens"], found["prompt_tokens"], found["repeats"]) == (6, 50, 5, 0)
    assert [found["forms"]["edits"][stage] for stage in STAGES] == [5, 4, 3, 2, 1]
    assert found["forms"]["edits"]["tokens"] == 55 and list(found["forms"]["knob"].values()) == [1, 0, 0, 0, 0, 0, 0.0]
    assert list(found["forms"]["edits"]) == [*STAGES, "tokens", "seconds"]
