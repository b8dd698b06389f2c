"""The journal: whole lines or none, one writer, clear sentences."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import Role, RunConfig
from core.record import events as ev
from core.record import journal
from core.record.journal import Journal, JournalError, RunGone, read
from core.verdicts import Verdict
from tests.events import measurement

CONFIG = RunConfig(
    name="x", dataset="python", data="d", fingerprint="f", device="cpu", profile="cpu", budget_s=60, seq_len=256,
    vocab_size=2048, eval_tokens=1000, seed=1, slots=1, base_commit="b", noise_prior=0.008,
)  # fmt: skip


def header() -> ev.Created:
    return ev.Created(v=ev.SCHEMA, config=CONFIG)


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    writer = Journal(tmp_path)
    writer.append(header())
    writer.append(ev.Hint(text="try less\nweight decay \x1b[31m"))
    writer.append(ev.Judged(number=3, verdict=Verdict.KEEP, finding="ok", gain=0.01))
    found = list(read(writer.path))
    assert [type(event) for event in found] == [ev.Created, ev.Hint, ev.Judged]
    assert isinstance(found[1], ev.Hint) and found[1].text == "try less\nweight decay \x1b[31m"
    assert all(event.t > 1e9 for event in found)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_cut_and_that_is_recorded(tmp_path: Path, cut: int) -> None:
    writer = Journal(tmp_path)
    writer.append(header())
    writer.append(ev.Hint(text="whole"))
    whole = writer.path.stat().st_size
    writer.append(ev.Hint(text="this one is torn"))
    writer.close()
    with writer.path.open("r+b") as file:
        file.truncate(writer.path.stat().st_size - cut)
    size = writer.path.stat().st_size
    assert len(list(read(writer.path))) == 2, "a reader leaves an incomplete line for later"
    again = Journal(tmp_path)
    events = again.open()
    assert isinstance(events[-1], ev.Torn) and events[-1].size == size - whole
    assert isinstance(events[1], ev.Hint) and events[1].text == "whole"


def test_a_torn_header_leaves_an_empty_journal(tmp_path: Path) -> None:
    (tmp_path / journal.NAME).write_bytes(b'{"type":"created","v"')
    assert Journal(tmp_path).open() == []


def test_a_broken_line_in_the_middle_is_named_and_nothing_is_guessed(tmp_path: Path) -> None:
    writer = Journal(tmp_path)
    writer.append(header())
    writer.append(ev.Hint(text="two"))
    writer.append(ev.Hint(text="three"))
    writer.close()
    lines = writer.path.read_bytes().split(b"\n")
    lines[1] = lines[1][:10] + b"garbage" + lines[1][20:]
    writer.path.write_bytes(b"\n".join(lines))
    before = writer.path.read_bytes()
    with pytest.raises(JournalError, match="Line 2 of"):
        Journal(tmp_path).open()
    assert writer.path.read_bytes() == before


@given(st.binary(max_size=60).filter(lambda b: b"\n" not in b))
def test_arbitrary_bytes_as_a_line_are_refused_or_read_but_never_crash(line: bytes) -> None:
    try:
        journal.decode(line, 7, Path("events.jsonl"))
    except JournalError as error:
        assert "Line 7" in str(error)


def test_another_schema_and_another_first_line_are_refused(tmp_path: Path) -> None:
    path = tmp_path / journal.NAME
    path.write_bytes(b'{"type":"created","v":99,"config":{}}\n')
    with pytest.raises(JournalError, match="schema 99"):
        list(read(path))
    path.write_bytes(b'{"type":"hint","text":"x"}\n')
    with pytest.raises(JournalError, match="Line 1"):
        list(read(path))


def test_a_reader_follows_a_growing_journal(tmp_path: Path) -> None:
    writer = Journal(tmp_path)
    writer.append(header())
    reader = journal.Reader(writer.path)
    assert len(reader.new()) == 1
    assert reader.new() == []
    writer.append(ev.Hint(text="a"))
    writer.append(ev.Hint(text="b"))
    assert [event.text for event in reader.new() if isinstance(event, ev.Hint)] == ["a", "b"]


@pytest.mark.parametrize("piece", [1, 70, 1 << 18])
def test_a_long_journal_is_read_in_pieces_and_a_broken_line_is_named(
    tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PIECE_BYTES", piece)
    writer = Journal(tmp_path)
    written = [writer.append(header()), *(writer.append(ev.Hint(text="漢" * n)) for n in range(20))]
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole + b'{"type":"hint"')  # the last line is still being written
    reader = journal.Reader(writer.path)
    assert reader.new() == written and reader.new() == []
    lines = whole.splitlines(keepends=True)
    writer.path.write_bytes(b"".join([*lines[:12], b"{nonsense\n", *lines[12:]]))
    reader = journal.Reader(writer.path)
    for _ in range(2):  # it goes on being named, and nothing before it counts as read
        with pytest.raises(JournalError, match="Line 13 of"):
            reader.new()
    writer.path.write_bytes(whole)
    assert reader.new() == written


def test_a_line_that_is_completed_while_the_ones_before_are_read_comes_with_the_next_call(tmp_path: Path) -> None:
    writer = Journal(tmp_path)
    writer.append(header())
    writer.append(ev.Hint(text="a"))
    whole = writer.path.read_bytes()
    line = b'{"type":"hint","t":1.0,"text":"b"}\n'
    writer.path.write_bytes(whole + line[:20])
    reader = journal.Reader(writer.path)
    stream = reader.stream()
    next(stream)
    writer.path.write_bytes(whole + line)
    assert [event.text for event in stream if isinstance(event, ev.Hint)] == ["a"]
    assert [event.text for event in reader.new() if isinstance(event, ev.Hint)] == ["b"]


@pytest.mark.parametrize("hints", [0, 1, 30])
@pytest.mark.parametrize("in_place", [True, False])
def test_a_reader_says_that_another_run_has_the_name(tmp_path: Path, hints: int, in_place: bool) -> None:
    """The new journal is shorter than the old one, as long, or longer. A new file often gets the inode of the deleted one."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old, new = Journal(tmp_path / "old"), Journal(tmp_path / "new")
    old.append(header())
    old.append(ev.Hint(text="a"))
    new.append(msgspec.structs.replace(header(), id="another"))
    for _ in range(hints):
        new.append(ev.Hint(text="a"))
    reader = journal.Reader(old.path)
    assert len(reader.new()) == 2 and not reader.grown()
    if in_place:
        old.path.write_bytes(new.path.read_bytes())
    else:
        new.path.replace(old.path)
    for _ in range(2):
        assert reader.grown()
        with pytest.raises(RunGone, match="Run old is gone: its name belongs to another run now"):
            reader.new()
        with pytest.raises(RunGone):
            reader.check()


