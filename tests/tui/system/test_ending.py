"""However the app ends, a real terminal is as it was: its settings, and every mode that was switched on."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SWITCH = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
ON_BEFORE = {7, 25}  # wrapping of lines, the cursor
STARTED = b"\x1b[?1004h"
BROKEN = """
import sys
from tui import app
from tui.__main__ import main
def broken(self): raise ZeroDivisionError("a bug")
app.AutoResearch.action_zoom = broken
sys.exit(main())
"""
EARLY = """
import os, runpy, signal, sys
from core.config import files
files.read = lambda root: os.kill(os.getpid(), signal.SIGINT)
runpy.run_module("tui", run_name="__main__", alter_sys=True)
"""


class Window:
    """A terminal with the app in it; what the app writes is read along."""

    def __init__(self, folder: Path, *, code: str = "", ignored: tuple[signal.Signals, ...] = ()) -> None:
        self.written = b""
        program = ["-c", code] if code else ["-m", "tui"]
        self.pid, self.master = pty.fork()
        if not self.pid:
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
            os.environ |= {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
            os.execv(sys.executable, [sys.executable, *program, str(folder)])
        self.before = termios.tcgetattr(self.master)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the app is gone
            while piece := os.read(self.master, 1 << 16):
                self.written += piece

    def sees(self, words: bytes) -> None:
        deadline = time.monotonic() + 100
        while words not in self.written:
            assert time.monotonic() < deadline, self.written[-2000:]
            time.sleep(0.02)

    def ended(self, key: bytes = b"") -> int:
        """Wait for its end, with a key pressed again and again; its exit code."""
        deadline = time.monotonic() + 100
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, self.written[-2000:]
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if key:
                    os.write(self.master, key)
            time.sleep(0.05)

    def check(self) -> str:
        """Every mode is as before, and so are the settings of the terminal. What stands on it then, without colours."""
        after = termios.tcgetattr(self.master)
        self._reader.join(10)
        state: dict[int, bool] = {}
        for numbers, kind in SWITCH.findall(self.written):
            state |= {int(number): kind == b"h" for number in numbers.split(b";")}
        assert {number for number, on in state.items() if on} <= ON_BEFORE, state
        assert state[25] and state.get(7, True)
        assert after == self.before
        left = self.written.rpartition(b"\x1b[?1049l")[2]
        return re.sub(rb"\x1b\[[0-?]*[ -/]*[@-~]", b"", left).decode()


@pytest.fixture
def windows() -> Iterator[list[Window]]:
    made: list[Window] = []
    yield made
    for window in made:
        with contextlib.suppress(OSError):
            os.kill(window.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.close(window.master)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal(recorded: Path, windows: list[Window], number: signal.Signals) -> None:
    window = Window(recorded)
    windows.append(window)
    window.sees(STARTED)
    os.kill(window.pid, number)
    assert window.ended() == 128 + number
    said = window.check()
    assert ("was closed by" in said) is (number != signal.SIGHUP) and "Traceback" not in said


def test_a_bug_leaves_a_sentence_and_a_file_that_has_it(recorded: Path, windows: list[Window]) -> None:
    window = Window(recorded, code=BROKEN)
    windows.append(window)
    window.sees(STARTED)
    window.sees(b"nov23")
    assert window.ended(b"8z") == 1, "8 leaves the summary, and z has the bug"
    said = window.check()
    assert "ZeroDivisionError" in said and "Traceback" not in said, said
    (report,) = recorded.glob("crash-*.txt")
    assert report.name in said.replace("\r\n", "") and "in broken" in report.read_text()


def test_bytes_that_are_no_text_do_not_end_it(recorded: Path, windows: list[Window]) -> None:
    window = Window(recorded)
    windows.append(window)
    window.sees(STARTED)
    window.sees(b"nov23")
    os.write(window.master, b"\xe9\xff\x80")
    assert window.ended(b"q") == 0
    assert "App closed. Run nov23" in window.check()


@pytest.mark.parametrize("ignored", [(), (signal.SIGHUP,)])
def test_a_terminal_that_closes_ends_it_quietly(
    recorded: Path, windows: list[Window], ignored: tuple[signal.Signals, ...]
) -> None:
    window = Window(recorded, ignored=ignored)
    windows.append(window)
    window.sees(STARTED)
    os.close(window.master)
    assert window.ended() == 128 + signal.SIGHUP


def test_ctrl_c_before_the_app_is_open_says_that_the_loop_keeps_running(recorded: Path, windows: list[Window]) -> None:
    window = Window(recorded, code=EARLY)
    windows.append(window)
    assert window.ended() == 130
    window._reader.join(10)
    assert b"A running loop keeps running; `make stop` stops it." in window.written
    assert b"Traceback" not in window.written
