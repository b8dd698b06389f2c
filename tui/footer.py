"""The keys that are valid now, in one line. Textual's own footer builds a widget for each key anew at every change of focus."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui import keys
from tui.keys import KEYS, Now


class KeysLine(Static):
    """Keys can be clicked as well."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self._shown = ""

    def show(self, now: Now) -> None:
        found = [key for key in KEYS if key.footer and key.valid(now)]
        found.sort(key=lambda key: keys.FOOTER.index(key.action) if key.action in keys.FOOTER else len(keys.FOOTER))
        markup = "  ".join(f"[@click=app.{key.action}]{keys.display(key)}[/] {key.footer}" for key in found)
        if markup != self._shown:
            self._shown = markup
            self.update(Content.from_markup(" " + markup), layout=False)