def test_a_reader_says_that_the_run_is_gone_and_goes_on_once_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    writer = Journal(tmp_path / "night")
    reader = journal.Reader(writer.path)
    writer.append(header())
    assert len(reader.new()) == 1
    away = (tmp_path / "night").rename(tmp_path / "away")
    assert reader.grown()
    with pytest.raises(RunGone, match="Run night is gone: it was deleted or moved"):
        reader.new()
    shutil.copytree(away, tmp_path / "night")
    with (tmp_path / "night" / journal.NAME).open("a") as file:
        file.write('{"type":"hint","t":1.0,"text":"b"}\n')
    reader.check()
    assert [event.text for event in reader.new() if isinstance(event, ev.Hint)] == ["b"] and not reader.grown()


def test_a_reader_says_that_lines_are_gone(tmp_path: Path) -> None:
    writer = Journal(tmp_path)
    writer.append(header())
    end = writer.path.stat().st_size
    writer.append(ev.Hint(text="a"))
    reader = journal.Reader(writer.path)
    assert len(reader.new()) == 2
    os.truncate(writer.path, end)
    assert reader.grown()
    with pytest.raises(JournalError, match="has lost lines that were read before"):
        reader.new()


def test_what_could_not_be_read_again_is_never_written(tmp_path: Path) -> None:
    with_header = Journal(tmp_path)
    with_header.append(header())
    size = (tmp_path / journal.NAME).stat().st_size
    for pace in ([float("inf")], [float("nan")]):
        with pytest.raises(Exception, match="Expected"):
            with_header.append(
                measurement(job="j", role=Role.INCUMBENT, commit="c", seed=1, outcome="scored", pace=tuple(pace))
            )
    assert (tmp_path / journal.NAME).stat().st_size == size
    with_header.close()


