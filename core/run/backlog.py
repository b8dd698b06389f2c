"""The file of ideas in a run's folder. A human may save it at any moment; nothing that the human wrote is lost."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.judging.gain import Scale
from core.judging.schedule import CUT_SHORT
from core.record import backlog
from core.record.state import State
from core.reporting import phrases

GRACE_S = 5.0  # in which an editor that began to save has ended
_COPY = re.compile(rf"\.{re.escape(backlog.NAME)}\.\d+-\d+")  # the names of the copies that `_write` makes
_HERE, _EXCHANGE, _SWAP = -100, 2, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


@dataclass
class _Copy:
    """A copy that was replaced: what it said when it was looked at last, and since when it is replaced."""

    path: Path
    seen: str
    since: float

    def now(self) -> str:
        """Return what it says now. Somebody may have removed it."""
        try:
            return read(self.path)
        except OSError:
            return self.seen


class Backlog:
    """The backlog of a run. The loop is the only program that writes it besides the human's editor.

    Each change is written to a copy, which then changes places with the file. What was replaced is read afterwards: if it is not
    what the change began with, a human has saved meanwhile, and the change is made again to the human's text. A replaced copy
    stays for GRACE_S, and is looked at with the next change, since an editor may still be writing to it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / backlog.NAME
        self._replaced: list[_Copy] = []
        self._count = 0  # of written copies

    def begin(self) -> None:
        """Write the file of a new run, unless it exists. Errors are ignored: a run works without it."""
        with contextlib.suppress(OSError), self.path.open("x", encoding="utf-8") as file:
            file.write(backlog.HEAD)

    def clean(self) -> None:
        """Remove the copies that a killed loop has left. Files of editors have similar names and stay. Errors are ignored."""
        for left in self.path.parent.glob(f".{backlog.NAME}.*"):
            if _COPY.fullmatch(left.name):
                with contextlib.suppress(OSError):
                    left.unlink()

    def untried(self, state: State) -> tuple[str, ...]:
        """Return the ideas that no experiment has tried or tries now, from the top. Returns () if the file cannot be read."""
        try:
            text = read(self.path)
        except OSError:
            return ()
        return backlog.untried(text, _taken(state)) if backlog.untried(text) else ()

    def add(self, ideas: Iterable[str]) -> None:
        """Add ideas of an agent at the end, unless MOST_OPEN wait already. Errors are ignored: the journal has them."""
        added = tuple(ideas)
        with contextlib.suppress(OSError):
            self._edit(lambda text: backlog.extended(text, added))

    def fresh(self, ideas: Iterable[str]) -> tuple[str, ...]:
        """Return the ideas that `add` would add now. If the file cannot be read, all count."""
        added = tuple(ideas)
        try:
            return backlog.fresh(read(self.path), added)
        except OSError:
            return added

    def movable(self, state: State) -> tuple[str, ...]:
        """Return the ideas that agents have added in this run and that no experiment has tried or tries now, from the top."""
        own = {idea for e in state.experiments.values() for idea in e.notes.later or ()} - _taken(state)
        try:
            return backlog.movable(read(self.path), own) if own else ()
        except OSError:
            return ()

    def order(self, ideas: Sequence[str], state: State) -> None:
        """Put the `movable` ideas in this order, the most urgent first. All other lines stay. Errors are ignored."""
        own = self.movable(state)
        with contextlib.suppress(OSError):
            self._edit(lambda text: backlog.ordered(text, ideas, own))

    def mark(self, state: State) -> None:
        """Write results at the ideas that were tried. Errors are ignored: the next verdict does it."""
        try:
            if not self._replaced and not backlog.untried(read(self.path)):
                return  # in a long run, this is much quicker than what follows
        except OSError:
            return
        results = _results(state)
        if results:
            with contextlib.suppress(OSError):
                self._edit(lambda text: backlog.marked(text, results))

    def close(self) -> None:
        """Remove the copies that were replaced, after a last look at them. Errors are ignored."""
        with contextlib.suppress(OSError):
            self._edit(lambda text: text)
        for copy in self._replaced:
            copy.path.unlink(missing_ok=True)
        self._replaced.clear()

    def _edit(self, change: Callable[[str], str]) -> None:
        """Change the text of the file. A file that was deleted or emptied stays so. Raises OSError.

        An editor that saves into the same file empties it first. So an empty text is not what the human wants to say.
        """
        path = self.path.resolve()  # a link stays a link
        try:
            text = expected = read(path)
        except FileNotFoundError:
            return
        if not text:
            return
        looked = [(copy, copy.now()) for copy in self._replaced]
        # What a human has saved to a replaced copy, and what the copy said before.
        saved = [(late, copy.seen) for copy, late in looked if late not in ("", copy.seen)]
        while True:
            whole = text
            for late, seen in saved:
                whole = backlog.rescued(whole, late, seen)
            new = change(whole)
            if new == text == expected:
                break
            replaced = self._write(path, new, expected)
            if replaced in ("", expected, new):
                break
            saved.append((replaced, expected))
            text, expected = replaced, new
        for copy, late in looked:
            copy.seen = late or copy.seen
            if time.monotonic() - copy.since > GRACE_S:
                copy.path.unlink(missing_ok=True)
                self._replaced.remove(copy)

    def _write(self, path: Path, text: str, expected: str) -> str:
        """Replace the file in one step, and return what it said until then: as expected, or what a human wrote. Raises OSError."""
        self._count += 1
        copy = path.with_name(f".{backlog.NAME}.{os.getpid()}-{self._count}")
        with copy.open("wb") as file:
            file.write(text.encode(errors="surrogateescape"))
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
        if not _exchange(copy, path):
            before = read(path)  # this file system cannot exchange two files; the time until the next line is short
            os.replace(copy, path)
            return before
        replaced = read(copy)
        self._replaced.append(_Copy(copy, replaced or expected, time.monotonic()))
        return replaced


