"""Tells the loop that the human uses the app, so that no proposal is approved by time-out meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from core.run import commands

EVERY_S = 1.0  # least time between two messages about keys
READING_S = 120.0  # a page without a key for so long is taken for left open


class Attention:
    """Lets the countdown begin again at each key, and holds it while the human types, reads or edits.

    Args:
        who: Identifies the app to the loop.
        send: Sends a command in the background.
    """

    def __init__(self, who: str, send: Callable[[commands.Command], object]) -> None:
        self._who, self._send = who, send
        self._used_t = self._said_t = -math.inf  # when a key was pressed, and when the loop was told so
        self._is_held = self._is_editing = False

    def use(self) -> None:
        """Note a key or a click."""
        self._used_t = now = time.monotonic()
        if now - self._said_t >= EVERY_S:
            self._said_t = now
            self._send(commands.Attend())

    def update(self, *, typing: bool, reading: bool) -> None:
        """Hold the countdown, or let it go on.

        Args:
            typing: Whether a prompt, a menu or the command palette is open.
            reading: Whether a page is open.
        """
        is_read = reading and time.monotonic() - self._used_t < READING_S
        held = self._is_editing or typing or is_read
        if held != self._is_held:
            self._is_held = held
            self._send(self._hold(held))

    def edit(self) -> commands.Hold:
        """Return the command that holds the countdown before an editor takes the terminal. It is held until `end_edit`."""
        self._is_held = self._is_editing = True
        return self._hold(True)

    def end_edit(self) -> None:
        """Let the next update decide about the countdown."""
        self._is_editing = False

    def reset(self) -> None:
        """Forget that the countdown is held, since its loop has ended."""
        self._is_held = False

    def _hold(self, held: bool) -> commands.Hold:
        return commands.Hold(on=held, who=self._who)
