"""truth.py --independence: check that the gauge's readings do not depend on the trainer.

Four trainers share one core. Each trains for a moment while the others are stopped, and the gauge is read a few times, as in the
harness. Right after each reading its products are timed once more. They find the caches as the reading has left them, so they
do not depend on the trainer, and the machine has hardly changed meanwhile. So the reading is compared with them, and the results of
turns that follow each other within seconds with each other.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import figures
import psutil
import torch
from figures import number, percent
from trainings import Unmeasured, fitted

from core.change import edits, knobs
from core.machine.profiles import Profile
from core.model import Edit
from nanochat.contract import dataset as contract
from nanochat.data.prepared import load
from nanochat.harness.gauge import PRODUCTS, Gauge, NotMeasured
from nanochat.harness.processes import Standstill, cpu_clock
from nanochat.local import train_once

AIM = 0.005
READINGS = 5  # in each turn
BEFORE_S = 0.5  # training before the first reading of a turn
BETWEEN_S = (0.1, 0.3)  # training between two readings
TRAINING = "training"  # a trainer prints this when its first step has begun
STOP_S = 2.0  # most seconds that it takes to stop
ENDLESS_S, WINDOW = 1e6, 256  # budget of a trainer in seconds, and tokens in a scored window
NICE = 3  # of trainers, as in the harness
SHIPPED = "as shipped"
LARGER = 10  # times the parameters
STREAMED_BYTES = 200_000_000  # read in each step; half as much is written

STREAM = (
    Edit(
        search="    rules = optimizers(model)\n    passes =",
        replace=f"    one, other = torch.zeros(2, {STREAMED_BYTES // 8})\n    rules = optimizers(model)\n    passes =",
    ),
    Edit(
        search="            scale = schedule(run.progress)\n",
        replace="            one.add_(other)\n            scale = schedule(run.progress)\n",
    ),
)


def trainers(profile: Profile) -> dict[str, str]:
    """Return the train.py of each kind of trainer by name."""
    source = fitted(profile)
    shape = {knob.name: knob.value for knob in knobs.read(source)}
    # One sequence per step, since a step must not be longer than the grace of the budget.
    larger = {"DEPTH": depth(shape, profile.vocab_size), "BATCH_SIZE": 1, "TOTAL_BATCH": 256}
    tiny = {"BATCH_SIZE": 1, "SEQ_LEN": 16, "TOTAL_BATCH": 16}
    return {
        SHIPPED: source,
        f"{LARGER} times the parameters": knobs.set_knobs(source, larger),
        f"{STREAMED_BYTES / 1e6:.0f} MB streamed a step": edits.apply(source, STREAM),
        "many tiny steps": knobs.set_knobs(source, tiny),
    }


def depth(shape: Mapping[str, object], vocab_size: int) -> int:
    """Return the number of layers for LARGER times the parameters at the same width. A layer has matrices and a value embedding."""
    layers, width, ratio = (int(str(shape[name])) for name in ("DEPTH", "WIDTH", "MLP_RATIO"))
    layer = (4 + 2 * ratio) * width**2 + vocab_size * width
    tables = 2 * vocab_size * width
    return math.ceil((LARGER * (layers * layer + tables) - tables) / layer)


@dataclass(frozen=True)
class Turn:
    """The readings while one trainer had the core.

    Attributes:
        name: The kind of trainer.
        speed: Seconds of the products right after a reading, relative to those of the reading; the geometric mean over the readings. A
            trainer whose readings are too fast has a larger one.
    """

    name: str
    speed: float


class ControlledGauge(Gauge):
    """A gauge that can repeat its products right after a reading."""

    def control(self, core: int) -> float:
        """Return the CPU seconds of the products."""
        os.sched_setaffinity(0, {core})
        try:
            began = time.thread_time()
            self._multiply(PRODUCTS)
            return time.thread_time() - began
        finally:
            os.sched_setaffinity(0, self._cores)


class Trainer:
    """A train.py that trains in a process of its own on one core, and is stopped unless `running`.

    Args:
        name: The kind of trainer.
        path: Its train.py.
        core: The core that it trains on.
        data: A prepared folder.
    """

    def __init__(self, name: str, path: Path, core: int, data: Path) -> None:
        self.name = name
        words = [sys.executable, __file__, str(path), str(core), str(data)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    @property
    def pid(self) -> int:
        return self._process.pid

    def await_training(self) -> None:
        """Wait until its first step has begun, and stop it. Raises Unmeasured."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == TRAINING:
                self._stop()
                return
        raise Unmeasured(f'the trainer "{self.name}" ended before it trained')

    def _stop(self) -> None:
        """Stop it, and wait until it has stopped. Raises Unmeasured."""
        until = time.monotonic() + STOP_S
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            process.suspend()
            while time.monotonic() < until:
                if process.status() == psutil.STATUS_STOPPED:
                    return
                time.sleep(1e-4)
        raise Unmeasured(f'the trainer "{self.name}" could not be stopped')

    def readings(self, gauge: ControlledGauge, core: int, waits: random.Random) -> Iterator[float]:
        """Let it train, stop it again and again, and yield the speed of each reading as in `Turn`. Raises Unmeasured."""
        for count in range(READINGS):
            self._process.send_signal(signal.SIGCONT)
            time.sleep(waits.uniform(*BETWEEN_S) if count else BEFORE_S)
            self._stop()
            pids = [self.pid]
            reading = gauge.read(core, Standstill(core, pids, cpu_clock(pids)).ran_s)
            yield gauge.control(core) / reading.work_s

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def started(profile: Profile, core: int) -> Iterator[list[Trainer]]:
    """Start one trainer of each kind, one after the other, and kill them at the end. Raises Unmeasured."""
    prepared = contract.find(contract.resolve(profile.dataset), profile.vocab_size)
    if prepared.manifest is None:
        raise Unmeasured(f"The dataset {profile.dataset} is not prepared: run `make prepare` first.")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        found = []
        for place, (name, source) in enumerate(trainers(profile).items()):
            path = Path(folder) / f"trainer_{place}.py"
            path.write_text(source, encoding="utf-8")
            trainer = Trainer(name, path, core, prepared.folder)
            stack.callback(trainer.end)
            trainer.await_training()
            found.append(trainer)
        yield found


