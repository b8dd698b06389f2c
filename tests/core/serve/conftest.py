"""A server in a process of its own, on a recorded run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]
RECORDED = ROOT / "tests" / "tui" / "recorded"


@dataclass
class Serving:
    """A running server. `line` is what it printed, `url` the URL in it with the token."""

    process: subprocess.Popen[str]
    line: str

    @property
    def url(self) -> str:
        return self.line.split()[-1]

    @property
    def base(self) -> str:
        """The URL without the token."""
        return self.url.partition("?")[0]

    @property
    def token(self) -> str:
        return self.url.partition("token=")[2]

    def apps(self) -> list[psutil.Process]:
        """The apps that run for browsers."""
        return psutil.Process(self.process.pid).children(recursive=True)


Serve = Callable[..., Serving]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "core.cli", "serve", *arguments]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    shutil.copytree(RECORDED, tmp_path / "logs")
    return tmp_path / "logs"


@pytest.fixture
def serve(logs: Path) -> Iterator[Serve]:
    """Starts a server on a free port, with more options. It is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Serving:
        process = subprocess.Popen(
            command("nov23", "--port", "0", "--logs", str(logs), *options),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return Serving(process, process.stdout.readline())

    yield start
    for process in started:
        apps = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        for app in apps:
            if app.is_running():
                app.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
