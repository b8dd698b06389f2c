"""Copies of the harness and the prepared data for a run. They are made once and checked by their hashes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.errors import UserError
from core.machine.file_hashes import UnchangedFiles, sha256
from core.machine.project import UsageError
from nanochat.contract import dataset, layout
from nanochat.contract.shell import make

LIST = layout.COPIES
DATA = (".bin", ".npy", ".json")  # suffixes of prepared data
MADE = (
    layout.HARNESS,
    f"{layout.HARNESS}.new",
    layout.DATA,
    f"{layout.DATA}.new",
    LIST,
)  # what `freeze` creates in the folder of a run
COPY_LIMIT = 64 << 20  # bytes; larger files are linked, not copied


VERSION_LINE = re.compile(r"^VERSION = (\d+)", re.MULTILINE)  # in the harness' messages.py


class TamperedError(UserError):
    """A frozen file was altered. The message is shown to the user."""


def freeze(source: Path, data: Path, folder: Path, *, anew: bool = False) -> None:
    """Copy the harness and the data into the run's folder, unless they are there already, and write a list of their hashes.

    Other files in these folders, such as those of editors and file managers, are not copied.

    Args:
        source: The source tree.
        data: The folder of the prepared data.
        folder: The folder of the run.
        anew: Replace existing copies, which an interrupted start has left.
    """
    if anew:
        (folder / LIST).unlink(missing_ok=True)
        for name in (layout.HARNESS, layout.DATA):
            shutil.rmtree(folder / name, ignore_errors=True)
    copied = ((layout.HARNESS, _sources(source / "nanochat", source)), (layout.DATA, _prepared(data, data)))
    for name, files in copied:
        if (folder / name).exists():
            continue
        draft = folder / f"{name}.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for path, relative in files:
            if path.name == "train.py" and name == layout.HARNESS and len(relative.parts) == 2:
                continue
            (draft / relative).parent.mkdir(parents=True, exist_ok=True)
            _take(path, draft / relative)
        draft.rename(folder / name)
    if not (folder / LIST).exists():
        _write_list(folder)


def harness_version(folder: Path) -> int | None:
    """Return the version of the messages that a run's harness understands, or None if it has no harness or an altered one."""
    harness = folder / layout.HARNESS / "nanochat"
    if not harness.exists():
        return None
    try:
        match = VERSION_LINE.search((harness / "contract" / "messages.py").read_text(encoding="utf-8"))
    except FileNotFoundError:
        match = None  # the first version has no such file; if it is in the list, it was removed
        with contextlib.suppress(OSError):
            if "contract/messages.py" in (folder / LIST).read_text(encoding="utf-8"):
                return None
    except (OSError, UnicodeDecodeError):
        return None
    return int(match[1]) if match else 1


def _take(path: Path, target: Path) -> None:
    """Copy a file. A large file is linked instead, if the file system has links."""
    if path.stat().st_size > COPY_LIMIT:
        with contextlib.suppress(OSError):
            target.symlink_to(path.resolve())
            return
    shutil.copyfile(path, target)


def _sources(folder: Path, top: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the Python sources in `folder` that can be imported, with their paths relative to `top`."""
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(top)
        if path.is_file() and all(part.isidentifier() for part in (*relative.parts[:-1], path.stem)):
            yield path, relative


def _prepared(folder: Path, top: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files of prepared data, with their paths relative to `top`."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in DATA and not path.name.startswith(".") and path.name != dataset.SOURCES:
            yield path, path.relative_to(top)


def _manifest(data: Path) -> dict[Path, str]:
    """Return the hashes in the manifest of prepared data, so that its files need not be read again."""
    try:
        manifest = dataset.read(data)
    except dataset.DataError:
        return {}
    return {data / name: digest for name, digest in manifest.files.items()} | {
        data / split.file: split.sha256 for split in manifest.splits.values()
    }


def _write_list(folder: Path) -> None:
    """Write the list of copies: path relative to the run's folder -> SHA-256."""
    files = [*_sources(folder / layout.HARNESS, folder), *_prepared(folder / layout.DATA, folder)]
    if not files:
        return
    known = _manifest(folder / layout.DATA)
    hashes = {relative.as_posix(): known.get(path) or sha256(path) for path, relative in files}
    draft = folder / f"{LIST}.new"
    draft.write_text(json.dumps(hashes, indent=1))
    os.replace(draft, folder / LIST)


class IntegrityCheck:
    """Checks the hashes of the frozen files when a loop begins, and before and after each experiment.

    Only the copied files are checked. Other files beside them are never imported: see core/execution/launch.py.
    A file with the same size, times and inode is not read again, so a check only costs a few calls of stat.

    Raises:
        UsageError: There are no copies.
        TamperedError: A file was altered or removed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            if not (folder / LIST).exists():
                _write_list(folder)  # a run of an earlier version
            hashes = msgspec.json.decode((folder / LIST).read_bytes(), type=dict[str, str])
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise UsageError(
                f"{folder} lacks the copies of the harness and the data ({error}). {_todo(folder)}"
            ) from error
        self._folder = folder
        self._files = UnchangedFiles({folder / name: digest for name, digest in hashes.items()})
        self.check()

    def check(self) -> None:
        """Check all files.

        Raises:
            TamperedError: A file was altered or removed.
            OSError: A file cannot be read now.
        """
        try:
            altered = self._files.altered()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:  # other errors may be temporary
            raise TamperedError(
                f"The run's own copy {error.filename} cannot be read ({error.strerror}). The result is not counted. "
                f"{_todo(self._folder)}"
            ) from error
        if altered is not None:
            raise TamperedError(
                f"The run's own copy {altered} was altered. The result is not counted. {_todo(self._folder)}"
            )


def _todo(folder: Path) -> str:
    return f"{make('run', '--name', 'NEW', '--from', folder.name)} starts a new run with fresh copies from its best train.py."
