"""A proposed limit is put into the front matter, and nothing else of the file changes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from core.charter import Proposed, read
from core.charter.adopt import NotAdopted, added, adopt

KNOWN = ("WIDTH", "DEPTH", "LR")
PROSE = "# Aim\n\nLow. Do not touch WIDTH. At most 60M parameters.\n"
NAMES, PARAMS = read(PROSE, KNOWN).proposed


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.md"
    path.write_text(PROSE)
    return path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Low.\n", "---\noff_limits: [WIDTH]\n---\n\nLow.\n"),
        ("\ufeffLow.\r\n", "\ufeff---\r\noff_limits: [WIDTH]\r\n---\r\n\r\nLow.\r\n"),
        ("---\nmax_params: 5M # five\n---\nLow.", "---\nmax_params: 5M # five\noff_limits: [WIDTH]\n---\nLow."),
        ("<!-- a -->\n---\n# all\n...\nLow.", "<!-- a -->\n---\n# all\noff_limits: [WIDTH]\n...\nLow."),
        ("---\n---\nLow.", "---\noff_limits: [WIDTH]\n---\nLow."),
        ("---\noff_limits: # none\n---\nLow.", "---\noff_limits: [WIDTH] # none\n---\nLow."),
        ("---\noff_limits: []\n---\nLow.", "---\noff_limits: [WIDTH]\n---\nLow."),
        ("---\noff_limits: LR\n---\nLow.", "---\noff_limits: [LR, WIDTH]\n---\nLow."),
        ("---\noff_limits: LR, DEPTH # x\n---\nLow.", "---\noff_limits: [LR, DEPTH, WIDTH] # x\n---\nLow."),
        (
            "---\r\noff_limits: [LR, # first\r\n  DEPTH] # all\r\n---\r\nLow.",
            "---\r\noff_limits: [LR, # first\r\n  DEPTH, WIDTH] # all\r\n---\r\nLow.",
        ),
        ("---\noff_limits: [LR,]\n---\n", "---\noff_limits: [LR, WIDTH,]\n---\n"),
        (
            "---\noff_limits:\n  - LR # a\n  # b\n  - DEPTH # c\n# d\nmax_params: 3\n---\nLow.",
            "---\noff_limits:\n  - LR # a\n  # b\n  - DEPTH # c\n  - WIDTH\n# d\nmax_params: 3\n---\nLow.",
        ),
        ("---\roff_limits:\r- LR\r---\rLow.", "---\roff_limits:\r- LR\r- WIDTH\r---\rLow."),
        ("  ---\n  max_params: 4\n  ---\nLow.", "  ---\n  max_params: 4\n  off_limits: [WIDTH]\n  ---\nLow."),
    ],
)
def test_the_line_goes_where_it_belongs(before: str, after: str) -> None:
    (proposal,) = read(f"{before}\n\nDo not touch WIDTH.\n", KNOWN).proposed
    assert added(before, proposal) == after


def test_other_limits_are_added_or_take_an_empty_place() -> None:
    assert (
        added("---\nmax_params:\nmax_memory_gb: 4\n---\n", PARAMS)
        == "---\nmax_params: 60000000\nmax_memory_gb: 4\n---\n"
    )
    size = Proposed(line="max_memory_gb: 7.5", sentence="s")
    assert read(added("---\noff_limits: LR\n---\n", size)).max_memory_gb == 7.5


def test_the_file_keeps_its_link_its_mode_and_its_bytes(tmp_path: Path) -> None:
    real, link = tmp_path / "real.md", tmp_path / "program.md"
    body = "\ufeff# Aim\r\n\r\nLow. Do not touch WIDTH.\r\nTrailing   \r\n".encode()
    real.write_bytes(body)
    real.chmod(0o640)
    link.symlink_to(real)
    stamp = real.stat().st_mtime_ns
    (proposal,) = read(body.decode(), KNOWN).proposed
    assert adopt(link, proposal, KNOWN) == "Added to the front matter of program.md: off_limits: [WIDTH]"
    assert link.is_symlink() and real.stat().st_mode & 0o777 == 0o640 and real.stat().st_mtime_ns != stamp
    assert real.read_bytes() == b"\xef\xbb\xbf---\r\noff_limits: [WIDTH]\r\n---\r\n\r\n" + body[3:]
    assert sorted(os.listdir(tmp_path)) == ["program.md", "real.md"]


def test_adopting_works_without_fsync(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(errno.EINVAL, "")

    monkeypatch.setattr(os, "fsync", fail)
    assert adopt(program, PARAMS, KNOWN).startswith("Added")


def test_one_after_the_other(program: Path) -> None:
    adopt(program, PARAMS, KNOWN)
    adopt(program, NAMES, KNOWN)
    assert program.read_text() == f"---\nmax_params: 60000000\noff_limits: [WIDTH]\n---\n\n{PROSE}"
    assert not read(program.read_text(), KNOWN).proposed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# Aim\n\nDo what you like.\n", "has changed and no longer proposes max_params"),
        ("---\nmax_params: 5\n---\nAt most 60M parameters.\n", "no longer proposes"),
        ("---\nmax_params: 5\nAt most 60M parameters.\n", "never closes"),
        (
            "---\n{off_limits: LR}\n---\n" + PROSE,
            "has a form that cannot be edited automatically. Nothing was changed.",
        ),
        (b"\xff\xfe" + PROSE.encode(), "is not UTF-8 text"),
    ],
)
def test_what_cannot_be_changed_safely_is_left_as_it_is(program: Path, text: str | bytes, words: str) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    program.write_bytes(content)
    with pytest.raises(NotAdopted, match="max_params: 60000000") as error:
        adopt(program, PARAMS, KNOWN)
    assert words in str(error.value) and program.read_bytes() == content


def test_an_edit_at_the_same_moment_is_not_lost(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copystat = __import__("shutil").copystat

    def edited(*paths: Path) -> None:
        program.write_text("Mine.")
        copystat(*paths)

    monkeypatch.setattr("shutil.copystat", edited)
    with pytest.raises(NotAdopted, match="edited at the same moment"):
        adopt(program, PARAMS, KNOWN)
    assert program.read_text() == "Mine." and os.listdir(program.parent) == ["program.md"]


def test_a_file_that_is_gone_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotAdopted, match=r"cannot be changed .*put this line between two lines --- at the top"):
        adopt(tmp_path / "program.md", PARAMS, KNOWN)
