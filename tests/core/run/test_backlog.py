"""The file of ideas, while a human's editor saves it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from core.judging.schedule import CUT_SHORT
from core.model import Notes
from core.record import backlog as text
from core.record import events as ev
from core.record.fold import fold
from core.record.state import State
from core.run import backlog
from core.run.backlog import Backlog
from core.verdicts import Verdict


def tried(*ideas: str) -> State:
    """A run that has tried these ideas, the last of them without a verdict."""
    events: list[ev.AnyEvent] = []
    for number, idea in enumerate(ideas, 1):
        events.append(
            ev.Proposed(
                number=number, commit=f"c{number}", parent="p", fingerprint=f"f{number}", hypothesis="h", agent="a", charter="",
                notes=Notes(follows=idea),
            )
        )  # fmt: skip
        if number < len(ideas):
            events.append(ev.Judged(number=number, verdict=Verdict.DISCARD, finding="", gain=-0.01, pairs=1))
    return fold(events)


def replacing(path: Path, content: str) -> None:
    """Save as vim and most editors do."""
    draft = path.with_name("draft")
    draft.write_text(content)
    os.replace(draft, path)


def in_place(path: Path, content: str) -> None:
    """Save as nano does."""
    path.write_text(content)


def test_results_stand_at_the_ideas_and_the_rest_stays(tmp_path: Path) -> None:
    one = Backlog(tmp_path)
    one.begin()
    assert (tmp_path / text.NAME).read_text() == text.HEAD
    raw = b"Mine \xff\xfe, in no encoding.\r\n- first\r\n- second\n* third"
    one.path.write_bytes(raw)
    one.path.chmod(0o640)
    state = tried("first", "second")
    assert one.untried(state) == ("third",), "what is being tried is not offered again"
    one.mark(state)
    assert one.path.read_bytes() == raw.replace(b"- first", b"- [x] first (#1: worse, +0.0100)")
    assert one.path.stat().st_mode & 0o777 == 0o640
    one.add(["- [ ] fourth", "Third", ""])
    assert one.path.read_bytes().endswith(b"* third\n- fourth\n") and len(backlog.listed(tmp_path)) == 3
    one.begin()
    assert len(backlog.listed(tmp_path)) == 3, "a file that exists is not begun again"
    one.close()
    assert [path.name for path in tmp_path.iterdir()] == [text.NAME]


def test_a_deleted_or_damaged_file_is_left_alone(tmp_path: Path) -> None:
    one = Backlog(tmp_path)
    one.add(["an idea"])
    one.mark(tried("an idea", ""))
    assert not one.path.exists() and one.untried(State()) == () and backlog.listed(tmp_path) == ()
    large = "- an idea\n" * 200_000
    one.path.write_text(large)
    one.add(["more"])
    one.mark(tried("an idea", ""))
    assert one.path.read_text() == large and one.untried(State()) == ()
    one.path.unlink()
    one.path.mkdir()
    one.add(["more"])
    assert one.untried(State()) == ()


def test_only_the_copies_of_a_killed_loop_are_removed(tmp_path: Path) -> None:
    editors = {".backlog.md.swp", ".backlog.md.swo", ".backlog.md.kate-swp", ".backlog.md.1-2.swp", ".backlog.md.bak"}
    for name in (*editors, ".backlog.md.4711-3"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".backlog.md.4711-4").mkdir()  # cannot be unlinked
    Backlog(tmp_path).clean()
    assert {path.name for path in tmp_path.iterdir()} == {*editors, ".backlog.md.4711-4"}


def followed(*verdicts: Verdict | None, idea: str = "mine", launched: bool = True) -> State:
    """A run in which one experiment after the other has followed an idea."""
    events: list[ev.AnyEvent] = []
    for number, verdict in enumerate(verdicts, 1):
        events.append(
            ev.Proposed(
                number=number, commit=f"c{number}", parent="p", fingerprint=f"f{number}", hypothesis="h", agent="a", charter="",
                notes=Notes(follows=idea),
            )
        )  # fmt: skip
        if verdict is not None:
            events.append(ev.Judged(number=number, verdict=verdict, finding=""))
    state = fold(events)
    for experiment in state.experiments.values():
        experiment.launched = launched
    return state


@pytest.mark.parametrize("verdict", [one for one in Verdict if one.may_repeat])
def test_an_idea_of_which_nothing_was_learnt_stays_open(tmp_path: Path, verdict: Verdict) -> None:
    one = Backlog(tmp_path)
    in_place(one.path, "- mine\n")
    for state in (followed(verdict), followed(verdict, verdict), followed(*[verdict] * 9, launched=False)):
        one.mark(state)
        assert one.untried(state) == ("mine",) and one.path.read_text() == "- mine\n"
    assert one.untried(followed(verdict, None)) == (), "it is tried now"
    one.mark(followed(verdict, None))
    assert one.path.read_text() == "- mine\n", "without a result so far"
    assert one.untried(followed(*[verdict] * CUT_SHORT)) == (), "no run is spent on an idea that never ends"
    one.mark(followed(verdict, Verdict.CRASH, verdict))
    assert one.path.read_text() == "- [x] mine (#2: crash)\n"


def test_an_idea_that_the_human_skipped_is_not_tried_again(tmp_path: Path) -> None:
    one = Backlog(tmp_path)
    in_place(one.path, "- mine\n")
    assert one.untried(followed(Verdict.SKIPPED, launched=False)) == ()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "ideas.md").write_text("- mine\n")
    one = Backlog(tmp_path / "run")
    one.path.symlink_to(tmp_path / "ideas.md")
    one.add(["of an agent"])
    assert one.path.is_symlink() and (tmp_path / "ideas.md").read_text() == "- mine\n- of an agent\n"


def test_agents_cannot_fill_it(tmp_path: Path) -> None:
    one = Backlog(tmp_path)
    one.begin()
    for number in range(100):
        one.add([f"idea {number}"])
    assert len(backlog.listed(tmp_path)) == text.MOST_OPEN


def test_ideas_that_the_file_has_already_are_not_those_of_an_agent(tmp_path: Path) -> None:
    one = Backlog(tmp_path)
    in_place(one.path, "- wider MLP\n- [x] tried (#1: worse, +0.0100)\n")
    assert one.fresh(["- [ ] Wider MLP", "tried", "deeper net", "deeper net"]) == ("deeper net",)
    in_place(one.path, "".join(f"- idea {number}\n" for number in range(text.MOST_OPEN - 1)))
    assert one.fresh(["one", "two"]) == ("one",), "there is room for one more"
    one.path.unlink()
    assert one.fresh(["one", "two"]) == ("one", "two")


def test_agents_order_their_own_ideas_and_the_lines_of_the_human_stay(tmp_path: Path) -> None:
    one = Backlog(tmp_path)
    in_place(one.path, "- mine\n\n# More\n\n")
    ideas = ("first", "[ ] second", "third")
    one.add(ideas)
    in_place(one.path, one.path.read_text() + "- mine as well\n")
    proposed = ev.Proposed(
        number=1, commit="c", parent="p", fingerprint="f", hypothesis="h", agent="a", charter="",
        notes=Notes(later=("first", "second", "third")),
    )  # fmt: skip
    state = fold([proposed])
    assert one.movable(state) == ("first", "second", "third")
    one.order(["mine as well", "third", "mine", "first"], state)
    assert one.path.read_text() == "- mine\n\n# More\n\n- third\n- first\n- second\n- mine as well\n"
    tries = fold([proposed, msgspec.structs.replace(proposed, number=2, notes=Notes(follows="third"))])
    assert one.movable(tries) == ("first", "second"), "what is being tried keeps its place"
    one.order(["second"], tries)
    assert one.path.read_text() == "- mine\n\n# More\n\n- third\n- second\n- first\n- mine as well\n"
    one.path.unlink()
    one.order(["first"], state)
    assert not one.path.exists(), "a file that was deleted stays deleted"


@pytest.mark.parametrize("exchanges", [True, False])
def test_an_editor_that_saves_an_old_text_loses_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:  # a file system that cannot exchange two files
        monkeypatch.setattr(backlog, "_exchange", lambda one, other: False)
    one, state = Backlog(tmp_path), tried("first", "")
    in_place(one.path, "- first\n- second\n")
    one.mark(state)
    replacing(one.path, "- new\n- first\n- second\n")  # the editor was opened before the result came
    assert one.untried(state) == ("new", "second")
    one.mark(state)
    assert one.path.read_text() == "- new\n- [x] first (#1: worse, +0.0100)\n- second\n"


def test_a_text_that_is_saved_between_reading_and_writing_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The editor saves at the worst moment, by a new file and into the old one."""
    exchange = backlog._exchange
    saves: list[Callable[[Path], None]] = [
        lambda path: replacing(path, "- first\n- human 1\n"),
        lambda path: in_place(path, "- human 0\n- first\n- human 1\n- human 2\n"),
    ]

    def late(one: Path, other: Path) -> bool:
        if saves:
            saves.pop(0)(other)
        return exchange(one, other)

    monkeypatch.setattr(backlog, "_exchange", late)
    one = Backlog(tmp_path)
    in_place(one.path, "- first\n")
    one.mark(tried("first", ""))
    assert not saves
    assert one.path.read_text() == "- human 0\n- [x] first (#1: worse, +0.0100)\n- human 1\n- human 2\n"


