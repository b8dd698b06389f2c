"""Restore the terminal however the app ends."""

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
WRITABLE_S = 1.0  # longest wait for a terminal that accepts no output
# Ends an incomplete escape sequence, then undoes the modes that Textual sets: mouse reports, bracketed paste, reports of size and
# focus, synchronised output, no line wrapping, the kitty keyboard protocol, the alternate screen, the hidden cursor.
RESTORE = (
    b"\x1b\\\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?2004l\x1b[?2048l\x1b[?2026l"
    b"\x1b[?1004l\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h"
)


class Terminal:
    """The terminal of this process. Create it before the app starts, since it saves the terminal's settings."""

    def __init__(self) -> None:
        self._before: list[object] | None = None
        with contextlib.suppress(termios.error):
            self._before = termios.tcgetattr(0)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Run the app inside this context. At the end it restores the terminal, also after an exception."""
        try:
            yield
        except BaseException:
            self._write(RESTORE)
            raise
        finally:
            self._restore_settings()

    def watch(self) -> None:
        """Restore the terminal and end when a signal arrives, or when the terminal can no longer be written to.

        Signals that were ignored when the app started stay ignored.
        """
        for number in ENDING_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._end_by_signal)
        threading.excepthook = self._thread_failed

    def _end_by_signal(self, number: int, frame: FrameType | None) -> None:
        """End immediately without Textual, whose writer may hang if the terminal is gone. The app has nothing to save."""
        name = signal.Signals(number).name
        message = (
            b""
            if number == signal.SIGHUP
            else f"The app was closed by {name}. A running loop keeps running.\n".encode()
        )
        self._give_back(message, 128 + number)

    def _thread_failed(self, arguments: threading.ExceptHookArgs) -> None:
        """End after an OSError. Textual's writer raises it if the terminal is gone, and the app would wait for ever."""
        if isinstance(arguments.exc_value, OSError):
            self._give_back(b"", 128 + signal.SIGHUP)
        threading.__excepthook__(arguments)

    def _give_back(self, message: bytes, code: int) -> None:
        self._write(RESTORE + message, last=True)
        self._restore_settings()
        os._exit(code)

    @staticmethod
    def _write(content: bytes, *, last: bool = False) -> None:
        """Write to the terminal if possible. With `last`, later writes of other threads are discarded."""
        with contextlib.suppress(OSError, AttributeError, ValueError):
            number = sys.__stderr__.fileno()  # type: ignore[union-attr]  # Textual writes to stderr
            terminal = os.dup(number)
            if last:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if select.select([], [terminal], [], WRITABLE_S)[1]:
                os.write(terminal, content)

    def _restore_settings(self) -> None:
        with contextlib.suppress(termios.error):
            if self._before is not None:
                termios.tcsetattr(0, termios.TCSANOW, self._before)  # type: ignore[arg-type]
