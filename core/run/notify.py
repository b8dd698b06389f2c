"""Notifications: a command of the user is run at the moments that matter, with the facts as JSON on its standard input.

Nothing is sent unless the user asks for it with `--notify`. The loop never waits for the command.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import msgspec

from core.judging import schedule
from core.machine.project import UsageError
from core.record import events as ev
from core.record.journal import JournalError
from core.record.live import Picture
from core.record.state import State
from core.reporting import phrases, status
from core.reporting.changes import LINE, short_name
from core.reporting.outcome import FinalCheck, Gain
from core.reporting.phrases import one_line, why_ended
from core.run.active import ActiveRun
from core.run.background import module
from core.target import TARGET
from nanochat.contract.value import Data

Moment = Literal["best", "waiting", "paused", "stalled", "ended"]
MOMENTS: tuple[Moment, ...] = get_args(Moment)
PRESETS = ("ntfy", "slack", "discord", "desktop", "terminal")
ALONE = ("desktop", "terminal")  # presets without a target
VARIABLE = "AUTORESEARCH_NOTIFY_TARGET"  # hands the value of --notify to the process, since all users see its arguments
LOG = "notify.log"  # the output of the commands, in the folder of the run
LONGEST_S = 30.0  # a command that takes longer is killed at the next event
END_S = 25.0  # how long the end of the loop waits for the last command


class Message(Data, frozen=True, kw_only=True):
    """What the command gets.

    Attributes:
        moment: `best`: a change was kept. `waiting`: a proposal waits for an answer. `paused`: the loop paused itself.
            `stalled`: the machine keeps failing, or no agent has proposed anything for half an hour.
            `ended`: the loop has ended, after the final check and the report.
        run: The name of the run.
        folder: The path of its folder.
        text: The news as one or two sentences.
        experiment: The number of the experiment; None if it is about the whole run.
        kept, tried: Counts of experiments.
        gain: The gain so far; None before the start was measured.
        final_check: The gain measured afresh; None before that.
    """

    moment: Moment
    run: str
    folder: str
    text: str
    experiment: int | None
    kept: int
    tried: int
    gain: Gain | None
    final_check: FinalCheck | None


def check(target: str | None, on: str | None = None) -> None:
    """Raise UsageError if the value of `--notify` or of `--notify-on` is not valid. None for one that is not given."""
    moments_of(on)
    if target is None:
        return
    if not target.strip():
        raise UsageError(
            "--notify needs a command, or one of ntfy:TOPIC, slack:URL, discord:URL, desktop, terminal. Nothing was started."
        )
    preset, _, rest = target.partition(":")
    if preset in PRESETS and preset not in ALONE and not rest:
        raise UsageError(
            f"--notify {preset} needs a target, such as {preset}:{'TOPIC' if preset == 'ntfy' else 'URL'}. Nothing was started."
        )


def moments_of(on: str | None) -> tuple[Moment, ...]:
    """Return the moments that `--notify-on` names, with commas between them. All for None. Raises UsageError."""
    if on is None:
        return MOMENTS
    named = [word.strip() for word in on.split(",") if word.strip()]
    if wrong := [word for word in named if word not in MOMENTS]:
        raise UsageError(
            f"--notify-on knows no moment {one_line(wrong[0], 40)}. Known are {', '.join(MOMENTS)}. Nothing was started."
        )
    if not named:
        raise UsageError(f"--notify-on needs some of {', '.join(MOMENTS)}, with commas. Nothing was started.")
    return tuple(moment for moment in MOMENTS if moment in named)


class Notifier:
    """Runs the command of the user. The first failure is reported; the others are only in the log.

    Args:
        target: A shell command, or a preset with its target: `ntfy:TOPIC`, `slack:URL`, `discord:URL`, `desktop`, `terminal`.
        folder: The folder of the run.
        report: Called with a sentence about the first failure.
        moments: The moments that the user wants to know about.
    """

    def __init__(
        self, target: str, folder: Path, report: Callable[[str], None], moments: Collection[Moment] = MOMENTS
    ) -> None:
        self._target, self._moments = target, moments
        self._folder = folder
        self._report = report
        self._running: list[tuple[subprocess.Popen[bytes], float]] = []
        self._has_failed = False

    def event(self, event: ev.AnyEvent, state: State) -> None:
        """Notify the user of an event if it is one of the moments. `state`: the state after it."""
        self._reap()
        news = moment(event, state)
        if news is not None:
            self.send(*news, state)

    def waiting(self, number: int, state: State) -> None:
        """Notify the user of a proposal that begins to wait."""
        text = f"#{number} waits for your answer: {one_line(state.experiments[number].hypothesis)}"
        self.send("waiting", text, number, state)

    def send(self, moment: Moment, text: str, number: int | None, state: State) -> None:
        """Run the command, if the user wants to know about this moment. Returns at once."""
        if moment not in self._moments:
            return
        facts = status.status(state, schedule.noise(state), None, Picture())
        message = Message(
            moment=moment, run=state.name, folder=str(self._folder), text=text, experiment=number, kept=facts.kept, tried=facts.tried,
            gain=facts.gain, final_check=facts.final_check,
        )  # fmt: skip
        news = {
            "AUTORESEARCH_MOMENT": moment, "AUTORESEARCH_RUN": state.name, "AUTORESEARCH_TEXT": text, VARIABLE: self._target,
        }  # fmt: skip
        try:
            reading, writing = os.pipe()
            try:
                os.write(
                    writing, msgspec.json.encode(message)
                )  # a pipe holds it, so nothing waits, and no disk is needed
                os.close(writing)
                with self._log() as log:
                    process = subprocess.Popen(
                        _command(self._target), stdin=reading, stdout=log, stderr=log, start_new_session=True, cwd=self._folder,
                        env=os.environ | news,
                    )  # fmt: skip
            finally:
                os.close(reading)
        except OSError as error:
            self._failed(f"it could not be started ({error.strerror})")
            return
        self._running.append((process, time.monotonic()))

    def _log(self) -> BinaryIO:
        """Return the log, opened for writing. On a full disk the output of the commands is lost."""
        try:
            return (self._folder / LOG).open("ab")
        except OSError:
            return Path(os.devnull).open("ab")

    def close(self) -> None:
        """Wait for the last commands, at most END_S seconds in all, and kill what is left."""
        deadline = time.monotonic() + END_S
        for process, _ in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self._reap(0.0)

    def _reap(self, longest_s: float = LONGEST_S) -> None:
        """Report commands that have failed, and kill those that take longer."""
        left = []
        for process, began in self._running:
            code = process.poll()
            if code is None and time.monotonic() - began > longest_s:
                _kill(process)
                self._failed(f"it took longer than {min(LONGEST_S, max(longest_s, END_S)):g} s")
            elif code is None:
                left.append((process, began))
            elif code:
                self._failed(f"exit code {code}")
        self._running = left

    def _failed(self, why: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._report(
                f"A notification failed: {why}. The run goes on; {self._folder / LOG} has the output of the command."
            )


def attached(active: ActiveRun, target: str, on: str | None = None) -> Notifier:
    """Return a notifier that gets each event of a run, after the run's own `report`.

    Args:
        active: The run.
        target: The value of `--notify`.
        on: The value of `--notify-on`; None for all moments.
    """
    before = active.report

    def failed(problem: str) -> None:
        with contextlib.suppress(JournalError):
            active.record(ev.Notice(text=problem))

    notifier = Notifier(target, active.folder, failed, moments_of(on))

    def report(event: ev.AnyEvent, state: State) -> None:
        before(event, state)
        notifier.event(event, state)

    active.report, active.waits = report, lambda number: notifier.waiting(number, active.state)
    return notifier


def moment(event: ev.AnyEvent, state: State) -> tuple[Moment, str, int | None] | None:
    """Return the moment of an event with its news and the number of the experiment; None if the user need not know."""
    match event:
        case ev.Judged() if event.verdict.kept:
            experiment = state.experiments[event.number]
            change = f" ({phrases.change(TARGET.change(event.gain))} {TARGET.unit})" if event.gain is not None else ""
            return "best", f"New best: #{event.number} {short_name(experiment, LINE)}{change}.", event.number
        case ev.Paused(reason=reason) if reason:
            return "paused", f"The run is paused: {one_line(reason)}", None
        case ev.Notice(stalled=True):
            return "stalled", f"The run is stalled: {one_line(event.text, 400)}", None
    return None


def ended(state: State) -> str:
    """Return the news of the end of the loop."""
    facts = status.status(state, schedule.noise(state), None, Picture())
    reason = why_ended(state.stopped) if state.stopped is not None else "it ended unexpectedly"
    result = f"{TARGET.metric} {facts.gain.words}" if facts.gain is not None else "no score"
    check = f" {facts.final_check.words}" if facts.final_check is not None else ""
    return f"Run {state.name} has ended ({one_line(reason)}): {facts.kept} of {facts.tried} kept, {result}.{check}"


def _command(target: str) -> list[str]:
    """Return the command for a target, which it finds in VARIABLE. A command of the user does not see the variable."""
    if target.partition(":")[0] in PRESETS:
        return module("core.run.notify_send")
    return ["/bin/sh", "-c", f'eval "unset {VARIABLE}\n${VARIABLE}"']


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
