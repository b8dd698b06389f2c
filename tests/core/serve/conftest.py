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


def start(logs: Path, *options: str) -> Serving:
    """Start a server on a free port, with more options."""
    process = subprocess.Popen(
        command("nov23", "--port", "0", "--logs", str(logs), *options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    return Serving(process, process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    """Kill a server and its apps."""
    apps = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    for app in apps:
        if app.is_running():
            app.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    shutil.copytree(RECORDED, tmp_path / "logs")
    return tmp_path / "logs"


@pytest.fixture
def serve(logs: Path) -> Iterator[Serve]:
    """Starts a server of the test's own. It is ended with the test."""
    started: list[Serving] = []

    def serve(*options: str) -> Serving:
        started.append(start(logs, *options))
        return started[-1]

    yield serve
    for serving in started:
        end(serving.process)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One server for all tests of a module that leave it running."""
    logs = tmp_path_factory.mktemp("served") / "logs"
    shutil.copytree(RECORDED, logs)
    serving = start(logs)
    yield serving
    end(serving.process)
