"""A loop that is killed after any event, and continued: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from core.execution.deterministic import World
from core.judging import final_check
from core.loop import loop as main_loop
from core.model import Role
from core.record import events as ev
from core.record.fold import fold
from core.record.journal import Journal
from core.record.state import State
from core.reporting.results import BEST_DIFF
from core.verdicts import Verdict
from tests.core.loop.night import Night, in_a_process
from tests.core.loop.outcomes import check, key, results

GOOD, BAD = "K1 = 1", "K2 = 1"
IDEAS = [GOOD, BAD]
WORLD = World(effects={GOOD: -0.2, BAD: 0.2}, noise=0.002)
VERDICTS = [(f"Set {GOOD}.", Verdict.KEEP), (f"Set {BAD}.", Verdict.DISCARD)]
KINDS = (
    ev.Created, ev.Charter, ev.StartCommit, ev.Started, ev.Proposed, ev.Approved, ev.Launched, ev.Measured, ev.Judged, ev.Rebased,
    ev.Stopped,
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_loop, "TICK_S", 0.01)


Kills = Callable[[Sequence[ev.Event], ev.Event | None], bool]


def killed(night: Night, kills: Kills) -> int:
    """Run the night in a process of its own, which kills itself when `kills` says so. Returns its exit code.

    `kills` is called with the events so far, and with the one that is about to be written. Once that is in the journal, and
    nothing has followed from it, `kills` is called with the events so far and None.
    """

    def look(event: ev.Event | None) -> None:
        if kills(done, event):
            os.kill(os.getpid(), signal.SIGKILL)

    def report(event: ev.AnyEvent, state: State) -> None:
        done.append(event)
        look(None)

    def appended(journal: Journal, event: ev.Event) -> ev.AnyEvent:
        look(event)
        return append(journal, event)

    def work() -> None:
        night.report = report
        Journal.append = appended  # type: ignore[method-assign]
        night.run(IDEAS, WORLD)

    done: list[ev.AnyEvent] = []
    append = Journal.append
    return in_a_process(work)


def continued(night: Night) -> list[ev.AnyEvent]:
    """Continue a night that was killed, and check that it ends as any other. Returns the events before it was killed."""
    before = night.events()
    running = fold(before, State()).running.values()
    state = night.clean_up()
    for number in {
        launched.number for launched in running if launched.role.of_candidate or launched.role is Role.INCUMBENT
    }:
        if number is not None:
            assert state.experiments[number].verdict is Verdict.INTERRUPTED, "it ran when the loop was killed"
            assert [e.retry_of for e in state.experiments.values()].count(number) == 1, "it is queued once more"
    done = {experiment.hypothesis for experiment in state.experiments.values()}
    left = [idea for idea in IDEAS if f"Set {idea}." not in done]
    state = check(night, night.run(left, WORLD))
    assert night.events()[: len(before)] == before, "nothing is lost"
    ended = [e for e in state.experiments.values() if e.verdict is not Verdict.INTERRUPTED]
    assert [(e.hypothesis, e.verdict) for e in sorted(ended, key=lambda e: e.hypothesis)] == VERDICTS and state.finished
    found = final_check.outcome(state, 0.002)
    assert found is not None and found.seeds == 1 and found.holds
    scored = Counter(key(event) for event in results(night) if event.scored)
    assert set(scored.values()) == {1} and Role.FINAL in {role for role, _, _ in scored}, "nothing is trained twice"
    return before


def test_killed_right_after_any_event_it_comes_to_the_same_verdicts(tmp_path: Path) -> None:
    kinds, count, code = set[type](), 0, -signal.SIGKILL
    while code:
        count += 1
        night = Night(tmp_path / str(count), final_seeds=1)
        code = killed(night, lambda done, coming, count=count: coming is None and len(done) == count)
        assert code in (0, -signal.SIGKILL)
        if code:
            before = continued(night)
            assert len(before) == count
            kinds.add(type(before[-1]))
    assert kinds >= set(KINDS), "every kind of event was the last one"


@pytest.mark.parametrize("kind", KINDS)
def test_killed_right_before_an_event_it_comes_to_the_same_verdicts(tmp_path: Path, kind: type[ev.Event]) -> None:
    """Files and commits that come before the event are there, and the journal does not know them."""
    night = Night(tmp_path, final_seeds=1)
    assert killed(night, lambda done, coming: isinstance(coming, kind)) == -signal.SIGKILL
    assert not [event for event in continued(night) if isinstance(event, kind)]


def test_killed_right_after_a_keep_the_next_start_writes_the_best(tmp_path: Path) -> None:
    """`E` in the app begins with train.py in the run's folder. An old one would take the kept change back."""
    night = Night(tmp_path)

    def kills(done: Sequence[ev.Event], coming: ev.Event | None) -> bool:
        last = done[-1] if done else None
        return coming is None and isinstance(last, ev.Judged) and last.verdict is Verdict.KEEP

    code = killed(night, kills)
    train, diff = night.folder / "train.py", night.folder / BEST_DIFF
    assert code == -signal.SIGKILL and GOOD not in train.read_text() and GOOD not in diff.read_text()
    state = night.clean_up()
    assert train.read_text() == night.source_of(state.incumbent) and GOOD in train.read_text()
    assert f"+{GOOD}" in diff.read_text()
