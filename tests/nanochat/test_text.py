"""The user's own text: in any encoding, in any folder; what is left out is counted and named."""

from __future__ import annotations

import codecs
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from nanochat import datasets, prepare, tokenizer
from nanochat.contract.dataset import DataError, Options

TEXT = "".join(f"Zeile {i}: größer, schöner {i * i}\n" for i in range(900))


def read(path: Path, options: Options | None = None) -> tuple[str, str]:
    """The text of a dataset, all splits together, and what was skipped."""
    options = options or Options()
    found = datasets.survey(f"text:{path}", options)
    return "".join(text for _, text in datasets.documents(f"text:{path}", options, found, Path(), print)), found.skipped


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
    ],
)
def test_text_is_read_by_its_byte_order_mark(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert read(tmp_path / "a.txt") == (TEXT, "")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-8", "utf-7"])
def test_an_encoding_that_is_named_is_used(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(("\ufeff" if "utf" in encoding else "").encode(encoding) + TEXT.encode(encoding))
    options = datasets.options(f"text:{tmp_path}", None, encoding, "strict")
    assert read(tmp_path / "a.txt", options) == (TEXT, "")


def test_one_bad_byte_is_named_and_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode() + b"\xff")
    with pytest.raises(DataError, match=r"no text in .*a.txt. 1 skipped: 1 not UTF-8 \(a.txt\). .*--errors replace"):
        read(tmp_path / "a.txt")
    assert read(tmp_path / "a.txt", Options(errors="replace")) == (TEXT + "\ufffd", "")


def test_halves_of_characters_become_question_marks(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\\ud800b")
    assert read(tmp_path / "a.txt", Options(encoding="unicode_escape")) == ("a?b", "")


def test_all_that_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "sub").mkdir(parents=True)
    (folder / "good.txt").write_text("good")
    (folder / "sub" / "good.txt").write_text("good as well")
    (folder / "linked.txt").symlink_to(folder / "good.txt")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "broken").symlink_to("/no-such-place")
    os.mkfifo(folder / "fifo")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "socket"))
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("hidden")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "empty.txt").touch()
    (folder / "image").write_bytes(bytes(range(256)))
    (folder / "latin.txt").write_bytes("größer".encode("latin-1"))
    (folder / os.fsdecode(b"\xff\n.txt")).write_bytes("größer".encode("latin-1"))
    text, skipped = read(folder)
    server.close()
    assert text == "goodgoodgood as well"
    assert skipped.startswith("11 skipped: ")
    for words in (
        "2 not UTF-8 (first: latin.txt)", "2 unreadable (first: broken)", "2 hidden (first: .DS_Store)",
        "2 not a regular file (first: fifo)", "1 behind a link (up)", "1 empty (empty.txt)", "1 binary (image)",
    ):  # fmt: skip
        assert words in skipped


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's answer is given here."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "good.txt").write_text("good")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert read(tmp_path) == ("good", "1 skipped: 1 unreadable (closed).")


@pytest.mark.parametrize(
    "text",
    [
        " " * 1_000_000,
        "a" * 1_000_000,
        "\0" * 1_000_000,
        "🙂" * 300_000,
        "\u3000" * 400_000,
        "\r\n" * 400_000,
        "a " * 300_000,
    ],
    ids=["spaces", "letters", "nulls", "emoji", "wide spaces", "line ends", "words"],
)
def test_no_text_is_too_uniform_for_the_tokenizer(text: str) -> None:
    trained = tokenizer.train([TEXT, text], 300)
    (tokens,) = tokenizer.encode(trained, [text], 1)
    assert trained.decode(tokens) == text


def test_large_files_are_split_in_chunks_also_where_there_are_several(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("".join(f"{name} {i} {i * i}\n" for i in range(20_000)))
    found = datasets.survey(f"text:{tmp_path}", Options())
    splits = {split for split, _ in datasets.documents(f"text:{tmp_path}", Options(), found, Path(), print)}
    assert splits == {"train", "val", "test"}


def test_text_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    path = tmp_path / "log.txt"
    path.write_text(TEXT * 5)
    real: Callable[..., object] = tokenizer.train

    def growing(*arguments: object) -> object:
        with path.open("a") as file:
            file.write("more\n")
        return real(*arguments)

    monkeypatch.setattr(tokenizer, "train", growing)
    with pytest.raises(DataError, match=r"was changed while it was prepared: 1 file changed \(log.txt\)"):
        prepare.prepare(f"text:{path}", 320)
    assert list((tmp_path / "data").iterdir()) == []


def test_prepared_data_below_the_text_is_not_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    (tmp_path / "a.txt").write_text(TEXT * 5)
    assert prepare.prepare(f"text:{tmp_path}", 320) == prepare.prepare(f"text:{tmp_path}", 320)


@pytest.mark.parametrize(
    ("source", "arguments", "words"),
    [
        ("text:/x", (None, "klingon", "strict"), "'klingon' is no text encoding"),
        ("text:/x", (None, "rot13", "strict"), "'rot13' is no text encoding"),
        ("text:/x", (None, "hex", "strict"), "'hex' is no text encoding"),
        ("text:/x", (None, "a\0b", "strict"), "is no text encoding"),
        ("python", (None, "latin-1", "strict"), "for text:PATH only"),
        ("python", (2, "", "strict"), "--shards is for"),
        ("text:/x", (2, "", "strict"), "--shards is for"),
        ("climbmix", (0, "", "strict"), "--shards 0 cannot be had"),
        ("climbmix", (-3, "", "strict"), "--shards -3 cannot be had"),
        ("tinystories", (5, "", "strict"), "has 1 to 4"),
    ],
)
def test_options_that_make_no_sense(source: str, arguments: tuple[int | None, str, str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        datasets.options(source, *arguments)  # type: ignore[arg-type]
