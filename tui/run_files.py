"""Read the files of a run other than the journal: changes, live metrics, and the output of trainers."""

from __future__ import annotations

from pathlib import Path

from core.record.experiment import experiment_id, job_folder
from core.record.state import State
from core.reporting.results import BEST_DIFF
from nanochat.contract.layout import METRICS
from tui.view.curves import Curve

TAIL_BYTES = 2000  # bytes at the end of a growing file that are searched for its last lines


def experiment_folder(folder: Path, number: int) -> Path:
    """Return the folder of an experiment."""
    return folder / experiment_id(number)


def metrics_path(state: State, folder: Path, commit: str) -> Path | None:
    """Return the path of the metrics of a commit's first undisturbed job, or None."""
    fact = state.facts.get(commit)
    return job_folder(folder, fact.role, fact.number, fact.job) / METRICS if fact else None


def diff_path(folder: Path, number: int) -> Path:
    """Return the path of an experiment's change as a unified diff."""
    return experiment_folder(folder, number) / "change.diff"


def read_diff(folder: Path, number: int) -> str:
    """Read an experiment's change as a unified diff; '' if the file cannot be read."""
    try:
        return diff_path(folder, number).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_whole_diff(folder: Path) -> str:
    """Read the change from the start to the best as a unified diff; '' if nothing was kept or the file cannot be read."""
    try:
        return (folder / BEST_DIFF).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_output(folder: Path, number: int, characters: int) -> str:
    """Read the last characters of the output of an experiment's latest trainer, or '' without one."""
    own = experiment_folder(folder, number)
    outputs = sorted(own.glob("*/output.txt")) if own.is_dir() else []
    try:
        return outputs[-1].read_text(encoding="utf-8", errors="replace")[-characters:] if outputs else ""
    except OSError:
        return ""


def list_files(folder: Path, number: int) -> list[str]:
    """Return the paths of an experiment's files, relative to its folder."""
    own = experiment_folder(folder, number)
    return sorted(str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()) if own.is_dir() else []


def last_lines(path: Path, count: int = 2) -> list[str]:
    """Return the last non-empty lines of a growing file; an empty list if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def read_curve(path: Path | None) -> Curve:
    """Read the whole curve of a metrics.jsonl; an empty curve if it cannot be read."""
    if path is None:
        return Curve()
    tail = MetricsTail(path)
    tail.read()
    return tail.curve


class MetricsTail:
    """Follows a metrics.jsonl. If the harness has thinned the file out and rewritten it, it is read from the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.curve = Curve()
        self._read_to: tuple[int, int] = (0, 0)  # inode, bytes

    def read(self) -> bool:
        """Read new lines. Returns whether there were any."""
        try:
            status = self.path.stat()
            if (status.st_ino, status.st_size) == self._read_to:
                return False
            if status.st_ino != self._read_to[0] or status.st_size < self._read_to[1]:
                self.curve, self._read_to = Curve(), (status.st_ino, 0)
            with self.path.open("rb") as file:
                file.seek(self._read_to[1])
                data = file.read()
        except OSError:
            return False
        end = data.rfind(b"\n") + 1
        for line in data[:end].decode("utf-8", "replace").splitlines():
            self.curve.add(line)
        self._read_to = (status.st_ino, self._read_to[1] + end)
        return end > 0
