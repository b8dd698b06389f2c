"""What many tests need: a small prepared dataset, made by the real prepare code, and a real harness."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest

from core.execution.local import harness_environment
from nanochat.contract import messages
from nanochat.contract.job import Job, Result
from nanochat.contract.messages import Done, Message, Ready, Request, Train
from tests import corpus
from tests.fake_cuda import Cards, plant

hypothesis.settings.register_profile("shared machines", deadline=None)
hypothesis.settings.load_profile("shared machines")

ROOT = Path(__file__).resolve().parent.parent

# Whoever runs the tests in the background of a script has SIGINT and SIGQUIT ignored, and all that tests start would inherit that.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while the tests are imported, a quarter of the time of that, and never again in what stays until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def no_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads the config files of whoever runs the tests, or writes where their app remembers its view."""
    base = tmp_path_factory.mktemp("no-settings")
    os.environ.update(XDG_CONFIG_HOME=str(base / "config"), XDG_STATE_HOME=str(base / "state"))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder: some 650 kB of text, vocabulary 320."""
    base = tmp_path_factory.mktemp("tiny")
    text = corpus.write(base / "corpus")
    done = subprocess.run(
        [sys.executable, str(ROOT / "prepare.py"), "--dataset", f"text:{text}", "--vocab", "320"],
        env={**os.environ, "AUTORESEARCH_DATA": str(base / "data")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (base / "data").glob("*-v320")
    return folder


class Harness:
    """A real fork server, spoken to as the loop speaks to it."""

    device = "cpu"

    def __init__(self, data: Path, folder: Path, cards: Cards | None = None) -> None:
        """`cards`: run on the first card of this fake device, in a copy of nanochat/ beside the jobs."""
        self.data, self.folder, self.count = data, folder, 0
        self.cards, self.device, root = cards, "cuda" if cards else "cpu", ROOT
        if cards is not None:
            root = folder / "tree"
            shutil.copytree(ROOT / "nanochat", root / "nanochat", ignore=shutil.ignore_patterns("__pycache__"))
            plant(root, cards)
        environment = harness_environment(self.device, 0 if cards else None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nanochat.harness.fork_server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env=environment, text=True,
        )  # fmt: skip
        assert isinstance(self.receive(), Ready)

    def receive(self) -> Message:
        assert self.process.stdout is not None
        raw = self.process.stdout.readline()
        assert raw, "the harness ended"
        return messages.message(raw.encode())

    def send(self, request: Request) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(messages.line(request).decode())
        self.process.stdin.flush()

    def submit(self, source: str, **options: Any) -> Job:
        self.count += 1
        out = self.folder / f"j{self.count}"
        out.mkdir()
        (out / "train.py").write_text(source)
        fields = {"budget_s": 0.4, "seq_len": 32, "eval_tokens": 2048, "score_batch": 4, "setup_s": 2.0, "hang_s": 60.0,
                  "wall_factor": 20.0, "scoring_s": 3.0, "device": self.device, "gauge": False} | options  # fmt: skip
        job = Job(id=f"j{self.count}", source=str(out / "train.py"), out=str(out), data=str(self.data), **fields)
        self.send(Train(job=job))
        return job

    def result(self, job: Job) -> Result:
        while True:
            told = self.receive()
            if isinstance(told, Done) and told.result.job == job.id:
                return told.result

    def run(self, source: str, **options: Any) -> Result:
        return self.result(self.submit(source, **options))

    def descendants(self) -> list[psutil.Process]:
        living = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended while it was looked at
                if process.status() != psutil.STATUS_ZOMBIE:
                    living.append(process)
        return living

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(100)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def harness(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = Harness(tiny_data, tmp_path_factory.mktemp("jobs"))
    yield made
    made.close()
