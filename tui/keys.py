"""The table of all keys. The app's bindings, the footer, the help and the command palette are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from core.reporting import phrases


@dataclass(frozen=True)
class KeyContext:
    """The conditions that decide which keys are valid."""

    alive: bool = False  # a loop runs
    waiting: bool = False  # a proposal waits for an answer; on the detail screen, the shown one
    paused: bool = False
    running: bool = False  # an experiment runs, not only the baseline
    selected: bool = False  # there is an experiment to act on
    judged: bool = False  # the selected experiment has a verdict
    rerunning: bool = False  # the selected experiment is about to run again
    zoomed: bool = False
    unattended: bool = False  # proposals are approved without asking
    detail: bool = False  # the detail screen is open
    small: bool = False  # one pane is shown at a time
    has_hints: bool = False  # there are hints, or reasons for skipping
    has_proposed_limits: bool = False  # the text of program.md asks for a limit that its front matter lacks
    tiny: bool = False  # the terminal is too small for the panes
    unreadable: bool = False  # it is also too small for a proposal
    pane: str = ""  # the number of the focused pane
    marked: int | None = None  # the experiment to compare another one with
    typing: bool = False  # keys are text: a prompt is open
    read_only: bool = False  # the app may change nothing
    browser: bool = False  # the app has no terminal of its own


@dataclass(frozen=True)
class Key:
    """A row of the table of keys."""

    keys: str  # names of Textual's keys, separated by commas
    action: str
    footer: str  # its name in the footer
    about: str  # its description in the help
    group: str  # its heading in the help
    valid: Callable[[KeyContext], bool] = lambda context: True
    unavailable: str = ""  # the note if it is pressed while it is not valid
    panes: str = ""  # the numbers of the panes in which the footer shows it; '' for all. It works in all of them


NO_EDITOR = "An editor needs a terminal. `make attach` opens the app in one."
NOTHING_WAITS, ANOTHER_WAITS = "Nothing waits for your answer.", "This one does not wait for your answer."
NONE_YET = "There is no experiment yet."
ONE_RUN = "A browser shows only the run that it was opened for. `make attach` opens the app in a terminal."
AT_THE_PANES = "This key works at the panes. Escape goes back to them."
LARGER = "This key needs a larger terminal."


def _waiting(context: KeyContext) -> bool:
    return context.alive and context.waiting


def _alive(context: KeyContext) -> bool:
    return context.alive


KEYS: tuple[Key, ...] = (
    Key("a", "approve", "approve", "Approve the proposal that waits for you.", "the proposal", _waiting, NOTHING_WAITS),
    Key("s", "skip", "skip", "Skip the proposal that waits for you.", "the proposal", _waiting, NOTHING_WAITS),
    Key("S", "skip_why", "skip, why", "Skip it with a reason, which the agent reads.", "the proposal", _waiting, NOTHING_WAITS),
    Key("e", "revise", "revise", "Edit the proposal in $EDITOR before you approve it. The countdown is paused meanwhile.", "the proposal",
        _waiting, NOTHING_WAITS),
    Key("p", "pause", "pause", "Start nothing new after this experiment, or resume.", "the loop", _alive),
    Key("x", "abort", "abort", "Press twice to abort the running experiment. It is recorded as interrupted.", "the loop",
        lambda now: now.alive and now.running, "No experiment is running."),
    Key("t", "tell", "tell", "Give the agent a hint. It reads the hint before its next proposal.", "the loop", _alive),
    Key("T", "hints", "hints", "List your hints and your reasons for skipping, and take one back.", "the loop",
        lambda now: now.has_hints, "You have given the agent no hint yet.", panes="7"),
    Key("u", "unattended", "unattended", "Press twice to approve proposals without asking (also a waiting one), or to be asked "
        "again. Three unanswered proposals in a row also end the asking.", "the loop", _alive),
    Key("E", "own", "your own", "An experiment of your own: edit the best train.py in $EDITOR.", "the loop", _alive),
    Key("m", "program", "program", "Edit program.md in $EDITOR; the next proposal uses it.", "the loop", panes="1"),
    Key("b", "backlog", "ideas", "Edit the backlog of ideas in $EDITOR: one idea a line, the first one is tried first.", "the loop",
        panes="17"),
    Key("P", "adopt", "adopt limit", "Add a limit from the text of program.md to its front matter. Only the front matter is "
        "enforced.", "the loop", lambda now: now.has_proposed_limits, "The text of program.md suggests no limit beyond those in its front matter.",
        panes="1"),
    Key("Q", "stop", "stop", "Stop the loop after this experiment. It asks first.", "the loop", _alive),
    Key("r", "rerun", "rerun", "Run the selected experiment again on a new seed. Its verdict stays; ↻ is before its number meanwhile, + "
        "afterwards.",
        "the selected experiment",
        lambda now: now.alive and now.judged and not now.rerunning, "The selected experiment has no verdict yet, or is about to run again.",
        panes="25"),
    Key("o", "overrule", "overrule", "Give the selected experiment another verdict, recorded as yours.", "the selected experiment",
        lambda now: now.alive and now.judged, "The selected experiment has no verdict yet.", panes="25"),
    Key("y", "copy", "copy", "Copy the shown diff to the clipboard, and name the file it is in.", "the selected experiment",
        lambda now: now.selected, NONE_YET, panes="2"),
    Key("enter", "details", "details", "Show the selected experiment in full. There [ and ] go to the older and the newer one, whatever the order "
        "of the table.", "the selected experiment", lambda now: now.selected, NONE_YET),
    Key("c", "compare", "compare", "Mark the selected experiment. c on another one compares the two.", "the selected experiment",
        lambda now: now.selected, NONE_YET, panes="25"),
    Key("C", "compare_start", "with start", "Compare the selected experiment with the start of the run.", "the selected experiment",
        lambda now: now.selected, NONE_YET, panes="25"),
    Key("slash", "search", "search", "Search the table; an empty search shows all.", "looking around", panes="5"),
    Key("f", "filter", "filter", "Show all, kept, not kept, failed, cut short, or open experiments.", "looking around", panes="5"),
    Key("greater_than_sign", "sort", "sort", "Sort: newest, best, largest gain, longest, by agent. A click on a title of the table sorts by "
        "that column, another click reverses it.", "looking around", panes="5"),
    Key("v", "pin", "curve", "Keep the loss curve of the selected experiment in the pane of the loss, beside up to two more. v again removes it.",
        "looking around", lambda now: now.selected, NONE_YET, panes="35"),
    Key("F", "fold", "fold", "Fold the diff to a line for each part, or unfold it. In the pane of a diff, { and } go to another part, - folds it, "
        "and a click on its title as well.", "looking around", lambda now: now.selected, NONE_YET, panes="2"),
    Key("L", "logarithmic", "log scale", "Log scale of the loss.", "looking around", panes="3"),
    Key("z", "zoom", "zoom", "Let the focused pane fill the screen, and back.", "looking around",
        lambda now: not now.small or now.zoomed, "Here a pane fills the screen as it is."),
    Key("escape", "back", "back", "Leave the comparison, the zoom, or the filter, order and search of the table. The selected experiment stays; g "
        "follows the newest again.",
        "looking around",
        lambda now: not now.detail),
    Key("R", "runs", "runs", "List all runs. c on one of them compares it with this one.", "looking around"),
    Key("question_mark", "explain", "help", "Show all keys, panes and words.", "looking around"),
    Key("ctrl+p,colon", "command_palette", "all", "List all commands and themes.", "looking around"),
    Key("q,ctrl+q,ctrl+c", "detach", "detach", "Close the app. The loop keeps running; `make attach` opens the app again.", "looking around"),
)  # fmt: skip
PANES = "12345678"
FOOTER = (  # actions by importance, because most terminals cannot show all
    "approve", "skip", "skip_why", "revise", "explain", "command_palette", "detach", "pause", "details", "adopt", "program", "backlog", "search",
    "filter",
    "sort", "logarithmic", "pin", "fold", "copy", "hints", "abort", "tell", "compare", "compare_start", "rerun", "overrule", "zoom",
    "unattended", "own", "runs", "stop",
)  # fmt: skip
MOST_IN_FOOTER = 12  # keys; `?` shows the others
IN_TINY = (
    "approve",
    "skip",
    "pause",
    "skip_why",
    "detach",
    "details",
    "search",
    "tell",
    "explain",
)  # actions that also work in a terminal too small for the panes, by importance
IN_DETAIL = (
    "approve",
    "skip",
    "skip_why",
    "revise",
    "rerun",
    "overrule",
    "copy",
    "compare",
    "compare_start",
    "tell",
    "pause",
    "explain",
    "command_palette",
)  # actions that also work on the detail screen
NEED_LOOP = frozenset(
    key.action
    for key in KEYS
    if key.group in ("the proposal", "the loop") and key.action not in ("program", "backlog", "adopt", "hints")
) | {"rerun", "overrule"}  # actions that the loop carries out
CHANGING = NEED_LOOP | {"program", "backlog", "adopt"}  # actions that change the run, program.md or the backlog
ASK_LINE = frozenset({"skip_why", "tell", "search"})  # actions that open a line, so that text may follow the key
IN_EDITOR = ("revise", "own", "program", "backlog")  # actions that open an editor
PRINTED = {"greater_than_sign": ">", "slash": "/", "question_mark": "?", "ctrl+p": ":", "colon": ":"}


def bindings() -> list[BindingType]:
    """Return the bindings of the app, including the digits that focus panes."""
    result: list[BindingType] = []
    for key in KEYS:
        result += [Binding(name, key.action, key.about, show=False) for name in key.keys.split(",")]
    return result + [Binding(digit, f"pane({digit})", f"pane {digit}", show=False) for digit in PANES]


def display(key: Key) -> str:
    """Return the key as it is printed on the keyboard."""
    first = key.keys.split(",")[0]
    return PRINTED.get(first, first)


def label(key: Key, context: KeyContext) -> str:
    """Return a short name of what the key does now."""
    if key.action == "pause" and context.paused:
        return "resume"
    if key.action == "unattended" and context.unattended:
        return "ask me"
    return "zoom out" if key.action == "zoom" and context.zoomed else key.footer


def notice(context: KeyContext, width: int) -> str:
    """Return what the footer says about a comparison that the user has begun, in at most `width` columns; '' without one."""
    if context.marked is None:
        return ""
    leave = "" if context.detail else ", escape to leave"
    begun = f"comparing with #{context.marked}: choose another and press c"
    return begun + leave if len(begun + leave) <= width else begun


def is_valid(action: str, context: KeyContext) -> bool:
    """Return whether an action is valid now. Actions that are not in the table are always valid."""
    known = [key for key in KEYS if key.action == action]
    if _forbidden(action, context):
        return False
    if action == "detach":  # valid on every screen: on the detail screen q goes back, but ctrl+c and ctrl+q detach
        return True
    if known and not _has_room(action, context):
        return False
    if known and context.detail and action not in IN_DETAIL:
        return False
    return all(key.valid(context) for key in known)


def _has_room(action: str, context: KeyContext) -> bool:
    """Return whether the terminal is large enough for an action."""
    return not context.tiny or (action in IN_TINY and not context.unreadable)


def _forbidden(action: str, context: KeyContext) -> str:
    """Return why this app never allows an action, or ''."""
    if context.read_only and action in CHANGING:
        return phrases.READ_ONLY
    if context.browser and action == "runs":
        return ONE_RUN
    return NO_EDITOR if context.browser and action in IN_EDITOR else ""


def key_of(*names: str | None) -> Key | None:
    """Return the row of a key by one of its names: that of Textual, or its character. None if it is not in the table."""
    return next((key for key in KEYS if not set(key.keys.split(",")).isdisjoint(names)), None)


def unknown(name: str) -> str:
    """Return the note about a key that does nothing, as a sentence. `name`: the key, as it is printed or as Textual names it."""
    return f"The key {name} does nothing here. ? shows all keys."


def is_forbidden(key: Key, context: KeyContext) -> bool:
    """Return whether this app never allows what a key does."""
    return bool(_forbidden(key.action, context))


def reason(key: Key, context: KeyContext, resume: str, *, page: bool = False) -> str:
    """Return why a key does nothing now, as a sentence; '' if it is valid.

    Args:
        key: The key.
        context: The present conditions.
        resume: The command that resumes the run.
        page: Whether a page covers the panes.
    """
    if is_valid(key.action, context) and not page:
        return ""
    if forbidden := _forbidden(key.action, context):
        return forbidden
    if not _has_room(key.action, context):
        return LARGER
    if not context.alive and key.action in NEED_LOOP:
        return f"This key needs a running loop. {resume} resumes the run; q closes the app."
    if page or (context.detail and key.action not in IN_DETAIL):
        return AT_THE_PANES
    return ANOTHER_WAITS if context.detail and key.group == "the proposal" else key.unavailable


def valid_keys(context: KeyContext) -> list[Key]:
    """Return the keys for the footer, most important first: those that are valid now and matter in the focused pane."""
    if context.typing:
        return []
    footer = IN_TINY if context.tiny else FOOTER
    actions = [action for action in footer if is_valid(action, context) and not (context.detail and action == "detach")]
    found = [key for action in actions for key in KEYS if key.action == action]
    return [key for key in found if context.detail or not context.pane or not key.panes or context.pane in key.panes]