def read(path: Path) -> str:
    """Return the text of a backlog. Bytes that are not UTF-8 are kept. Raises OSError, also if it is too large to be one."""
    with path.open("rb") as file:
        data = file.read(backlog.MOST_BYTES + 1)
    if len(data) > backlog.MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data.decode(errors="surrogateescape")


def listed(folder: Path) -> tuple[str, ...]:
    """Return the untried ideas in a run's backlog, from the top; none if it cannot be read."""
    try:
        return backlog.untried(read(folder / backlog.NAME))
    except OSError:
        return ()


def _taken(state: State) -> set[str]:
    """Return the ideas that an experiment tries now or has tried.

    One that ended without a word on its idea, such as by an interruption, leaves it open until CUT_SHORT of them have followed it.
    """
    taken, cut_short = set[str](), Counter[str]()
    for e in state.experiments.values():
        if e.verdict is None or not e.verdict.may_repeat:
            taken.add(e.notes.follows)
        elif e.launched:
            cut_short[e.notes.follows] += 1
    return taken | {idea for idea, times in cut_short.items() if times >= CUT_SHORT}


def _results(state: State) -> dict[str, str]:
    """Return idea -> the result of the last experiment that tried it. An idea that an experiment tries now has no result."""
    scale, results, taken = Scale(state), dict[str, str](), _taken(state)
    wanted = taken - {e.notes.follows for e in state.experiments.values() if e.verdict is None} - {""}
    for e in state.experiments.values():
        if e.verdict is None or e.notes.follows not in wanted:
            continue
        if e.verdict.may_repeat and e.notes.follows in results:  # an earlier result says more
            continue
        change = scale.change(e)
        score = f", {phrases.change(change)}" if change is not None else ""
        results[e.notes.follows] = f"#{e.number}: {phrases.verdict(e)}{score}"
    return results


def _exchange(one: Path, other: Path) -> bool:
    """Let two files change places in one step. Returns False if this system or file system cannot do that."""
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        swap, arguments = getattr(libc, "renamex_np", None), (first, second, _SWAP)
    else:
        swap, arguments = getattr(libc, "renameat2", None), (_HERE, first, _HERE, second, _EXCHANGE)
    return swap is not None and swap(*arguments) == 0