def measure(profile: Profile, rounds: int, turns: list[Turn]) -> None:
    """Give each trainer a turn in each round, in random order, and append the turns. Raises Unmeasured."""
    torch.set_num_threads(1)
    try:
        gauge, core, order = ControlledGauge(), min(os.sched_getaffinity(0)), random.Random(1)
        with started(profile, core) as found:
            gauge.warm(core)
            for _ in range(rounds):
                for trainer in order.sample(found, len(found)):
                    speeds = list(trainer.readings(gauge, core, order))
                    turns.append(Turn(trainer.name, math.exp(figures.mean([math.log(one) for one in speeds]))))
                print(_progress(turns[-len(found) :]), flush=True)
    except (AttributeError, NotMeasured) as error:
        raise Unmeasured(f"the gauge cannot run here: {error}") from None


def _progress(turns: Sequence[Turn]) -> str:
    now = {turn.name: turn.speed for turn in turns}
    return f"{time.strftime('%H:%M:%S')}  rounds / reading " + "  ".join(
        f"{name}: {now[name]:.3f}" for name in sorted(now)
    )


def report(turns: Sequence[Turn]) -> list[str]:
    """Return a report of how fast the readings are beside each kind of trainer, relative to the shipped one in the same round, as lines."""
    speeds: dict[str, list[float]] = {}
    for turn in turns:
        speeds.setdefault(turn.name, []).append(turn.speed)
    base = speeds.pop(SHIPPED, [])
    if not base or not speeds:
        return ["No round was measured."]
    cells = [("", "rounds", "rounds / reading", f"against {SHIPPED}", "standard error")]
    cells.append((SHIPPED, str(len(base)), number(figures.mean(base)), "-", "-"))
    for name, found in speeds.items():
        ratios = [math.log(one / shipped) for one, shipped in zip(found, base, strict=False)]
        mean, error = figures.mean(ratios), figures.mean_error(ratios)
        cells.append((name, str(len(ratios)), number(figures.mean(found)), _signed(mean), percent(error, 2)))
    return ["", *figures.table(cells), f"aim: within {percent(AIM)}"]


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.2%}"


def train(path: Path, core: int, data: Path) -> None:
    """Train without an end on one core and a prepared folder. Prints TRAINING when the first step begins."""
    os.sched_setaffinity(0, {core})
    os.nice(NICE)
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("measured_train", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    told = []

    def tell(line: str) -> None:
        if not told:
            told.append(line)
            print(TRAINING, flush=True)

    device = torch.device("cpu")
    train_once(module.train, load(data), device=device, seed=1, budget_s=ENDLESS_S, seq_len=WINDOW, say=tell)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One trainer of truth.py --independence.")
    parser.add_argument("path", type=Path)
    parser.add_argument("core", type=int)
    parser.add_argument("data", type=Path)
    chosen = parser.parse_args()
    train(chosen.path, chosen.core, chosen.data)
