"""A disk on which nothing can be written, at every write of the loop: the journal stays whole, and a sentence says what to do."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.loop import backoff
from core.loop import loop as main_loop
from core.loop.loop import Loop
from core.record import events as ev
from core.record.journal import Journal, JournalError
from core.record.state import State
from core.reporting.results import BEST_DIFF, NOTEBOOK, TSV
from tests.core.loop.night import Night, in_a_process
from tests.core.loop.outcomes import check
from tests.core.loop.test_killed import GOOD, IDEAS, KINDS, VERDICTS, WORLD, continued
from tests.core.loop.test_nights import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_loop, "TICK_S", 0.01)
    monkeypatch.setattr(backoff, "BACKOFF_S", (0.01, 0.02))


def verdicts(state: State) -> list[tuple[str, object]]:
    return sorted((e.hypothesis, e.verdict) for e in state.experiments.values())


def notices(night: Night) -> list[str]:
    return [event.text for event in night.events() if isinstance(event, ev.Notice)]


# -- the journal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_journal_that_cannot_grow_ends_the_loop_and_keeps_what_it_has(tmp_path: Path, kind: type[ev.Event]) -> None:
    """A part of the line fits, and is removed again."""
    night = Night(tmp_path, final_seeds=1)

    def appended(journal: Journal, event: ev.Event) -> ev.AnyEvent:
        if isinstance(event, kind):
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 10, hard))
        return append(journal, event)

    def work() -> None:
        Journal.append = appended  # type: ignore[method-assign]
        with pytest.raises(JournalError, match=r"events.jsonl cannot be written \(File too large\)") as caught:
            night.run(IDEAS, WORLD)
        assert "All that was recorded before is kept. Free some space and start the run again" in str(caught.value)

    append = Journal.append
    assert in_a_process(work) == 0, "the process has printed why"
    assert (night.folder / "events.jsonl").read_bytes()[-1:] in (b"\n", b"")
    assert not [event for event in continued(night) if isinstance(event, kind)]


# -- everything at once -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the file system that this test needs")
@pytest.mark.parametrize("kind", [kind for kind in KINDS[KINDS.index(ev.Started) :] if kind is not ev.Stopped])
def test_a_disk_that_fills_up_after_any_event_pauses_the_run_and_costs_nothing(
    small_disk: Path, kind: type[ev.Event]
) -> None:
    night, ballast = Night(small_disk, final_seeds=1), small_disk / "ballast"
    full: list[ev.AnyEvent] = []

    def fill(event: ev.AnyEvent, state: State) -> None:
        if isinstance(event, kind) and not full:
            full.append(event)
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)

    async def free(loop: Loop) -> None:
        state = loop.active.state
        await until(lambda: state.paused and not state.running)
        ballast.unlink()

    night.report = fill
    state = night.run(IDEAS, WORLD, meanwhile=free)
    (paused,) = [event for event in night.events() if isinstance(event, ev.Paused)]
    assert paused.reason.startswith("the disk is full (0 MB left for ")
    assert paused.reason.endswith("; the run continues when there is room") and not state.paused
    assert verdicts(state) == VERDICTS and state.finished
    assert GOOD in (night.folder / "train.py").read_text() and f"+{GOOD}" in (night.folder / BEST_DIFF).read_text()
    night.clean_up()  # a ref that could not be set then is set by the next start
    check(night)


# -- one file at a time -----------------------------------------------------------------------------------------------


def cannot_be_written(path: Path) -> None:
    """Every write to this file fails as on a full disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/full")


@pytest.mark.parametrize(
    "name", [f".{TSV}.new", f".{NOTEBOOK}.new", ".train.py.new", f".{BEST_DIFF}.new", "live.new", "reserve"]
)
def test_a_derived_file_that_cannot_be_written_costs_nothing(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path, final_seeds=1)
    night.active().journal.close()  # the run exists
    with contextlib.suppress(FileNotFoundError):
        (night.folder / name).unlink()
    cannot_be_written(night.folder / name)
    state = night.run(IDEAS, WORLD)
    assert verdicts(state) == VERDICTS and state.finished
    if (night.folder / name).is_symlink():
        (night.folder / name).unlink()
    active = night.active()
    active.point_incumbent()
    active.publish()  # as with the next verdict
    active.journal.close()
    check(night)
    assert GOOD in (night.folder / "train.py").read_text() and f"+{GOOD}" in (night.folder / BEST_DIFF).read_text()
    assert f"Set {GOOD}." in (night.folder / NOTEBOOK).read_text()


@pytest.mark.parametrize("name", ["train.py", "change.diff", "proposal.json"])
def test_a_proposal_that_cannot_be_written_is_asked_for_again(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path)
    path = night.folder / "00001" / name

    def report(event: ev.AnyEvent, state: State) -> None:
        if isinstance(event, ev.Started):
            cannot_be_written(path)
        elif isinstance(event, ev.Refused):
            path.unlink()

    night.report = report
    state = check(night, night.run([GOOD, *IDEAS], WORLD))
    (refused,) = [event for event in night.events() if isinstance(event, ev.Refused)]
    assert refused.reason == "The files of a proposal cannot be written ([Errno 28] No space left on device)."
    assert verdicts(state) == VERDICTS and state.finished and path.exists()


@pytest.mark.parametrize("job", ["00000/j000001", "00001/j000002"])
def test_a_training_whose_folder_cannot_be_made_waits(tmp_path: Path, job: str) -> None:
    night = Night(tmp_path)

    def report(event: ev.AnyEvent, state: State) -> None:
        path = night.folder / job
        if isinstance(event, ev.Started):
            path.parent.mkdir()
            path.touch()
        elif isinstance(event, ev.Notice):
            path.unlink()

    night.report = report
    state = check(night, night.run(IDEAS, WORLD))
    (told,) = notices(night)
    assert (
        told.startswith("The files of a job cannot be read or written (") and "All that was recorded is kept." in told
    )
    assert "It is tried again in" in told and verdicts(state) == VERDICTS and state.finished


@pytest.mark.parametrize("ref", ["refs/autoresearch/night/00001", "refs/heads/autoresearch/night"])
def test_a_ref_that_cannot_be_set_is_set_by_the_next_start(tmp_path: Path, ref: str) -> None:
    night = Night(tmp_path)
    active = night.active()
    path = active.repo.git.store / f"{ref}.lock"
    active.journal.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere")  # git cannot make its file of this name, and it is not taken for a stale lock
    state = night.run(IDEAS, WORLD)
    assert verdicts(state) == VERDICTS and state.finished
    told = [text for text in notices(night) if text.startswith(f"{ref} could not be set (")]
    assert told and all(text.endswith("The journal has it; the next start sets it.") for text in told)
    path.unlink()
    night.clean_up()
    check(night)
    assert any(text.startswith(f"{ref} now points at ") for text in notices(night))
