"""Finds the source tree, its logs, the runs in them, and the device."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.record import journal, run_lock
from core.target import TARGET

# English in every locale, since they are used in names of runs.
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
RUN_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
LONGEST_NAME = 100  # characters; folders and refs contain it together with other text


class UsageError(UserError):
    """A command or option cannot be carried out. The message is shown to the user."""


@dataclass(frozen=True)
class Project:
    """A source tree with program.md and nanochat/train.py, and the folder for the logs of its runs."""

    root: Path
    logs: Path

    @property
    def program(self) -> Path:
        return self.root / "program.md"

    @property
    def train(self) -> Path:
        return self.root / TARGET.path

    def run(self, name: str) -> Path:
        """Return the folder of a run, which need not exist. Raises UsageError for an invalid name."""
        if not RUN_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            shown = name if len(name) <= LONGEST_NAME else f"{name[:20]}..."
            raise UsageError(
                f"{shown!r} cannot name a run: use up to {LONGEST_NAME} small letters, digits and dashes, such as nov23 or "
                f"wide-heads-2."
            )
        return self.logs / name

    def runs(self) -> list[Path]:
        """Return all runs: first those with a running loop, then the others, each by their last start, latest first.

        All commands use this order to choose a run if none is named.
        """
        working = self.at_work()
        return working + _by_start([folder for folder in self._folders() if folder not in working])

    def at_work(self) -> list[Path]:
        """Return the runs with a running loop, the one that was started last first."""
        return _by_start([folder for folder in self._folders() if run_lock.alive(folder) is not None])

    def in_use(self) -> list[Path]:
        """Return the runs that a loop, a final report or an export works on, the one that was started last first."""
        return _by_start([folder for folder in self._folders() if run_lock.worker(folder) is not None])

    def _folders(self) -> list[Path]:
        return [path.parent for path in self.logs.glob(f"*/{journal.NAME}") if RUN_NAME.fullmatch(path.parent.name)]

    def next_turn(self) -> int:
        """Return the turn of a new start: one more than of any earlier start in these logs."""
        return 1 + max((journal.last_start(path.parent)[0] for path in self.logs.glob(f"*/{journal.NAME}")), default=0)

    def pick(self, name: str | None) -> Path:
        """Return the folder of the run with that name. Without a name it is the running one, else the one that was started last.

        Raises UsageError if there is no such run.
        """
        if name is not None:
            folder = self.run(name)
            if not (folder / journal.NAME).exists():
                known = ", ".join(path.name for path in self.runs()[:5]) or "none yet"
                raise UsageError(f"There is no run called {name} in {self.logs}. Known runs: {known}.")
            return folder
        runs = self.at_work() or self.runs()
        if not runs:
            raise UsageError(f"There is no run in {self.logs} yet. `make run` starts one.")
        return runs[0]

    def new_name(self, taken: Callable[[str], object]) -> str:
        """Return a free name from today's date: nov23, nov23-2, ... `taken` returns whether a name is in use in git."""
        base = f"{MONTHS[time.localtime().tm_mon - 1]}{time.localtime().tm_mday:02d}"
        name, count = base, 1
        while os.path.lexists(self.logs / name) or taken(name):
            count += 1
            name = f"{base}-{count}"
        return name


def _by_start(folders: list[Path]) -> list[Path]:
    """Sort runs by their last start, latest first. This reads all their journals."""
    return sorted(folders, key=lambda folder: (journal.last_start(folder), folder.name), reverse=True)


def find(logs: Path | None = None, start: Path | None = None) -> Project:
    """Return the source tree that contains the working directory, else the one that contains this code. Raises UsageError."""
    try:
        start = _real(start or Path.cwd())
        around = [start, *start.parents]
    except OSError:  # the working directory was removed
        around = []
    for folder in (*around, Path(__file__).resolve().parents[2]):
        if (folder / TARGET.path).is_file() and (folder / "nanochat" / "run.py").is_file():
            return Project(root=folder, logs=_real(logs or folder / "logs"))
    raise UsageError(
        f"This folder is not an AutoResearch source tree (with program.md and {TARGET.path}). "
        "Change into the cloned folder and try again."
    )


def _real(path: Path) -> Path:
    """Return the path without symbolic links. Unlike `Path.resolve` it does not raise an error for a loop of links."""
    return Path(os.path.realpath(path))


def shown_path(path: Path) -> str:
    """Return the path as messages show it: relative to the working directory if it lies below."""
    try:
        return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)
    except OSError:  # the working directory was removed
        return str(path)


def torch_build() -> str:
    """Return the version of the installed torch without importing it, or ''."""
    import importlib.metadata  # imported late, since it takes 50 ms

    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def torch_devices() -> int:
    """Return how many GPUs torch finds, or 0 if it cannot be imported. Takes seconds, since a new process imports torch.

    On ROCm and some Jetsons there are GPUs that NVML does not show.
    """
    code = "import torch; print(torch.cuda.device_count())"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        return int(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0


def lacking(device: str, gpu_count: int) -> str:
    """Return why a GPU of that kind cannot be used here, as a clause, or '' if it probably can."""
    if device == "mps":
        return (
            ""
            if platform.system() == "Darwin" and platform.machine() == "arm64"
            else "this is not a Mac with Apple silicon"
        )
    if "+cpu" in torch_build():
        return f"the installed torch {torch_build()} is a CPU build"
    return "" if gpu_count or torch_devices() else "neither the driver nor torch shows a GPU"


def detect_device(gpu_count: int) -> str:
    """Return cuda if torch is a GPU build and the driver shows a GPU, mps on Apple silicon, else cpu."""
    if gpu_count and "+cpu" not in torch_build():
        return "cuda"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps"
    return "cpu"
