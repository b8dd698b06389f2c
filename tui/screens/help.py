"""The help screen: all panes and keys, from the tables that the app uses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen

from core.reporting import phrases
from core.target import TARGET
from core.verdicts import Verdict
from nanochat.contract.registry import Entry
from tui import keys
from tui.textual_internals import Static
from tui.view import words
from tui.widgets.pane import SCROLL_KEYS, Numbered, Pane

INTRO = (
    f"An agent proposes changes to train.py; each is trained for a fixed time and scored in bits per byte ({TARGET.metric}, "
    f"{TARGET.direction}). Real improvements are kept as commits. This app only watches and sends commands: you can close it at "
    "any time, and the loop keeps running."
)
LEFT = 18  # width of the column of names
FIGURES = (
    ("best", f"The {TARGET.metric} of the best train.py, from which the next proposal starts: the score of the start plus the changes that were "
             "kept, each measured on the same seeds as what it is compared with. It moves when these are measured again."),
    ("val_bpb of a row", f"{phrases.SCALE[:1].upper()}{phrases.SCALE[1:]}. The details show what was measured."),
    ("start", f"The mean {TARGET.metric} of the train.py that the run began with, while nothing is kept. It moves with each further seed, and the "
              "scores of all rows with it."),
    ("seed 5 of 8", "A promising change is confirmed on further seeds, on eight at most. “for #3” is the best, trained for the same comparison."),
    ("noise", "The standard deviation of one score, and its likely range. "
              "The difference of two scores on one seed has 1.4 times this standard deviation."),
    ("change", f"The change of {TARGET.metric} against the parent, on the same seeds; {TARGET.better_sign}. "
               "It can differ from the difference of the two mean scores."),
    ("9/41 kept", "Kept and tried experiments. Skipped, interrupted, disturbed and conflicting ones do not count as "
                  "tried. For --max-experiments, only skipped and interrupted ones do not count."),
    ("11.6/h", "Experiments an hour, over the last three hours."),
    ("waits 0:42", "A waiting proposal is approved when its countdown ends. Each key restarts it. It is paused while you type, choose from a "
               "menu, edit, or read a page."),
    ("○ stopped", "No loop is running, so you can only look at the run; also ○ finished, and ○ dead if it ended unexpectedly. "
                  "Keys that need the loop (approve, rerun, overrule, tell, your own) work again after you resume the run."),
    ("the result", "At its end a run trains the start and the best afresh, on new seeds, and scores both on text that no experiment has seen: "
                   "the figure after “measured afresh”. `make apply` commits the best train.py to your checkout."),
)  # fmt: skip

OF_DISCARDED = (  # what the table shows in place of the verdict, if it was measured
    ("inconclusive", "Within the noise on one seed, so it was not tried further."),
    ("not confirmed", "It looked better at first, but not on further seeds."),
    ("worse", "Worse than the best by more than the noise explains."),
)
KINDS_OF_CRASH = "exception, syntax ..."  # the table shows the kind
WORDS = (
    *((one.words, one.about) for one in Verdict if one.kept),
    *OF_DISCARDED,
    *((KINDS_OF_CRASH if one is Verdict.CRASH else one.words, one.about) for one in Verdict if not one.kept),
    ("waiting", "Proposed. It waits for your answer, or for its turn to be asked about."),
    ("queued", "Approved. It waits for a free slot."),
    ("running", "It trains, is confirmed on another seed, or is being scored."),
    ("was queued ...", "The same, when the loop ended. It continues when the run is resumed."),
    (phrases.BY_YOU.lstrip(", "), "After a verdict: you gave it."),
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

    def __init__(self, panes: Sequence[Entry[type[Numbered]]]) -> None:
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
        rows: list[Content] = [Content(INTRO)]
        group = ""
        for key in keys.KEYS:
            if key.group != group:
                group = key.group
                rows += [Content(""), Content.styled(group, "bold $accent")]
            rows.append(
                row(" ".join(k if k == "ctrl+p" else keys.PRINTED.get(k, k) for k in key.keys.split(",")), key.about)
            )
        rows.append(row("j k g G", "Down, up, top, bottom, as the arrows do; g in the table follows the newest again."))
        rows.append(
            row("← →", "Read long lines of a diff, in the pane of the change, the table, and on pages with a diff.")
        )
        *digits, status = (entry.factory.NUMBER for entry in self._panes)
        about = f"Focus a pane; on a small screen, show it. {status} shows the status of the run in full."
        rows.append(row(f"{digits[0]} - {digits[-1]}", about))
        rows += [Content(""), Content.styled("panes", "bold $accent")]
        rows += [row(str(entry.factory.NUMBER), f"{entry.factory.NAME}: {entry.help}") for entry in self._panes]
        rows += [Content(""), Content.styled("words and figures", "bold $accent")]
        rows += [row(name, about) for name, about in FIGURES]
        rows += [Content(""), Content.styled("words in the table", "bold $accent")]
        rows += [row(name, about) for name, about in WORDS]
        return Content("\n").join(rows)


def _explanation(width: int, left: str, right: str) -> Content:
    """Return a row with a name and its explanation, wrapped in its own column."""
    text = words.wrap_indented(right.replace("`", ""), width, LEFT)
    name = f"  {left}".ljust(LEFT)
    gap = "" if name.endswith(" ") else "\n" + " " * LEFT  # a long name has a line of its own
    return Content.assemble((name, "bold"), gap, text)
