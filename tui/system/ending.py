"""Gives the terminal back as it was before the app, whatever ends the app."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from types import FrameType

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
WRITABLE_S = 1.0  # how long to wait for a terminal that takes no output
# Ends a sequence that was cut off, then switches off what Textual switches on: mouse reports, bracketed paste, reports of size and
# focus, synchronised output, no wrapping of lines, kitty's keys, the alternate screen, the hidden cursor.
RESTORE = (
    b"\x1b\\\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?2004l\x1b[?2048l\x1b[?2026l"
    b"\x1b[?1004l\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h"
)


class Terminal:
    """The terminal of this process. It is created before the app starts, and remembers the settings of the terminal."""

    def __init__(self) -> None:
        self._before: list[object] | None = None
        with contextlib.suppress(termios.error):
            self._before = termios.tcgetattr(0)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Within this the app has the terminal. Afterwards the terminal is as before, also after an exception."""
        try:
            yield
        except BaseException:
            self._write(RESTORE)
            raise
        finally:
            self._restore_settings()

    def watch(self) -> None:
        """Give the terminal back before a signal ends the app, and when the terminal can no longer be written.

        A signal that was ignored when the app was started stays ignored.
        """
        for number in ENDING_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._end_by_signal)
        threading.excepthook = self._thread_failed

    def _end_by_signal(self, number: int, frame: FrameType | None) -> None:
        """End at once and without Textual, whose writer may hang on a terminal that is gone. The app has nothing to save."""
        name = signal.Signals(number).name
        message = (
            b""
            if number == signal.SIGHUP
            else f"The app was closed by {name}. A loop that is at work goes on.\n".encode()
        )
        self._give_back(message, 128 + number)

    def _thread_failed(self, arguments: threading.ExceptHookArgs) -> None:
        """Textual's writer fails with an OSError where the terminal is gone, and the app would wait for it for ever."""
        if isinstance(arguments.exc_value, OSError):
            self._give_back(b"", 128 + signal.SIGHUP)
        threading.__excepthook__(arguments)

    def _give_back(self, message: bytes, code: int) -> None:
        self._write(RESTORE + message, last=True)
        self._restore_settings()
        os._exit(code)

    @staticmethod
    def _write(content: bytes, *, last: bool = False) -> None:
        """Write to the terminal where that is possible. With `last`, other threads cannot write after it."""
        with contextlib.suppress(OSError, AttributeError, ValueError):
            number = sys.__stderr__.fileno()  # type: ignore[union-attr]  # where Textual writes
            terminal = os.dup(number)
            if last:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if select.select([], [terminal], [], WRITABLE_S)[1]:
                os.write(terminal, content)

    def _restore_settings(self) -> None:
        with contextlib.suppress(termios.error):
            if self._before is not None:
                termios.tcsetattr(0, termios.TCSANOW, self._before)  # type: ignore[arg-type]
