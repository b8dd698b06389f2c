"""Which agent of a team is asked next."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from core.agents.base import Context, PastExperiment
from core.agents.shares import MOST, OPENING, order
from core.model import Notes, Proposal
from core.record.experiment import AND_HUMAN
from core.verdicts import Verdict

SIGMA = 0.004
NAMES = ("model", "search", "other")


def past(number: int, agent: str, gain: float = -0.001, seconds: float = 70.0) -> PastExperiment:
    kept = gain > 0
    return PastExperiment(
        number=number, parent="p", fingerprint=f"f{number}", proposal=Proposal(hypothesis="h", agent=agent), gain=gain,
        verdict=Verdict.KEEP if kept else Verdict.DISCARD, seconds=seconds,
    )  # fmt: skip


def context(found: list[PastExperiment], number: int = 0, seed: int = 1) -> Context:
    proposed = Counter(one.proposal.agent for one in found)
    return Context(
        charter="", source="", parent="p", number=number or len(found) + 1, seed=seed, sigma=SIGMA, past=tuple(found),
        proposed=dict(proposed),
    )  # fmt: skip


def night(count: int, gains: dict[str, float], seconds: dict[str, float] | None = None, seed: int = 1) -> Counter[str]:
    """Ask a team again and again; every fourth change of an agent with a gain is kept. Returns how often each was asked."""
    found: list[PastExperiment] = []
    asked: Counter[str] = Counter()
    for number in range(1, count + 1):
        name = NAMES[order(NAMES, context(found, seed=seed))[0]]
        asked[name] += 1
        gain = gains.get(name, 0.0) if asked[name] % 4 == 0 else 0.0
        found.append(past(number, name, gain or -0.001, (seconds or {}).get(name, 70.0)))
    return asked


def test_at_first_each_agent_has_its_turn() -> None:
    assert night(3 * OPENING, {"model": 0.02}) == dict.fromkeys(NAMES, OPENING)
    found = [past(number, "model") for number in range(1, 9)]
    assert order(NAMES, context(found)) == [2, 0, 1], "the turn goes on, whoever proposed"


def test_whose_changes_are_kept_is_asked_more_often_and_nobody_is_forgotten() -> None:
    asked = sum((night(90, {"search": 0.02}, seed=seed) for seed in range(6)), Counter())
    assert asked["search"] > 2 * max(asked["model"], asked["other"]), asked
    assert min(asked.values()) > 6 * (OPENING + 4), asked


def test_without_a_kept_change_the_shares_stay_about_equal() -> None:
    asked = sum((night(90, {}, seed=seed) for seed in range(6)), Counter())
    assert max(asked.values()) < 1.3 * min(asked.values()), asked


def test_time_counts_and_not_the_number_of_proposals() -> None:
    """Both find as much an experiment, and one takes four times as long."""
    slow = {"model": 280.0}
    asked = sum((night(90, {"search": 0.02, "model": 0.02}, slow, seed) for seed in range(6)), Counter())
    assert asked["search"] > 1.5 * asked["model"], asked


@pytest.mark.parametrize("seconds", [70.0, 300.0])
def test_who_fails_is_asked_less_often(seconds: float) -> None:
    """`search` stands in for the model, which then takes time and proposes nothing. Some changes of `search` are kept."""
    asked: Counter[str] = Counter()
    for seed in range(6):
        found: list[PastExperiment] = []
        for number in range(1, 91):
            name = NAMES[order(NAMES, context(found, seed=seed))[0]]
            asked[name] += 1
            by = "search" if name == "model" else name
            gain = 0.02 if by == "search" and number % 4 == 0 else -0.001
            one = past(number, by, gain, seconds if name == "model" else 70.0)
            failed = (
                replace(one.proposal, notes=Notes(instead="model", why="away")) if name == "model" else one.proposal
            )
            found.append(replace(one, proposal=failed))
    assert asked["model"] < 0.7 * asked["search"], asked
    assert seconds == 70.0 or asked["model"] < 0.8 * asked["other"], "its failures take four times as long"


def test_an_agent_that_never_proposes_does_not_keep_the_others_in_strict_turns() -> None:
    found = [
        past(number, ("search", "other")[number % 2], 0.02 if number % 2 == 0 else -0.001) for number in range(1, 41)
    ]
    first = Counter(order(NAMES, context(found, number))[0] for number in range(41, 141))
    assert first[1] > 40, first


def test_a_proposal_that_the_human_revised_counts_for_its_agent() -> None:
    found = [past(number, f"model{AND_HUMAN}", 0.02) for number in range(1, 21)]
    first = Counter(order(NAMES, context(found, number))[0] for number in range(21, 121))
    assert first[0] > 60, first


def test_the_same_context_gives_the_same_order_and_another_number_another_draw() -> None:
    found = [past(number, NAMES[number % 3]) for number in range(1, 31)]
    orders = [tuple(order(NAMES, context(found, number))) for number in range(31, 60)]
    assert orders == [tuple(order(NAMES, context(found, number))) for number in range(31, 60)] and len(set(orders)) > 3
    assert all(sorted(one) == [0, 1, 2] for one in orders)


@pytest.mark.parametrize("gain", [0.032, 1.0])
def test_one_large_gain_does_not_decide_the_night(gain: float) -> None:
    """It counts as at most MOST kept changes, and less with time."""
    found = [past(1, "model", gain), *(past(number, NAMES[number % 3]) for number in range(2, 40))]
    first = Counter(order(NAMES, context(found, number))[0] for number in range(40, 140))
    assert gain / (4 * SIGMA) >= MOST and min(first[index] for index in range(3)) > 10, first
