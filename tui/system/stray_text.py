"""Text that the user types for a line that did not open. It must not act as keys."""

from __future__ import annotations

import math
import time

from textual import events

TEXT_S = 1.0  # without a key, after which a key is no longer part of a text
IGNORED = "Text that follows is ignored."


class StrayText:
    """Recognises such text. It ends with a pause, enter or escape."""

    def __init__(self) -> None:
        self._until, self._key = -math.inf, ""

    def expect(self, key: str) -> str:
        """Expect text after a key that should have opened a line but did not.

        Args:
            key: The character of the key, which may be pressed again.

        Returns:
            A sentence for the user.
        """
        self._until, self._key = time.monotonic() + TEXT_S, key
        return IGNORED

    def has(self, event: events.Key) -> bool:
        """Return whether a key is part of the text."""
        if time.monotonic() > self._until:
            return False
        is_end = event.key in ("enter", "escape")
        if is_end or event.character == self._key:
            self._until = -math.inf
            return is_end
        if not event.is_printable and event.key != "backspace":
            return False
        self._until = time.monotonic() + TEXT_S
        return True
