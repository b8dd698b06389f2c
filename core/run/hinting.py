"""Hints from outside: the commands `hint` and `hints`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from core.machine.project import Project, UsageError
from core.record import hints, journal, run_lock
from core.record.experiment import Hint
from core.record.fold import fold
from core.reporting import phrases
from core.run import commands
from core.run.background import say
from core.run.json_output import say_json
from nanochat.contract.value import Data


class Hints(Data, frozen=True, kw_only=True):
    """What `hints --json` prints."""

    run: str
    hints: tuple[Hint, ...]


def list_hints(project: Project, name: str | None, *, as_json: bool = False) -> None:
    """Print what the agents of a run were told. Raises UsageError if there is no such run."""
    folder = project.pick(name)
    all_hints = fold(journal.read(folder / journal.NAME)).all_hints
    if as_json:
        say_json(Hints(run=folder.name, hints=tuple(all_hints)))
        return
    for hint in all_hints:
        say(hints.line(hint))
    if not all_hints:
        say(f"Run {folder.name} has no hints. `make hint ARGS='\"TEXT\"'` gives one while its loop runs.")


def hint(project: Project, name: str | None, text: str | None, take_back: int | None, more: Sequence[str] = ()) -> None:
    """Send a hint to the loop of a run, or take one back, and print the answer.

    Args:
        project: The source tree and its logs.
        name: The run; None for the latest.
        text: The hint.
        take_back: The number of a hint to take back.
        more: Further words, of a text that was not in quotes.

    Raises:
        UsageError: Not exactly one of text and number is given, the run is not active, or the loop refuses.
    """
    if text is not None and more:
        words = phrases.one_line(" ".join((text, *more)), 60)
        raise UsageError(
            f"The hint needs quotes: `autoresearch hint {shlex.quote(words)}`, or `make hint ARGS='\"...\"'`. Nothing was recorded."
        )
    folder = project.pick(name)
    if (text is None) == (take_back is None):
        raise UsageError("Give either a text or --take-back N. Nothing was recorded.")
    if run_lock.alive(folder) is None:
        raise UsageError(
            f"Run {folder.name} is not active, so nothing was recorded. {phrases.resume_command(folder.name)} resumes it."
        )
    text = text.encode(errors="replace").decode() if text is not None else None  # bytes that are not UTF-8
    command = commands.Tell(text=text) if text is not None else commands.TakeBack(number=take_back or 0)
    reply = commands.send(folder, command)
    if not reply.ok:
        raise UsageError(reply.words)
    say(f"{folder.name}: {reply.words}")
