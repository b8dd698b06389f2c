"""Helpers of the GPU tests. Each takes the device, so that it can be tried on a CPU. Nothing here imports torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from core.change import knobs
from core.execution.local import harness_environment
from core.machine import profiles, stats
from nanochat.contract.job import Job, Result
from nanochat.contract.messages import Done, Progress, Ready
from tests.conftest import ROOT, Harness
from tests.fake_cuda import Cards

MIB = 1 << 20
BACK_S = 5.0  # within so many seconds the memory of a killed process is free again
NEAR = 200 * MIB  # what a desktop or a driver may take meanwhile
CUDA_JOB: dict[str, Any] = {"budget_s": 1.0, "setup_s": 120.0, "scoring_s": 60.0, "device": "cuda"}
CPU_JOB: dict[str, Any] = {"memory_limit": 3_000_000_000, "setup_s": 4.0, "scoring_s": 10.0, "budget_s": 1.0}


class DeviceHarness(Harness):
    """A real fork server for a device, spoken to as the loop speaks to it."""

    def __init__(self, data: Path, folder: Path, device: str, cards: Cards | None = None) -> None:
        """`cards`: a fake device in the place of the card."""
        if device == "cpu" or cards is not None:
            super().__init__(data, folder, cards)
            return
        self.data, self.folder, self.count, self.device, self.cards = data, folder, 0, device, None
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nanochat.harness.fork_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
            env=harness_environment(device, 0), text=True,
        )  # fmt: skip
        assert isinstance(self.receive(), Ready)

    def submit(self, source: str, **options: Any) -> Job:
        """Start a job without a preflight, unless one is asked for."""
        fields = CUDA_JOB if self.device == "cuda" else CPU_JOB
        return super().submit(source, **fields | {"preflight": False} | options)

    def until_training(self, job: Job, seconds: float = 1.0) -> None:
        """Wait until the job has trained for some seconds of its budget."""
        while True:
            told = self.receive()
            assert not isinstance(told, Done), told
            if isinstance(told, Progress) and told.phase == "training" and told.charged_s >= seconds:
                return

    @property
    def scorer(self) -> psutil.Process:
        """The scorer of the running job."""
        (found,) = psutil.Process(self.process.pid).children()
        return found

    @property
    def trainer(self) -> psutil.Process:
        """The trainer of the running job: of the scorer's descendants the largest."""
        return max(self.scorer.children(recursive=True), key=lambda process: process.memory_info().rss)

    def gpu_bytes(self) -> int:
        """Bytes of the card's memory in use by whomever; 0 on a CPU."""
        if self.cards is not None:
            return sum(self.cards.users(0).values())
        return (stats.gpus()[0].memory_used or 0) if self.device == "cuda" else 0

    def output(self, result: Result) -> str:
        """What the trainer printed."""
        path = self.folder / result.job / "output.txt"
        return path.read_text(errors="replace") if path.exists() else ""


def replaced(source: str, old: str, new: str) -> str:
    """The source with one text, which occurs once, replaced."""
    assert source.count(old) == 1, old
    return source.replace(old, new)


def in_child(*arguments: str, device: str) -> dict[str, Any]:
    """Run tests/gpu/child.py with these arguments in a fresh process, in the harness's environment; its report."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.child", *arguments, "--device", device],
        cwd=ROOT, env=harness_environment(device, 0 if device == "cuda" else None), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


# -- data and models of a profile -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """Text, the folder of prepared data (AUTORESEARCH_DATA), the prepared dataset in it, and its vocabulary."""

    text: Path
    data: Path
    prepared: Path
    vocab_size: int


def corpus_of_this_machine(folder: Path, *, small: bool) -> Corpus:
    """Python sources of this machine, prepared by the real prepare.py with the vocabulary of a GPU profile, or a small one."""
    vocab, most = (320, 600_000) if small else (8192, 26_000_000)
    text = folder / "text"
    text.mkdir()
    size = 0
    for count, path in enumerate(_sources()):
        raw = path.read_bytes()
        if len(raw) > most // 50 or not raw.isascii():
            continue
        (text / f"{count:06d}.txt").write_bytes(raw)
        size += len(raw)
        if size >= most:
            break
    done = subprocess.run(
        [sys.executable, str(ROOT / "prepare.py"), "--dataset", f"text:{text}", "--vocab", str(vocab)],
        env={**os.environ, "AUTORESEARCH_DATA": str(folder / "data")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (prepared,) = (folder / "data").glob(f"*-v{vocab}")
    return Corpus(text, folder / "data", prepared, vocab)


def _sources() -> list[Path]:
    paths = sysconfig.get_paths()
    packages = [path for name in ("torch", "numpy") for path in sorted(Path(paths["purelib"], name).rglob("*.py"))]
    return [*sorted(Path(paths["stdlib"]).glob("*.py")), *packages]


def shipped(profile: str, **values: knobs.Value) -> str:
    """The shipped train.py as a run on this profile would fit it, with further knobs set."""
    source = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8")
    found = profiles.applicable_knobs(profiles.named(profile), {knob.name: knob.value for knob in knobs.read(source)})
    return knobs.set_knobs(source, found | values)


def written(source: str, name: str) -> str:
    """The line of a knob up to its value, as an edit would look for it."""
    (knob,) = (knob for knob in knobs.read(source) if knob.name == name)
    return f"{name} = {knob.written}"
