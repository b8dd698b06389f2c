"""The file of ideas in a run's folder. A human may save it at any moment; nothing that the human wrote is lost."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from core.judging.gain import Scale
from core.record import backlog
from core.record.state import State
from core.reporting import phrases

MOST_OPEN = 40  # untried ideas beyond which agents add none
_HERE, _EXCHANGE, _SWAP = -100, 2, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


class Backlog:
    """The backlog of a run. The loop is the only program that writes it besides the human's editor.

    Each change is written to a copy, which then changes places with the file. What was replaced is read afterwards: if it is not
    what the change began with, a human has saved meanwhile, and the change is made again to the human's text. The replaced copy
    stays until the next change, since an editor may still be writing to it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / backlog.NAME
        self._replaced: tuple[Path, str] | None = None  # the copy that was replaced last, and what it said

    def begin(self) -> None:
        """Write a new file if there is none, and remove what a killed loop has left. Errors are ignored: a run works without it."""
        for left in self.path.parent.glob(f".{backlog.NAME}.*"):
            left.unlink(missing_ok=True)
        with contextlib.suppress(OSError), self.path.open("x", encoding="utf-8") as file:
            file.write(backlog.HEAD)

    def untried(self, state: State) -> tuple[str, ...]:
        """Return the ideas that no experiment has followed, from the top. There are none if the file cannot be read."""
        try:
            return backlog.untried(read(self.path), {e.notes.follows for e in state.experiments.values()})
        except OSError:
            return ()

    def add(self, ideas: Iterable[str]) -> None:
        """Add ideas of an agent at the end, unless there are MOST_OPEN already. Errors are ignored: the journal has them."""

        def change(text: str) -> str:
            room = MOST_OPEN - len(backlog.untried(text))
            return backlog.extended(text, list(ideas)[: max(0, room)])

        with contextlib.suppress(OSError):
            self._edit(change)

    def mark(self, state: State) -> None:
        """Write results at the ideas that were tried. Errors are ignored: the next verdict does it."""
        results = _results(state)
        if results:
            with contextlib.suppress(OSError):
                self._edit(lambda text: backlog.marked(text, results))

    def close(self) -> None:
        """Remove the copy that was replaced last, after a last look at it. Errors are ignored."""
        with contextlib.suppress(OSError):
            self._edit(lambda text: text)
        if self._replaced is not None:
            self._replaced[0].unlink(missing_ok=True)
            self._replaced = None

    def _edit(self, change: Callable[[str], str]) -> None:
        """Change the text of the file. A file that was deleted stays deleted. Raises OSError."""
        path = self.path.resolve()  # a link stays a link
        try:
            text = expected = read(path)
        except FileNotFoundError:
            return
        late, seen = self._late()
        while True:
            new = change(backlog.rescued(text, late, seen))
            if new == text == expected:
                return
            replaced = self._write(path, new)
            if replaced in (expected, new):
                return
            text, expected = replaced, new

    def _late(self) -> tuple[str, str]:
        """Return what the copy that was replaced last says now, and what it said."""
        if self._replaced is None:
            return "", ""
        path, seen = self._replaced
        try:
            return read(path), seen
        except OSError:
            return "", ""

    def _write(self, path: Path, text: str) -> str:
        """Replace the file in one step, and return what it said until then. Raises OSError."""
        copy = path.with_name(f".{backlog.NAME}.{os.getpid()}")
        copy.unlink(missing_ok=True)
        with copy.open("xb") as file:
            file.write(text.encode(errors="surrogateescape"))
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
        if not _exchange(copy, path):
            before = read(path)  # this file system cannot exchange two files; the time until the next line is short
            os.replace(copy, path)
            return before
        replaced = read(copy)
        self._replaced = (copy, replaced)
        return replaced


def read(path: Path) -> str:
    """Return the text of a backlog. Bytes that are not UTF-8 are kept. Raises OSError, also if it is too large to be one."""
    with path.open("rb") as file:
        data = file.read(backlog.MOST_BYTES + 1)
    if len(data) > backlog.MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data.decode(errors="surrogateescape")


def count(folder: Path) -> int:
    """Return the number of untried ideas in a run's backlog; 0 if it cannot be read."""
    try:
        return len(backlog.untried(read(folder / backlog.NAME)))
    except OSError:
        return 0


def _results(state: State) -> dict[str, str]:
    """Return idea -> the result of the last experiment that followed it, if that has a verdict."""
    scale, found = Scale(state), dict[str, str]()
    for e in state.experiments.values():
        if not e.notes.follows:
            continue
        if e.verdict is None:
            found.pop(e.notes.follows, None)
            continue
        change = scale.change(e)
        score = f", {change:+.4f}" if change is not None else ""
        found[e.notes.follows] = f"#{e.number}: {phrases.verdict(e)}{score}"
    return found


def _exchange(one: Path, other: Path) -> bool:
    """Let two files change places in one step. Returns False if this system or file system cannot do that."""
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        swap, arguments = getattr(libc, "renamex_np", None), (first, second, _SWAP)
    else:
        swap, arguments = getattr(libc, "renameat2", None), (_HERE, first, _HERE, second, _EXCHANGE)
    return swap is not None and swap(*arguments) == 0
