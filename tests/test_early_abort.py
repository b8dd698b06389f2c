"""What an early abort of trainings could save (benchmarks/)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.record import journal
from core.record.events import Measured
from core.record.experiment import job_folder
from core.record.fold import fold
from nanochat.contract.layout import METRICS
from tests.benchmark import benchmark

ROOT = Path(__file__).resolve().parent.parent


def test_an_early_abort_saves_a_part_of_the_trainings_that_lose() -> None:
    found = benchmark("early_abort")
    night = found.Night("n", 1000.0, ((8.0, 100.0), (3.0, 100.0), (-4.0, 100.0)), 1)
    assert night.saved(2.0, 0.5) == pytest.approx(0.1) and night.saved(6.0, 0.25) == pytest.approx(0.075)
    assert night.stopped(2.0) == 2 and len(found.report([night])) == len(found.LIMITS)


def test_recorded_nights_say_what_an_early_abort_could_save() -> None:
    found = benchmark("early_abort")
    for path in found.NIGHTS:
        night = found.read(path)
        assert night.seconds > 2400 and 0 < night.stopped(6.0) < night.stopped(2.0) < len(night.losses)
        assert 0 < night.saved(2.0, 0.5) < 0.5 * night.stopped(2.0) / len(night.losses)


def test_a_threshold_for_early_aborts_is_the_largest_excess_of_a_change_that_gained() -> None:
    found = benchmark("early_abort_rule")

    def first(number: int, excess: float, gain: float, exempt: bool = False) -> Any:
        return found.First(number, {0.3: excess, 0.5: excess / 10, 0.7: excess / 10}, gain, gain > 0.01, exempt, 60.0)

    one = found.Night("one", 240.0, (first(1, 0.04, 0.02), first(2, 0.3, -0.04), first(3, 0.5, 0.03, exempt=True)))
    other = found.Night("other", 120.0, (first(1, 0.05, -0.01), first(2, 0.02, 0.001)))
    assert found.threshold([one], 0.3) == 0.04 and found.threshold([], 0.3) == float("inf")
    assert found.saved(one, 0.3, 0.02) == pytest.approx(2 * 0.7 * 60 / 240), "the schedule is exempt, the gain is not"
    assert found.saved(other, 0.3, 0.04) == pytest.approx(0.7 * 60 / 120)
    expected = np.corrcoef([0.04, 0.3, 0.05, 0.02], [-0.02, 0.04, 0.01, -0.001])[0, 1]
    assert found.related([one, other], 0.3) == f"{expected:.2f}", "without the change of the schedule"
    assert found.related([other], 0.9) == "-"
    lines = found.report([one, other])
    assert lines[1].split()[3:7] == ["0.020", "2", "1", "1"] and lines[2].split()[3:7] == ["0.040", "1", "0", "0"]


def test_curves_of_a_run_are_compared_with_those_of_the_incumbent_on_the_same_seed(tmp_path: Path) -> None:
    found = benchmark("early_abort_rule")
    run = shutil.copytree(Path(__file__).parent / "recorded" / "default-2", tmp_path / "run")
    events = list(journal.read(run / journal.NAME))
    for event in events:
        if isinstance(event, Measured):  # the loss is what it came to, all along
            file = job_folder(run, event.role, event.number, event.job) / METRICS
            file.parent.mkdir(parents=True, exist_ok=True)
            steps = [{"step": n, "progress": n / 100, "loss": event.result.val_bpb} for n in range(1, 101)]
            file.write_text("\n".join(map(json.dumps, steps)) + '\n{"step": 1')
    night, state = found.read(run), fold(events)
    kept = {first.number for first in night.firsts if first.kept}
    assert kept == {e.number for e in state.experiments.values() if e.verdict is not None and e.verdict.kept}
    assert len(night.firsts) >= 14 and any(first.exempt for first in night.firsts)
    for first in night.firsts:
        assert first.excess[0.5] == pytest.approx(-first.gain), first
        if state.experiments[first.number].pairs == 1:
            assert first.gain == pytest.approx(state.experiments[first.number].gain), first
