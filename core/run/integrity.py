"""What a run must not change under its feet: copies of the harness and the prepared data, made once and hashed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.errors import UserError
from core.machine.project import UsageError
from nanochat.contract import dataset
from nanochat.contract.shell import make

LIST = "frozen.json"  # also named in core/execution/launch.py, which can import nothing of ours
DATA = (".bin", ".npy", ".json")  # what files of prepared data end with
MADE = ("harness", "harness.new", "data", "data.new", LIST)  # what `freeze` makes in the folder of a run
COPY_LIMIT = 64 << 20  # bytes; larger files are linked to and watched by size and time instead of copied


VERSION_LINE = re.compile(r"^VERSION = (\d+)", re.MULTILINE)  # in the harness' messages.py


class TamperedError(UserError):
    """A frozen file is not what it was; the message is a sentence for a human."""


def freeze(source: Path, data: Path, folder: Path, *, anew: bool = False) -> None:
    """Copy the harness and the data into the run's folder, unless they are there already, and write down their hashes.

    `anew`: replace what is there, which a start that was cut short has left. Files that are no part of either, such as what
    editors and file managers leave, are not copied.
    """
    if anew:
        (folder / LIST).unlink(missing_ok=True)
        for name in ("harness", "data"):
            shutil.rmtree(folder / name, ignore_errors=True)
    for name, files in (("harness", _sources(source / "nanochat", source)), ("data", _prepared(data, data))):
        if (folder / name).exists():
            continue
        draft = folder / f"{name}.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for path, relative in files:
            if path.name == "train.py" and name == "harness" and len(relative.parts) == 2:
                continue
            (draft / relative).parent.mkdir(parents=True, exist_ok=True)
            _take(path, draft / relative)
        draft.rename(folder / name)
    if not (folder / LIST).exists():
        _write_list(folder)


def harness_version(folder: Path) -> int | None:
    """Return the version of the messages that a run's own harness understands; None where it has no harness, or an altered one."""
    harness = folder / "harness" / "nanochat"
    if not harness.exists():
        return None
    try:
        found = VERSION_LINE.search((harness / "contract" / "messages.py").read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = None  # as in the first version, or removed since: the check of all copies tells
        with contextlib.suppress(OSError):
            if "contract/messages.py" in (folder / LIST).read_text(encoding="utf-8"):
                return None
    except (OSError, UnicodeDecodeError):
        return None
    return int(found[1]) if found else 1


def _take(path: Path, target: Path) -> None:
    """Copy a file, or link to it where it is large and the file system has links."""
    if path.stat().st_size > COPY_LIMIT:
        with contextlib.suppress(OSError):
            target.symlink_to(path.resolve())
            return
    shutil.copyfile(path, target)


def _sources(folder: Path, top: Path) -> Iterator[tuple[Path, Path]]:
    """The sources of the modules in `folder`, with their paths below `top`: all that Python could import of it as a source."""
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(top)
        if path.is_file() and all(part.isidentifier() for part in (*relative.parts[:-1], path.stem)):
            yield path, relative


def _prepared(folder: Path, top: Path) -> Iterator[tuple[Path, Path]]:
    """The files of prepared data, with their paths below `top`."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in DATA and not path.name.startswith(".") and path.name != dataset.SOURCES:
            yield path, path.relative_to(top)


def _manifest(data: Path) -> dict[Path, str]:
    """The hashes that the manifest of prepared data names: what it lists need not be read once more to be written down."""
    try:
        found = dataset.read(data)
    except dataset.DataError:
        return {}
    return {data / name: digest for name, digest in found.files.items()} | {
        data / split.file: split.sha256 for split in found.splits.values()
    }


def _write_list(folder: Path) -> None:
    """Write down what the copies are: path below the run's folder -> SHA-256."""
    files = [*_sources(folder / "harness", folder), *_prepared(folder / "data", folder)]
    if not files:
        return
    known = _manifest(folder / "data")
    hashes = {relative.as_posix(): known.get(path) or _hash(path) for path, relative in files}
    draft = folder / f"{LIST}.new"
    draft.write_text(json.dumps(hashes, indent=1))
    os.replace(draft, folder / LIST)


class IntegrityCheck:
    """The hashes of the frozen files, checked when a loop begins, and before and after each experiment.

    Only files that were copied count. What else lies beside them is never read: see core/execution/launch.py.
    A file whose size, times and inode are unchanged is not read again, so a check costs a few stats.
    """

    def __init__(self, folder: Path) -> None:
        """Raises UsageError when there are no copies, and TamperedError."""
        try:
            if not (folder / LIST).exists():
                _write_list(folder)  # a run of the version before
            hashes = msgspec.json.decode((folder / LIST).read_bytes(), type=dict[str, str])
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise UsageError(
                f"{folder} lacks the copies of the harness and the data ({error}). {_todo(folder)}"
            ) from error
        self._folder = folder
        self._hashes = {folder / name: digest for name, digest in hashes.items()}
        self._stats: dict[Path, tuple[int, ...]] = {}
        self.check()

    def check(self) -> None:
        """Raises TamperedError when a frozen file was altered or removed, and OSError when one cannot be read now."""
        for path, digest in self._hashes.items():
            try:
                stat = _stat(path)
                if stat != self._stats.get(path):
                    if _hash(path) != digest:
                        raise TamperedError(
                            f"The run's own copy {path} was altered. The result is not counted. {_todo(self._folder)}"
                        )
                    self._stats[path] = stat
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:  # others may pass
                raise TamperedError(
                    f"The run's own copy {path} cannot be read ({error.strerror}). The result is not counted. {_todo(self._folder)}"
                ) from error


def _todo(folder: Path) -> str:
    return f"{make('run', '--name', 'NEW', '--from', folder.name)} begins a run with fresh copies at its best."


def _stat(path: Path) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
