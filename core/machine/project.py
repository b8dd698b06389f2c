"""Where things are: the source tree, its logs, the runs in them, the device."""

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

# English whatever the locale says, since they stand in names of runs.
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
RUN_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
LONGEST_NAME = 100  # a folder and parts of refs are called so, with room for more


class UsageError(UserError):
    """What was asked for cannot be done; the message is a sentence for a human."""


@dataclass(frozen=True)
class Project:
    """A source tree with program.md and nanochat/train.py, and the folder its runs are logged in."""

    root: Path
    logs: Path

    @property
    def program(self) -> Path:
        return self.root / "program.md"

    @property
    def train(self) -> Path:
        return self.root / TARGET.path

    def run(self, name: str) -> Path:
        """The folder of a run, existing or not. Raises UsageError for an impossible name."""
        if not RUN_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            shown = name if len(name) <= LONGEST_NAME else f"{name[:20]}..."
            raise UsageError(
                f"{shown!r} cannot name a run: use up to {LONGEST_NAME} small letters, digits and dashes, such as nov23 or "
                f"wide-heads-2."
            )
        return self.logs / name

    def runs(self) -> list[Path]:
        """All runs: those at work first, and then the others, each in the order of their last start, latest first.

        This order is the one rule by which every command chooses a run when none is named.
        """
        working = self.at_work()
        return working + _by_start([folder for folder in self._folders() if folder not in working])

    def at_work(self) -> list[Path]:
        """The runs that have a loop now, the one started last first."""
        return _by_start([folder for folder in self._folders() if run_lock.alive(folder) is not None])

    def _folders(self) -> list[Path]:
        return [path.parent for path in self.logs.glob(f"*/{journal.NAME}") if RUN_NAME.fullmatch(path.parent.name)]

    def next_turn(self) -> int:
        """The turn of a start that is made now: one more than of any before it in these logs."""
        return 1 + max((journal.last_start(path.parent)[0] for path in self.logs.glob(f"*/{journal.NAME}")), default=0)

    def pick(self, name: str | None) -> Path:
        """The run of that name; without a name the one at work, else the one started last. Raises UsageError when there is none."""
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
        """A free name by today's date: nov23, nov23-2, ... `taken` tells whether a name is in use in git."""
        base = f"{MONTHS[time.localtime().tm_mon - 1]}{time.localtime().tm_mday:02d}"
        name, count = base, 1
        while os.path.lexists(self.logs / name) or taken(name):
            count += 1
            name = f"{base}-{count}"
        return name


def _by_start(folders: list[Path]) -> list[Path]:
    """The one started last first. Every journal is read for that, so those at work are not mixed with years of others."""
    return sorted(folders, key=lambda folder: (journal.last_start(folder), folder.name), reverse=True)


def find(logs: Path | None = None, start: Path | None = None) -> Project:
    """The source tree around the working directory, else the one this code lies in."""
    try:
        start = _real(start or Path.cwd())
        around = [start, *start.parents]
    except OSError:  # the working directory was removed
        around = []
    for folder in (*around, Path(__file__).resolve().parents[2]):
        if (folder / TARGET.path).is_file() and (folder / "nanochat" / "run.py").is_file():
            return Project(root=folder, logs=_real(logs or folder / "logs"))
    raise UsageError(
        f"Here is no AutoResearch source tree (a folder with program.md and {TARGET.path}). "
        "Change into the cloned folder and try again."
    )


def _real(path: Path) -> Path:
    """Without links. Unlike Path.resolve, a loop of links is no error here: whoever uses the path says what is wrong with it."""
    return Path(os.path.realpath(path))


def torch_build() -> str:
    """The installed torch's version without importing it, '' when there is none."""
    import importlib.metadata  # it reads mail headers: 50 ms that every command would pay for

    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def torch_devices() -> int:
    """Return how many GPUs torch itself finds, 0 where it cannot be imported. Takes seconds: a process imports it.

    Where the driver's library (NVML) shows none, there may still be some: on ROCm, and on some Jetsons.
    """
    code = "import torch; print(torch.cuda.device_count())"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        return int(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0


def lacking(device: str, gpu_count: int) -> str:
    """Why a GPU of that kind cannot be used here, as a clause; '' when nothing speaks against it."""
    if device == "mps":
        return (
            ""
            if platform.system() == "Darwin" and platform.machine() == "arm64"
            else "this is no Mac with Apple silicon"
        )
    if "+cpu" in torch_build():
        return f"the installed torch {torch_build()} is a CPU build"
    return "" if gpu_count or torch_devices() else "neither the driver nor torch shows a GPU"


def detect_device(gpu_count: int) -> str:
    """cuda when torch is a GPU build and the driver shows a GPU, mps on Apple silicon, else cpu."""
    if gpu_count and "+cpu" not in torch_build():
        return "cuda"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps"
    return "cpu"