def test_an_editor_that_still_writes_to_the_replaced_file_is_heard(tmp_path: Path) -> None:
    one = Backlog(tmp_path)
    in_place(one.path, "- first\n")
    with one.path.open("r+") as editor:  # opened before the result came
        one.mark(tried("first", ""))
        editor.write("- first\n- written late\n")
    one.add(["of an agent"])
    assert one.path.read_text() == "- [x] first (#1: worse, +0.0100)\n- written late\n- of an agent\n"


def appending(path: Path, content: str) -> None:
    """Add the last line, as `echo "- idea" >> backlog.md` does."""
    with path.open("a") as file:
        file.write(content.splitlines(keepends=True)[-1])


@pytest.mark.parametrize("save", [replacing, in_place, appending])
def test_no_line_of_a_human_is_lost_while_both_write(tmp_path: Path, save: Callable[[Path, str], None]) -> None:
    """The human adds a line and saves, a hundred times, in an editor that is open all the while; agents add ideas meanwhile."""
    one, ended = Backlog(tmp_path), threading.Event()
    in_place(one.path, "- first\n")
    written = [f"- human {number}" for number in range(100)]

    def human() -> None:
        for number in range(len(written)):
            save(one.path, "".join(f"{line}\n" for line in ("- first", *written[: number + 1])))
        ended.set()

    def change(found: str) -> str:
        return text.marked(found, {"first": "#1: worse"}) + f"- agent {count}\n"

    editor, count = threading.Thread(target=human), 0
    editor.start()
    while not ended.is_set() or not count:
        count += 1
        one._edit(change)
    editor.join()
    one.close()
    after = one.path.read_text().splitlines()
    assert [line for line in written if line not in after] == [], f"after {count} ideas of agents"
