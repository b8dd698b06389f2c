"""What the agent `search` makes of the effects that earlier runs have measured."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.agents.base import PastExperiment
from core.agents.search.agent import Search
from core.agents.search.joint import Change, Model, Record
from core.change import knobs
from core.model import Effect, Notes, Proposal
from core.target.book import BOOK
from tests.core.agents.search.test_agent import SOURCE, context, judged


def test_what_gained_in_earlier_runs_comes_first_and_what_lost_is_left() -> None:
    known = (
        Effect(gain=0.1, edits=("key-shift",)),
        Effect(gain=0.09, before={"DEPTH": 2}, after={"DEPTH": 3}),
        *(Effect(gain=-0.12, edits=(entry.name,)) for entry in BOOK if entry.name != "key-shift"),
        Effect(gain=-0.12, before={"MATRIX_LR": 0.02}, after={"MATRIX_LR": 0.034}),
    )
    past: tuple[PastExperiment, ...] = ()
    found: list[Proposal] = []
    for number in range(1, 8):
        proposal = Search().propose_now(replace(context(number, past), earlier=known))
        past += (judged(number, proposal, -0.001),)
        found.append(proposal)
    ideas = [proposal.notes.edits[0] for proposal in found if proposal.notes.edits]
    steps = [proposal.notes.step for proposal in found if proposal.notes.step]
    assert ideas[0] == "key-shift" and steps[0] == "DEPTH up"
    assert len(steps) >= 2 and "MATRIX_LR up" not in steps


def test_a_loss_on_one_side_of_a_knob_promises_nothing_on_the_other() -> None:
    known = (
        Effect(
            gain=-0.3, step="WIDTH down", before={"WIDTH": 128, "HEAD_DIM": 128}, after={"WIDTH": 64, "HEAD_DIM": 64}
        ),
        Effect(gain=0.3, before={"DEPTH": 1}, after={"DEPTH": 2}),  # from another value than the present one
    )
    plain, knowing = (Search().propose_now(replace(context(2), earlier=effects)) for effects in ((), known))
    assert plain.notes.step == knowing.notes.step == "DEPTH down" and plain.source == knowing.source


def test_a_step_that_lost_in_several_runs_is_left() -> None:
    """One loss of 1.9 standard deviations of a score may be luck. The mean of four such losses is not."""

    def steps(times: int) -> list[str]:
        known = Effect(gain=-0.015, before={"MATRIX_LR": 0.02}, after={"MATRIX_LR": 0.034}, times=times)
        past: tuple[PastExperiment, ...] = ()
        for number in range(1, 12):
            proposal = Search().propose_now(replace(context(number, past), earlier=(known,)))
            past += (judged(number, proposal, -0.001),)
        return [one.proposal.notes.step for one in past if one.proposal.notes.step]

    assert "MATRIX_LR up" in steps(1) and "MATRIX_LR up" not in steps(4)


def test_the_mean_of_several_runs_is_more_certain_than_one_gain() -> None:
    def expected(times: int, noise: float | None = None) -> float:
        known = Effect(gain=0.016, edits=("key-shift",), times=times, noise=noise)
        record = Record((), {}, 0.008, (known,))
        return Model(record.rows, {}, ("key-shift",)).expected.gain(Change({}, frozenset(("key-shift",))))

    assert expected(1) < expected(2) < expected(4) == expected(40) < 2, (
        "it depends on the other changes, so it stays uncertain"
    )
    assert expected(1, 0.008) == expected(4, 0.008), "other conditions stay other conditions"


def test_ideas_that_gained_in_earlier_runs_come_before_all_others() -> None:
    gains = {"bigrams": 0.03, "layer-norm": 0.018, "nadam": 0.02, "cosine": 0.007}  # the noise of one score is 0.008
    known = tuple(Effect(gain=gain, edits=(name,)) for name, gain in gains.items())

    def ideas(*earlier: Effect, charter: str = "Low val_bpb.") -> list[str]:
        past: tuple[PastExperiment, ...] = ()
        for number in range(1, 8):
            proposal = Search().propose_now(replace(context(number, past, charter), earlier=earlier))
            past += (judged(number, proposal, -0.001),)
        return [name for one in past for name in one.proposal.notes.edits or ()]

    assert ideas(*known)[:3] == ["bigrams", "nadam", "layer-norm"] and "cosine" not in ideas(*known)[:4]
    assert ideas()[:3] != ["bigrams", "nadam", "layer-norm"]
    elsewhere = tuple(replace(effect, gain=effect.gain / 8, noise=0.001) for effect in known)
    assert ideas(*elsewhere)[:3] == ["bigrams", "nadam", "layer-norm"], "in units of the noise there"
    assert "bigrams" not in ideas(*known, charter="Leave the embeddings alone.")


def test_what_an_earlier_run_measured_can_turn_out_otherwise() -> None:
    """It is worth as much as one measurement, so the present run's own scores outweigh it."""
    knob_list = {knob.name: knob for knob in knobs.read(SOURCE)}
    known = Effect(gain=0.016, edits=("key-shift",))
    proposal = Proposal(
        hypothesis="x", agent="search", notes=Notes(edits=("key-shift",), knobs={}), source=SOURCE + "\nx = 1\n"
    )
    past = replace(judged(1, proposal, -0.03), seeds=(1, 2, 3))
    change = Change({}, frozenset(("key-shift",)))
    expected = [
        Model(Record(rows, knob_list, 0.008, (known,)).rows, knob_list, ("key-shift",)).expected.gain(change)
        for rows in ((), (past,))
    ]
    assert expected[0] > 0 > expected[1] and expected[1] < -1


def test_what_was_measured_under_other_conditions_only_says_what_to_try_first() -> None:
    def expected(gain: float, noise: float | None) -> float:
        known = Effect(gain=gain, edits=("key-shift",), noise=noise)
        record = Record((), {}, 0.001, (known,))
        return Model(record.rows, {}, ("key-shift",)).expected.gain(Change({}, frozenset(("key-shift",))))

    unknown = Model((), {}, ("key-shift",)).expected.gain(Change({}, frozenset(("key-shift",))))
    lost, gained = expected(-0.03, 0.003), expected(0.03, 0.003)
    assert lost < unknown < gained < expected(0.01, None), "ten times the noise in both cases"
    assert expected(0.03, 0.003) == pytest.approx(expected(0.3, 0.03)), "it counts in units of the noise there"
