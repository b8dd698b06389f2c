"""A recorded night of ten edits whose true effects are known: real trainings, two at once, under a changing load.

The true effects are in benchmarks/effects.jsonl: each edit was trained on several seeds beside two baselines, without the loop and
without its keep rule.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from core.judging import schedule
from core.record import journal
from core.record.fold import fold
from core.record.state import State
from core.verdicts import Verdict

ROOT = Path(__file__).resolve().parents[3]
JOURNAL = ROOT / "tests" / "recorded" / "effects-night" / journal.NAME


@pytest.fixture(scope="module")
def effects() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module("effects")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def night() -> State:
    return fold(journal.read(JOURNAL))


def test_what_surely_helps_is_kept_and_what_surely_hurts_is_not(effects: ModuleType, night: State) -> None:
    assert night.config is not None
    truth = effects.established(effects.ESTABLISHED, night.config.profile, night.config.budget_s)
    assert min(len(gains) for gains in truth.gains.values()) >= 12, "each true effect is a mean over seeds"
    kept, worse = set(), set()
    for experiment in night.experiments.values():
        words, judged = experiment.hypothesis, experiment.judged
        assert words in effects.EDITS and judged is not None
        if experiment.verdict is Verdict.KEEP:
            kept.add(words)
        elif experiment.verdict is Verdict.DISCARD and not judged.within_noise:
            worse.add(words)
    assert kept == {words for words in effects.EDITS if truth.real(words)} != set()
    assert len(worse) >= 4 and all(truth.sign(words) < 0 for words in worse)


def test_the_gain_of_the_kept_edit_and_the_noise_agree_with_the_truth(effects: ModuleType, night: State) -> None:
    assert night.config is not None
    truth = effects.established(effects.ESTABLISHED, night.config.profile, night.config.budget_s)
    (number,) = night.kept
    experiment, noise = night.experiments[number], schedule.noise(night)
    error = (noise.sigma**2 * 2 / experiment.pairs + truth.error(experiment.hypothesis) ** 2) ** 0.5
    assert abs(experiment.gain - truth.gain(experiment.hypothesis)) < 2 * error
    assert noise.sigma == pytest.approx(truth.sigma, rel=0.25), "of one measurement"
