"""Small parts of the main loop; the loop itself is run for real in tests/e2e."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.agents.base import Context
from core.loop.approval import Waiting
from core.loop.loop import Limits, Loop
from core.loop.proposals import Proposer
from core.machine import temporary
from core.machine.project import Project
from core.model import Proposal
from core.record.events import Notice, Stopped
from core.record.fold import fold
from core.record.journal import Journal, read
from core.run import commands
from core.run.active import ActiveRun, record_end
from core.run.integrity import TamperedError
from tests.core.run.runs import START, write_run
from tests.core.run.test_active import active

__all__ = ["active"]


def test_a_countdown_stands_still_as_long_as_anybody_reads() -> None:
    asked = Waiting(number=1, left_s=60.0)
    assert not asked.held
    asked.holders |= {"one app", "another"}
    asked.holders.discard("another")
    assert asked.held
    asked.holders.discard("one app")
    assert not asked.held


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TamperedError("The copy x was altered.\nStart anew."), "The copy x was altered. Start anew."),
        (RuntimeError("two\nlines"), "an error in AutoResearch itself: RuntimeError: two lines in test_loop.py, line "),
        (KeyError(), "an error in AutoResearch itself: KeyError in test_loop.py"),
        (asyncio.CancelledError(), "an error in AutoResearch itself: CancelledError"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "interrupted by Ctrl-C"),
        (MemoryError(), "too little memory"),
        (OSError(5, "Input/output error", "/x"), "/x"),
    ],
)
def test_every_end_is_recorded_once_with_its_reason(tmp_path: Path, error: BaseException, reason: str) -> None:
    folder = write_run(Project(tmp_path, tmp_path), "r", START)
    record = Journal(folder)
    state = fold(record.open())
    for _ in range(2):
        try:
            raise error
        except BaseException as caught:
            record_end(record, state, caught)
    record.close()
    ends = [event for event in read(folder / "events.jsonl") if isinstance(event, Stopped)]
    assert len(ends) == 1 and reason in ends[0].reason and "\n" not in ends[0].reason and not ends[0].finished
    assert state.stopped is not None


async def test_a_loop_that_hears_no_command_says_so_once_each_time(
    active: ActiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "RETRY_S", 0.0)
    monkeypatch.setattr(temporary, "places", lambda: iter([]))
    place = active.folder / commands.PRIVATE
    place.touch()  # no folder can be made there
    loop = Loop(active, Proposer(Silent()), [], Limits())
    await loop._server.start()  # as the loop begins

    async def unheard(times: int) -> int:
        for _ in range(times):
            await loop._listen()
        return sum(
            "Commands cannot reach this loop" in e.text for e in read(active.journal.path) if isinstance(e, Notice)
        )

    assert await unheard(3) == 1
    place.unlink()
    assert await unheard(2) == 1
    (place / commands.SOCKET).unlink()
    place.rmdir()
    place.touch()
    assert await unheard(3) == 2
    await loop._server.close()


class Silent:
    """Proposes nothing."""

    name = "silent"

    async def propose(self, context: Context) -> Proposal | None:
        return None
