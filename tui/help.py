"""The help: every pane and every key, from the tables that the app itself uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import keys
from tui.panes.base import MOVES, Pane

INTRO = (
    "An agent proposes changes to train.py; each is trained for a fixed time and scored in bits per byte (val_bpb, lower is "
    "better). Real improvements are kept as commits. This app only watches and sends commands: close it at any time, the "
    "loop goes on."
)


class HelpPane(Pane):
    """The text."""

    NUMBER: ClassVar[int] = 0
    NAME: ClassVar[str] = "help"


class HelpScreen(ModalScreen[None]):
    """Any of the usual keys leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("escape,q,question_mark,enter", "dismiss", "back", priority=True),
        Binding("ctrl+c,ctrl+q", "app.detach", "detach", priority=True),
    ]

    def __init__(self, panes: Sequence[tuple[int, str, str]]) -> None:
        super().__init__()
        self._panes = panes

    def compose(self) -> ComposeResult:
        page = HelpPane()
        page.head("help · escape goes back")
        with page:
            yield Static(self._text())
        yield Static("escape back  j k scroll", id="page-keys")

    def on_mount(self) -> None:
        self.query_one(HelpPane).focus()

    def _text(self) -> Content:
        rows: list[Content] = [Content(INTRO), Content(""), Content.styled("panes", "bold $accent")]
        rows += [_row(str(number), f"{name}: {about}") for number, name, about in self._panes]
        group = ""
        for key in keys.KEYS:
            if key.group != group:
                group = key.group
                rows += [Content(""), Content.styled(group, "bold $accent")]
            rows.append(
                _row(" ".join(k if k == "ctrl+p" else keys.SHOWN.get(k, k) for k in key.keys.split(",")), key.about)
            )
        rows.append(
            _row("j k g G", "Down, up, top, bottom, as the arrows do; g in the table follows the newest again.")
        )
        rows.append(_row("1 - 7", "Focus a pane; on a small screen, show it. 8 says how the run stands."))
        return Content("\n").join(rows)


def _row(left: str, right: str) -> Content:
    return Content.assemble((f"  {left:<16}", "bold"), right.replace("`", ""))
