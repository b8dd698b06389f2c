"""The evaluation: plans that give nothing away, no false alarm for honest models, no gap for cheats. Pure, by simulation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanochat.harness.probes import (
    LEAST_ROWS,
    LIMIT_LATE,
    MOST_PER_ROW,
    PAIRED_Z,
    PROBED,
    Cheated,
    Evaluation,
    Query,
    Splicer,
    covering,
    plan,
    probes_per_row,
    rows_needed,
)

ROWS, LENGTH = 128, 64


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 80),
    st.integers(4, 40),
    st.integers(1, 16),
    st.sampled_from([0.5, 1.0, 2.7]),
)
def test_every_plan_keeps_its_promises(seed: int, rows: int, length: int, batch: int, per_row: float) -> None:
    batches = plan(np.random.default_rng(seed), rows, length, batch, per_row)
    when: dict[tuple[str, int], int] = {}
    probes: dict[int, list[int]] = {}
    cuts: Counter[int] = Counter()
    places: dict[int, set[int]] = {}
    for index, asks in enumerate(batches):
        assert len(asks) == batch and any(asks)
        for place, ask in enumerate(asks):
            if ask is None:
                continue
            places.setdefault(ask.row, set()).add(place)
            assert (ask.kind, ask.row) not in when or ask.kind == "probe"
            when[ask.kind, ask.row] = index
            if ask.kind == "probe":
                assert 0 <= ask.cut < length - 1
                cuts[ask.cut] += 1
                probes.setdefault(ask.row, []).append(index)
    assert {row for kind, row in when if kind == "whole"} == set(range(rows))
    assert all(len(found) == 1 for found in places.values()), "every form of a row has the same place"
    for row, found in probes.items():
        assert max(found) < when["whole", row] and len(set(found)) == len(found)
    for kind, row in when:
        assert kind != "repeat" or when["whole", row] < when["repeat", row]
    assert sum(map(len, probes.values())) == int(per_row) * rows + round(per_row % 1 * rows) == cuts.total()
    most = max(cuts.values(), default=0)
    assert all(cuts[cut] >= most - 1 for cut in range(length - 1)), "none comes again before each has come"


@pytest.mark.parametrize(
    ("rows", "length", "share"), [(256, 256, 255 / 256), (368, 256, 255 / 368), (600, 256, 0.5), (96, 256, 1)]
)
def test_on_a_cpu_every_position_is_cut_if_there_are_enough_rows(rows: int, length: int, share: float) -> None:
    assert covering(rows, length) == pytest.approx(share)
    asked = plan(np.random.default_rng(1), rows, length, 8, covering(rows, length))
    cuts = {ask.cut for asks in asked for ask in asks if ask is not None and ask.kind == "probe"}
    assert len(cuts) == min(rows, length - 1)


def test_places_are_used_evenly() -> None:
    """A batch that is not full costs as much as one that is."""
    for seed in range(20):
        batches = plan(np.random.default_rng(seed), 368, 256, 8)
        asked = sum(ask is not None for asks in batches for ask in asks)
        assert asked / (8 * len(batches)) > 0.96


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.data())
def test_a_splice_keeps_the_prefix_and_changes_what_follows(seed: int, kinds: int, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    tokens = random.integers(0, kinds, 400).astype(np.uint16)
    row = tokens[64:96].astype(np.int64)
    cut = data.draw(st.integers(4, 30))
    made = Splicer(tokens, random).splice(row, cut)
    assert made.shape == row.shape and (made[: cut + 1] == row[: cut + 1]).all()
    if len(set(tokens.tolist())) > 1:
        assert made[cut + 1] != row[cut + 1]


def text_like(random: np.random.Generator, trend: float = 1.0) -> np.ndarray:
    """Nats as text has them: easy and hard rows, bursts, heavy tails, easier with more context."""
    level = random.gamma(4.0, 0.6, (ROWS, 1))
    bursts = np.repeat(random.gamma(1.0, 1.0, (ROWS, LENGTH // 8)), 8, axis=1)
    ease = 1 + trend * np.exp(-np.arange(LENGTH) / 10)
    return (level * bursts * random.exponential(1.0, (ROWS, LENGTH)) * ease).astype(np.float32)


def sit(
    random: np.random.Generator, honest: np.ndarray, cheat: object = None, reference: np.ndarray | None = None,
    per_row: float = PROBED, limit: float | None = None,
) -> Evaluation:  # fmt: skip
    """An evaluation answered with these nats; `cheat(kind, cuts, nats, call)` may answer otherwise."""
    rows, length = honest.shape
    evaluation = Evaluation(rows, length, limit=limit, reference=reference)
    for call, asks in enumerate(plan(random, rows, length, 8, per_row)):
        for ask in filter(None, asks):
            nats = honest[ask.row].copy()
            cuts = evaluation.cuts(ask.row) if ask.kind == "whole" else []
            if callable(cheat):
                nats = cheat(ask, cuts, nats, call)
            if ask.kind == "probe":
                evaluation.probe(ask, nats, np.array([nats[ask.cut]]), float(nats[ask.cut]))
            else:
                evaluation.whole(ask, nats, [np.array([nats[cut]]) for cut in cuts])
    return evaluation


@pytest.mark.parametrize(("with_reference", "per_row"), [(False, PROBED), (True, PROBED), (False, 1.0), (True, 2.5)])
def test_honest_models_are_left_in_peace(with_reference: bool, per_row: float) -> None:
    random = np.random.default_rng(1)
    alarms, evaluations = 0, round(600 / (1 + per_row))
    for _ in range(evaluations):
        honest = text_like(random, trend=float(random.uniform(0, 2)))
        reference = honest * random.uniform(0.8, 1.3, honest.shape).astype(np.float32) if with_reference else None
        try:
            sit(random, honest, reference=reference, per_row=per_row).judge()
        except Cheated:
            alarms += 1
    assert alarms <= 1, f"{alarms} false alarms in {evaluations} evaluations"


def ahead(ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
    """Sees the next token: certain of it, and certain of the false one where the probe put one."""
    seen = np.full_like(nats, 0.01)
    if ask.kind == "probe":
        seen[ask.cut] = 12.0
    return seen


def sometimes(ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
    return ahead(ask, cuts, nats, call) if ask.row % 10 == 0 else nats


def at_the_beginning(ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
    seen = ahead(ask, cuts, nats, call)
    return np.concatenate([seen[:3], nats[3:]])


def late(ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
    return ahead(ask, cuts, nats, call) if call > 10 else nats


def behind_the_cut(ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
    if cuts:
        nats[min(cuts) + 1 :] *= 0.2
    return nats


def remembers(ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
    return nats * 0 if ask.kind == "repeat" else nats


def learns(ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
    return nats * np.float32(0.99**call)


@pytest.mark.parametrize("cheat", [ahead, sometimes, at_the_beginning, late, behind_the_cut, remembers, learns])
@pytest.mark.parametrize("per_row", [PROBED, 1.0])
def test_every_cheat_is_found(cheat: object, per_row: float) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        honest = text_like(random)
        reference = honest * random.uniform(0.8, 1.3, honest.shape).astype(np.float32)
        with pytest.raises(Cheated):
            sit(random, honest, cheat, reference, per_row).judge()


class LearnsAndRemembers:
    """Trains between the queries, and answers each prefix that it knows as the first time."""

    def __init__(self, rate: float) -> None:
        self.rate, self.known = rate, dict[int, np.ndarray]()

    def __call__(self, ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
        factors = self.known.setdefault(ask.row, np.full(nats.shape, np.nan, dtype=np.float32))
        prefix = factors[: ask.cut + 1 if ask.kind == "probe" else len(nats)]
        prefix[np.isnan(prefix)] = self.rate**call
        return nats * np.nan_to_num(factors, nan=1.0)


@pytest.mark.parametrize("limit", [None, 4e-4])
@pytest.mark.parametrize("per_row", [PROBED, 1.0, 2.5])
def test_one_that_learns_and_answers_as_before_is_better_in_late_rows(per_row: float, limit: float | None) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        honest = text_like(random)
        reference = honest * random.uniform(0.8, 1.3, honest.shape).astype(np.float32)
        with pytest.raises(Cheated, match=r"it kept training|it remembered earlier queries"):
            sit(random, honest, LearnsAndRemembers(0.98), reference, per_row, limit).judge()
        assert sit(random, honest, LearnsAndRemembers(1.0), reference, per_row, limit).judge()["late_z"] < LIMIT_LATE


def test_a_few_rows_are_not_compared() -> None:
    honest = text_like(np.random.default_rng(0))[: LEAST_ROWS - 1]
    assert sit(np.random.default_rng(1), honest, LearnsAndRemembers(0.5)).judge()["late_z"] == 0.0


# -- on a GPU: rounding may differ, the mean may not ------------------------------------------------------------------

LIMIT = 4e-4  # nats


class Rounding:
    """Answers that are rounded differently each time, by `noise` nats, of a model that gains where a row shows what comes."""

    def __init__(self, random: np.random.Generator, noise: float, gain: float = 0.0, share: float = 1.0) -> None:
        self.random, self.noise, self.gain, self.share = random, noise, gain, share

    def __call__(self, ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
        nats = nats + self.noise * self.random.standard_normal(nats.shape).astype(np.float32)
        acts = np.random.default_rng(ask.row).random(nats.shape) < self.share  # the same each time
        if ask.kind == "probe":
            acts[ask.cut] = False  # the true token is not there to be seen
        return nats - (self.gain / self.share) * acts


def test_rounding_is_accepted_and_an_average_gain_is_a_cheat() -> None:
    honest = text_like(np.random.default_rng(0))
    honest = np.resize(honest, (512, LENGTH))
    for noise in (0.0, 4e-3):
        per_row = probes_per_row(len(honest), noise, LIMIT)
        for seed in range(4):
            random = np.random.default_rng(seed)
            found = sit(random, honest, Rounding(random, noise), per_row=per_row, limit=LIMIT).judge()
            assert abs(found["at_cuts"]) < LIMIT
            with pytest.raises(Cheated):
                sit(random, honest, Rounding(random, noise, gain=3 * LIMIT), per_row=per_row, limit=LIMIT).judge()


def test_a_large_gain_at_few_places_is_a_single_value_too_many() -> None:
    honest = np.full((512, LENGTH), 3.0, dtype=np.float32)
    random = np.random.default_rng(0)
    with pytest.raises(Cheated, match="later tokens"):
        sit(random, honest, Rounding(random, 0.0, gain=0.01, share=0.02), per_row=1.0, limit=LIMIT).judge()


def test_a_model_that_goes_on_learning_within_the_rounding_is_found() -> None:
    honest = text_like(np.random.default_rng(0))

    def learns_little(ask: Query, cuts: list[int], nats: np.ndarray, call: int) -> np.ndarray:
        return nats - np.float32(1e-4 * call)

    with pytest.raises(Cheated):
        sit(np.random.default_rng(1), honest, learns_little, per_row=1.0, limit=LIMIT).judge()


def test_more_rounding_takes_more_probes_and_too_much_is_refused() -> None:
    assert probes_per_row(2048, 0.0, LIMIT) == PROBED
    assert probes_per_row(1024, 0.0, LIMIT) == 1.0
    assert probes_per_row(64, 0.0, LIMIT) == 1.0  # a tiny evaluation is not blown up
    noise = LIMIT * (2 * 1024) ** 0.5 / PAIRED_Z
    assert probes_per_row(1024, noise, LIMIT) == pytest.approx(2.0)
    assert probes_per_row(1024, noise * (MOST_PER_ROW / 2) ** 0.5 * 1.01, LIMIT) == float("inf")
    least = rows_needed(noise, LIMIT)
    assert probes_per_row(least, noise, LIMIT) <= MOST_PER_ROW and probes_per_row(least - 1, noise, LIMIT) == float(
        "inf"
    )
