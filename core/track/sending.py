"""Writes the experiments of a run to a tracker: those that are not there yet, once or while the run goes on."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.judging import schedule
from core.machine.project import UsageError
from core.record import journal, run_lock
from core.record.fold import apply
from core.record.state import State
from core.run import comparing, metrics
from core.run.reading import read_state
from core.track import facts
from core.track.base import Tracker, TrackFailed
from core.track.facts import Files
from core.track.tracked import Tracked
from nanochat.contract.value import Data

EVERY_S = 2.0  # time between two looks at the journal


class Sent(Data, frozen=True, kw_only=True):
    """What `track --json` prints.

    Attributes:
        run: Name of the run.
        tracker: Name of the tracker.
        exported: Number of experiments that were exported just now, the start included.
        before: Number of those that an earlier export has written.
        place: Where they are, as a sentence.
    """

    run: str
    tracker: str
    exported: int
    before: int
    place: str


class Sending:
    """Writes what is new in a run to a tracker.

    Args:
        folder: The folder of the run.
        tracker: Where to write.
        say: Prints a line.
    """

    def __init__(self, folder: Path, tracker: Tracker, say: Callable[[str], None]) -> None:
        self._folder, self._tracker, self._say = folder, tracker, say
        self._reader, self._state = journal.Reader(folder / journal.NAME), State(name=folder.name)
        self._done: set[int] = set()  # numbers that need no second look
        self.written = 0
        self.before = 0  # those that an earlier export has written

    def read(self) -> bool:
        """Read the new events of the journal. Returns whether there were any."""
        events = list(self._reader.new())
        for event in events:
            apply(self._state, event)
        return bool(events)

    def send(self) -> None:
        """Write the start and all experiments with a verdict that the tracker does not have.

        Raises:
            TrackFailed: The tracker has refused one. Those before it are written.
            OSError: A file cannot be written.
        """
        sigma = schedule.noise(self._state).sigma
        if 0 not in self._done and (start := facts.start(self._state, self._start_files())) is not None:
            self._send(start)
        for experiment in facts.trackable(self._state):
            if experiment.number not in self._done:
                self._send(facts.experiment(self._state, experiment.number, sigma, self._files(experiment.number)))

    def _send(self, tracked: Tracked) -> None:
        if self._tracker.has(tracked):
            self.before += 1
        else:
            try:
                self._tracker.write(tracked)
            except TrackFailed as error:
                raise TrackFailed(
                    f"{error} {self.written} exported before are kept. Export again to write the others."
                ) from error
            self.written += 1
            self._say(f"exported {tracked.name}: {tracked.verdict}")
        self._done.add(tracked.number)

    def _start_files(self) -> Files:
        commit = self._state.start_commit.commit if self._state.start_commit is not None else ""
        source = comparing.source(self._state, self._folder, 0)
        return Files(source, metrics.lines(self._folder, self._state.facts.get(commit)))

    def _files(self, number: int) -> Files:
        source = comparing.source(self._state, self._folder, number)
        measured = self._state.training_of(self._state.experiments[number])
        return Files(source, metrics.lines(self._folder, measured))


def send(folder: Path, name: str, tracker: Tracker, say: Callable[[str], None], *, follow: bool) -> Sent:
    """Write what is new in a run to a tracker, and print what was done.

    Args:
        folder: The folder of the run.
        name: The name of the tracker.
        tracker: The tracker.
        say: Prints a line.
        follow: Go on until the loop of the run ends, or until Ctrl-C.

    Returns:
        What was done, as data.

    Raises:
        UsageError: The run has no header yet, or another process exports it to the same tracker.
        JournalError: The journal cannot be read.
        TrackFailed: The tracker has refused an experiment.
        OSError: A file cannot be written.
    """
    read_state(folder)  # raises UsageError for a run without a header
    sending = Sending(folder, tracker, say)
    with _alone(folder, name):
        try:
            _repeat(sending, folder, follow=follow)
        except KeyboardInterrupt:
            say("Stopped. What was exported is kept; the next export goes on from there.")
    if not sending.written and not sending.before:
        say(f"Run {folder.name} has nothing to export yet: no training of it has a verdict.")
    else:
        say(f"Run {folder.name}: {sending.written} exported, {sending.before} were exported before. {tracker.place}")
    return Sent(run=folder.name, tracker=name, exported=sending.written, before=sending.before, place=tracker.place)


def _repeat(sending: Sending, folder: Path, *, follow: bool) -> None:
    while True:
        goes_on = follow and run_lock.alive(folder) is not None  # asked first, so that the last events are read too
        if sending.read():
            sending.send()
        if not goes_on:
            return
        time.sleep(EVERY_S)


@contextlib.contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Hold a lock, so that two exports at once do not write an experiment twice. Raises UsageError."""
    with (folder / f"track-{name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Run {folder.name} is being exported to {name} by another process. Nothing was exported. Try again when it has ended."
            ) from None
        except OSError:
            pass  # the file system has no locks
        yield
