"""What the user can do with the result of a run, by key, on the summary."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """A key of the summary.

    Attributes:
        key: The key.
        action: The action of the app, or of the screen.
        name: What it does, in a word or two.
    """

    key: str
    action: str
    name: str


CLOSE = (
    Step("escape", "screen.dismiss", "panes"),
    Step("q", "app.detach", "close"),
    Step("?", "app.explain", "help"),
)


def next_steps(*, alive: bool, kept: bool, computed: bool, may_act: bool, browser: bool = False) -> tuple[Step, ...]:
    """Return the keys of the summary that are valid now.

    Args:
        alive: Whether a loop runs. Then `a` must not apply: elsewhere it approves a proposal.
        kept: Whether the run has kept a change.
        computed: Whether it was a rehearsal, which has no model to export.
        may_act: Whether the app may change something, and has a terminal for the commands.
        browser: Whether the app is in a browser, which is shown one run.
    """
    ended = may_act and not alive
    steps = [Step("a", "app.apply_best", "apply")] if ended and kept else []
    steps += [Step("h", "app.open_report", "report")]
    steps += [Step("e", "app.export_best", "export")] if ended and kept and not computed else []
    steps += [Step("c", "app.continue_run", "continue")] if ended else []
    steps += [] if browser else [Step("R", "app.runs", "runs")]
    return (*steps, *CLOSE)


def refusal(action: str, *, alive: bool, kept: bool, may_act: bool) -> str:
    """Return why a key of the summary does nothing now, as a sentence. The arguments are those of `next_steps`."""
    if not may_act:
        return "This needs the app in a terminal, and not read-only. `make attach` opens one."
    if alive:
        return "A loop works on this run. This key works when it has ended."
    name = action.removeprefix("app.").removesuffix("_best")
    return f"There is nothing to {name}: no change was kept." if not kept else "A rehearsal has no model to export."


def markup(steps: tuple[Step, ...]) -> str:
    """Return the keys as a line that can be clicked."""
    return "  ".join(f"[@click={step.action}]{step.key}[/] {step.name}" for step in steps)