def test_the_last_start_is_found_by_turn_then_by_time_even_in_a_broken_journal(tmp_path: Path) -> None:
    assert journal.last_start(tmp_path) == (0, 0.0, False)
    path = tmp_path / journal.NAME
    path.write_bytes(b'{"type":"created","t":5.0,"v":1,"config":{}}\n{"type":"started","t":7.0,"pid":1,"agent":"a",'
                     b'"gate":"auto","slots":1}\n')  # fmt: skip
    assert journal.last_start(tmp_path) == (0, 7.0, False)
    with path.open("ab") as file:
        file.write(b'broken "type":"started"\n{"type":"hint","t":8.0,"text":"{\\"type\\":\\"started\\","}\n')
        file.write(
            b'{"type":"started","t":3.0,"pid":1,"agent":"a","gate":"auto","slots":1,"turn":4}\n{"type":"started","t":9'
        )
    assert journal.last_start(tmp_path) == (4, 3.0, False)


@pytest.mark.parametrize("name", ["EINVAL", "ENOSYS", "EOPNOTSUPP", "EIO"])
def test_a_missing_fsync_is_accepted_and_a_failing_one_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(getattr(errno, name), name)

    writer = Journal(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    if name == "EIO":
        with pytest.raises(JournalError, match="cannot be written"):
            writer.append(header())
    else:
        writer.append(header())
        assert len(list(read(writer.path))) == 1
    writer.close()


def test_every_event_can_be_read_again() -> None:
    kinds = {kind for kind in vars(ev).values() if isinstance(kind, type) and issubclass(kind, ev.Event)} - {ev.Event}
    assert kinds == set(ev.AnyEvent.__args__)


DAMAGED = (
    b'{"type":"created","v":1}', b'{"type":"created","v":1,"config":[]}', b'{"type":"charter","sha":"a","limits":[]}',
    b'{"type":"judged","number":1,"verdict":"keep","finding":null}', b'{"type":["a"]}', b'{"type":"hint","text":"a","v":"x"}',
)  # fmt: skip


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_named_whatever_its_fields_are(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / journal.NAME
    first = msgspec.json.encode(header())
    for whole in (line, first + b"\n" + line, first.replace(b'"v":2', b'"v":1') + b"\n" + line):
        path.write_bytes(whole + b"\n" + msgspec.json.encode(ev.Hint(text="a")) + b"\n")
        if b'"hint"' in line and whole != line:
            continue  # an unknown field of an event is nothing damaged
        with pytest.raises(JournalError, match=r"Line [12] of"):
            list(read(path))
        journal.last_start(tmp_path)


@pytest.mark.parametrize("schema", [1, 2])
def test_blank_lines_are_skipped_and_count_as_lines(tmp_path: Path, schema: int) -> None:
    path = tmp_path / journal.NAME
    first = msgspec.json.encode(header()).replace(b'"v":2', f'"v":{schema}'.encode())
    path.write_bytes(first + b"\n\n" + msgspec.json.encode(ev.Hint(text="a")) + b"\n")
    assert [type(event) for event in read(path)] == [ev.Created, ev.Hint]
    path.write_bytes(path.read_bytes() + b"broken\n")
    with pytest.raises(JournalError, match="Line 4 of"):
        list(read(path))


def test_a_line_of_schema_1_has_no_place_in_a_journal_of_schema_2(tmp_path: Path) -> None:
    path = tmp_path / journal.NAME
    path.write_bytes(msgspec.json.encode(header()) + b'\n{"type":"gate","t":1.0,"mode":"ask"}\n')
    with pytest.raises(JournalError, match="Line 2 of"):
        list(read(path))
