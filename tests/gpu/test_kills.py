"""kill -9 of a trainer, a scorer, a fork server: no process stays, and the card's memory is back within seconds."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from nanochat.contract.job import Outcome
from tests.fake_cuda import Cards
from tests.gpu.support import BACK_S, MIB, NEAR, DeviceHarness, replaced
from tests.product import TRAIN

HELD = 512 * MIB
MODEL = "    model = Bigram(run.vocab_size).to(run.device)\n"
LONG = {"budget_s": 100.0}


def holding(device: str) -> str:
    """A train.py that holds memory of the card while it trains."""
    hog = f"    model.hog = torch.ones({HELD if device == 'cuda' else MIB}, dtype=torch.uint8, device=run.device)\n"
    return replaced(TRAIN, MODEL, MODEL + hog)


def seconds_until(holds: Callable[[], bool], limit_s: float) -> float:
    """How long it takes until something is so; infinity after the limit."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > limit_s:
            return float("inf")
        time.sleep(0.05)
    return time.monotonic() - began


def ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def kill_and_look(harness: DeviceHarness, victim: psutil.Process, before: int) -> None:
    """Kill a process of a job that trains, and check what is left of the job."""
    if harness.device == "cuda":
        assert harness.gpu_bytes() >= before + 0.9 * HELD, "the trainer holds memory before it is killed"
    family = [process for process in harness.descendants() if process.pid != harness.process.pid]
    victim.send_signal(signal.SIGKILL)
    took = seconds_until(lambda: all(ended(process) for process in family), BACK_S)
    assert took <= BACK_S, f"{[process for process in family if not ended(process)]} outlive the kill"
    took = seconds_until(lambda: harness.gpu_bytes() <= before + NEAR, BACK_S)
    assert took <= BACK_S, f"{(harness.gpu_bytes() - before) / MIB:.0f} MiB of the card are still held"


@pytest.mark.parametrize("who", ["trainer", "scorer"])
def test_killed_in_training(device_harness: DeviceHarness, device: str, who: str) -> None:
    before = device_harness.gpu_bytes()
    job = device_harness.submit(holding(device), **LONG)
    device_harness.until_training(job)
    kill_and_look(device_harness, getattr(device_harness, who), before)
    outcome = device_harness.result(job).outcome
    assert outcome is (Outcome.CRASH if who == "trainer" else Outcome.INTERRUPTED)
    after = device_harness.run(TRAIN)
    assert after.outcome is Outcome.SCORED, after.reason


def test_a_killed_fork_server_leaves_nothing(tiny_data: Path, tmp_path: Path, device: str, cards: Cards | None) -> None:
    harness = DeviceHarness(tiny_data, tmp_path, device, cards)
    before = harness.gpu_bytes()
    job = harness.submit(holding(device), **LONG)
    harness.until_training(job)
    kill_and_look(harness, psutil.Process(harness.process.pid), before)
    harness.close()
