"""Whatever ends the app, the terminal is as it was before it."""

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

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
FULL_S = 1.0  # how long a terminal that nobody reads is waited for
# What Textual switches on, switched off: mouse reports, pasting in brackets, reports of size and focus, synchronised output, no
# wrapping of lines, kitty's keys, the alternate screen, the hidden cursor. First, whatever was cut off is ended.
RESTORE = (
    b"\x1b\\\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?2004l\x1b[?2048l\x1b[?2026l"
    b"\x1b[?1004l\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h"
)


class Terminal:
    """The terminal of this process. Made before the app starts, it knows how the terminal was."""

    def __init__(self) -> None:
        self._before: list[object] | None = None
        with contextlib.suppress(termios.error):
            self._before = termios.tcgetattr(0)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """The app has the terminal inside of this. An exception that leaves it leaves no trace of the app on the terminal."""
        try:
            yield
        except BaseException:
            self._write(RESTORE)
            raise
        finally:
            self._as_before()

    def watch(self) -> None:
        """From now on a signal that ends the app gives the terminal back first; so does a terminal that can no longer be written.

        A signal that was ignored when the app was started stays ignored.
        """
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._ended)
        threading.excepthook = self._thread_failed

    def _ended(self, number: int, frame: FrameType | None) -> None:
        """At once, and without Textual: its writer may hang on a terminal that is gone. The app holds nothing that needs saving."""
        name = signal.Signals(number).name
        words = (
            b""
            if number == signal.SIGHUP
            else f"The app was closed by {name}. A loop that is at work goes on.\n".encode()
        )
        self._give_back(words, 128 + number)

    def _thread_failed(self, arguments: threading.ExceptHookArgs) -> None:
        """Textual's writer ends with an OSError where the terminal is gone, and the app would wait for it for ever."""
        if isinstance(arguments.exc_value, OSError):
            self._give_back(b"", 128 + signal.SIGHUP)
        threading.__excepthook__(arguments)

    def _give_back(self, words: bytes, code: int) -> None:
        self._write(RESTORE + words, last=True)
        self._as_before()
        os._exit(code)

    @staticmethod
    def _write(content: bytes, *, last: bool = False) -> None:
        """`last`: what other threads still write comes to nothing."""
        with contextlib.suppress(OSError, AttributeError, ValueError):
            number = sys.__stderr__.fileno()  # type: ignore[union-attr]  # where Textual writes
            terminal = os.dup(number)
            if last:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if select.select([], [terminal], [], FULL_S)[1]:
                os.write(terminal, content)

    def _as_before(self) -> None:
        with contextlib.suppress(termios.error):
            if self._before is not None:
                termios.tcsetattr(0, termios.TCSANOW, self._before)  # type: ignore[arg-type]
