"""The footer of a screen with the valid keys."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from tui import keys
from tui.keys import KeyContext
from tui.textual_internals import Static

TYPING = (("enter", "app.answer", "done"), ("escape", "app.cancel_answer", "cancel"))  # while keys are text


class KeysLine(Static):
    """Shows the keys with their names, in one line below a notice if there is one. They can be clicked.

    Faster than Textual's own footer, which builds a widget for each key whenever the focus changes.
    """

    def __init__(self, own_keys: Sequence[tuple[str, str, str]] = ()) -> None:
        """`own_keys` are keys of the screen, as tuples (key, action, name). They are shown first."""
        super().__init__(id="keys")
        self._own_keys = own_keys
        self._shown = ""

    def show(self, context: KeyContext) -> None:
        """Show the most important valid keys, as many as fit, below a notice if there is one."""
        valid = keys.valid_keys(context)
        entries = [*TYPING] if context.typing else [*self._own_keys]
        entries += [(keys.display(key), f"app.{key.action}", keys.label(key, context)) for key in valid]
        room = width = self.app.size.width - 2
        shown: list[str] = []
        for key, action, name in entries[: keys.MOST_IN_FOOTER]:
            room -= len(f"{key} {name}") + (2 if shown else 0)
            if room < 0:
                break
            shown.append(f"[@click={action}]{key.replace('[', chr(92) + '[')}[/] {name}")
        lines = ["  ".join(shown)]
        if notice := keys.notice(context, width):
            lines.insert(0, f"[bold $warning]{notice}[/]")
        markup = "\n".join(lines)
        if markup != self._shown:
            grown = markup.count("\n") != self._shown.count("\n")
            self._shown = markup
            self.update(Content.from_markup(markup), layout=grown)
