"""The help screen: all panes and keys, from the tables that the app uses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import keys
from tui.view import words
from tui.widgets.pane import SCROLL_KEYS, Numbered, Pane

INTRO = (
    "An agent proposes changes to train.py; each is trained for a fixed time and scored in bits per byte (val_bpb, lower is "
    "better). Real improvements are kept as commits. This app only watches and sends commands: close it at any time, the "
    "loop goes on."
)
LEFT = 18  # width of the column of names
FIGURES = (
    ("best", "The train.py that the next proposal starts from, by the mean val_bpb of all its trainings: it moves when it is measured again."),
    ("noise", "The standard deviation of one score, and a range that probably holds the true one. A difference on one seed has 1.4 times that."),
    ("change", "Against the train.py that was changed, on the same seeds; negative is better. The difference of two means may be another."),
    ("9/41 kept", "Kept of all that were tried. Skipped and interrupted ones were not tried, but --max-experiments counts the skipped."),
    ("11.6/h", "Experiments an hour, over the last three hours."),
    ("0:42, held", "What waits is approved when its minute is over. The clock stands still while you edit, type a reason, or read help."),
    ("no loop", "Only looking works then. What needs the loop (approve, rerun, overrule, tell, your own) does so again when the run goes on."),
    ("the result", "At its end a run trains the start and the best afresh, on new seeds, and scores both on text that no experiment has seen: "
                   "the figure after “measured afresh”. `apply` commits the best to your checkout: autoresearch --help."),
)  # fmt: skip


class HelpPane(Pane):
    """The scrolling text."""

    NUMBER: ClassVar[int] = 0
    NAME: ClassVar[str] = "help"


class HelpScreen(ModalScreen[None]):
    """Shows the help."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *SCROLL_KEYS,
        Binding("escape,q,question_mark,enter", "dismiss", "back", priority=True),
        Binding("ctrl+c,ctrl+q", "app.detach", "detach", priority=True),
    ]

    def __init__(self, panes: Sequence[type[Numbered]]) -> None:
        super().__init__()
        self._panes = panes

    def compose(self) -> ComposeResult:
        page = HelpPane()
        page.set_title("help · escape goes back")
        with page:
            yield Static(id="help-text")
        yield Static("escape back  j k scroll", id="page-keys")

    def on_mount(self) -> None:
        self.query_one(HelpPane).focus()

    def on_resize(self) -> None:
        width = self.query_one(HelpPane).scrollable_content_region.width
        self.query_one("#help-text", Static).update(self._text(width))

    def _text(self, width: int) -> Content:
        row = partial(_explanation, width)
        rows: list[Content] = [Content(INTRO), Content(""), Content.styled("panes", "bold $accent")]
        rows += [row(str(pane.NUMBER), f"{pane.NAME}: {pane.ABOUT}") for pane in self._panes]
        group = ""
        for key in keys.KEYS:
            if key.group != group:
                group = key.group
                rows += [Content(""), Content.styled(group, "bold $accent")]
            rows.append(
                row(" ".join(k if k == "ctrl+p" else keys.PRINTED.get(k, k) for k in key.keys.split(",")), key.about)
            )
        rows.append(row("j k g G", "Down, up, top, bottom, as the arrows do; g in the table follows the newest again."))
        rows.append(row("1 - 7", "Focus a pane; on a small screen, show it. 8 says how the run stands."))
        rows += [Content(""), Content.styled("words and figures", "bold $accent")]
        rows += [row(name, about) for name, about in FIGURES]
        return Content("\n").join(rows)


def _explanation(width: int, left: str, right: str) -> Content:
    """Return a row with a name and its explanation, wrapped in its own column."""
    text = words.wrap_indented(right.replace("`", ""), width, LEFT)
    return Content.assemble((f"  {left}".ljust(LEFT), "bold"), text)
