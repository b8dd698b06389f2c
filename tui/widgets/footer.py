"""The keys that are valid now. Textual's own footer builds a widget for each key anew at every change of focus."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from tui import keys
from tui.keys import Now

LINES = 2


class KeysLine(Static):
    """One line, or two where they are needed. Keys can be clicked as well."""

    def __init__(self, more: Sequence[tuple[str, str, str]] = ()) -> None:
        """`more` are a screen's own keys, as (key, action, name); they come first."""
        super().__init__(id="keys")
        self._more = more
        self._shown = ""

    def show(self, now: Now) -> None:
        found = [*self._more]
        found += [(keys.display(key), f"app.{key.action}", keys.label(key, now)) for key in keys.offered(now)]
        lines: list[list[str]] = [[]]
        room = width = self.app.size.width - 2
        for key, action, name in found:
            need = len(f"{key} {name}") + (2 if lines[-1] else 0)
            if need > room:
                if len(lines) == LINES:
                    break
                lines.append([])
                room, need = width, need - 2
            room -= need
            lines[-1].append(f"[@click={action}]{key.replace('[', chr(92) + '[')}[/] {name}")
        markup = "\n".join("  ".join(line) for line in lines)
        if markup != self._shown:
            grown = markup.count("\n") != self._shown.count("\n")
            self._shown = markup
            self.update(Content.from_markup(markup), layout=grown)
