"""The exam: plans that give nothing away, no false alarm for honest models, no gap for cheats. Pure, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanochat.probes import Ask, Cheated, Exam, Splicer, plan

ROWS, LENGTH = 128, 64


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(4, 40), st.integers(1, 16))
def test_every_plan_keeps_its_promises(seed: int, rows: int, length: int, batch: int) -> None:
    batches = plan(np.random.default_rng(seed), rows, length, batch)
    when: dict[tuple[str, int], int] = {}
    for index, asks in enumerate(batches):
        assert 0 < len(asks) <= batch
        assert len({ask.row for ask in asks}) == len(asks), "a row must not meet itself in one batch"
        for ask in asks:
            when[ask.kind, ask.row] = index
            assert ask.kind != "probe" or 0 < ask.cut < length - 1
    assert {row for kind, row in when if kind == "whole"} == set(range(rows))
    for kind, row in when:
        if kind == "probe":
            assert when["probe", row] < when["whole", row]
        if kind == "repeat":
            assert when["whole", row] < when["repeat", row]


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
    random: np.random.Generator, honest: np.ndarray, cheat: object = None, reference: np.ndarray | None = None
) -> Exam:
    """An exam answered with these nats; `cheat(kind, row, cut, nats, call)` may answer otherwise."""
    exam = Exam(ROWS, LENGTH, reference=reference)
    for call, asks in enumerate(plan(random, ROWS, LENGTH, 8)):
        for ask in asks:
            nats = honest[ask.row].copy()
            if callable(cheat):
                nats = cheat(ask, exam.cut(ask.row), nats, call)
            if ask.kind == "probe":
                exam.probe(ask, nats, np.array([nats[ask.cut]]), float(nats[ask.cut]))
            else:
                cut = exam.cut(ask.row)
                exam.whole(ask, nats, np.array([nats[cut]]) if cut is not None else None)
    return exam


@pytest.mark.parametrize("with_reference", [False, True])
def test_honest_models_are_left_in_peace(with_reference: bool) -> None:
    random = np.random.default_rng(1)
    alarms, exams = 0, 1500
    for _ in range(exams):
        honest = text_like(random, trend=float(random.uniform(0, 2)))
        reference = honest * random.uniform(0.8, 1.3, honest.shape).astype(np.float32) if with_reference else None
        try:
            sit(random, honest, reference=reference).judge()
        except Cheated:
            alarms += 1
    assert alarms <= 1, f"{alarms} false alarms in {exams} exams"


def ahead(ask: Ask, cut: int | None, nats: np.ndarray, call: int) -> np.ndarray:
    """Sees the next token: certain of it, and certain of the false one where the probe put one."""
    seen = np.full_like(nats, 0.01)
    if ask.kind == "probe":
        seen[ask.cut] = 12.0
    return seen


def sometimes(ask: Ask, cut: int | None, nats: np.ndarray, call: int) -> np.ndarray:
    return ahead(ask, cut, nats, call) if ask.row % 10 == 0 else nats


def late(ask: Ask, cut: int | None, nats: np.ndarray, call: int) -> np.ndarray:
    return ahead(ask, cut, nats, call) if call > 10 else nats


def behind_the_cut(ask: Ask, cut: int | None, nats: np.ndarray, call: int) -> np.ndarray:
    if ask.kind != "probe" and cut is not None:
        nats[cut + 1 :] *= 0.2
    return nats


def remembers(ask: Ask, cut: int | None, nats: np.ndarray, call: int) -> np.ndarray:
    return nats * 0 if ask.kind == "repeat" else nats


def learns(ask: Ask, cut: int | None, nats: np.ndarray, call: int) -> np.ndarray:
    return nats * np.float32(0.99**call)


@pytest.mark.parametrize("cheat", [ahead, sometimes, late, behind_the_cut, remembers, learns])
def test_every_cheat_is_found(cheat: object) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        honest = text_like(random)
        reference = honest * random.uniform(0.8, 1.3, honest.shape).astype(np.float32)
        with pytest.raises(Cheated):
            sit(random, honest, cheat, reference).judge()
