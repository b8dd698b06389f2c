"""The user's own text: in any encoding, in any folder; what is left out is counted and named."""

from __future__ import annotations

import codecs
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nanochat.contract.dataset import DataError, Options, avoided
from nanochat.data import datasets, prepare, tokenizer

TEXT = "".join(f"Zeile {i}: größer, schöner {i * i}\n" for i in range(900))


def read(path: Path, options: Options | None = None) -> tuple[str, str]:
    """The text of a dataset, all splits together, and what was skipped."""
    options = options or Options()
    found = datasets.survey(f"text:{path}", options, avoided())
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


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


@pytest.mark.parametrize("name", ["latin-1", "cp1252", "cp437", "utf-8"])
def test_a_named_encoding_is_for_files_that_are_neither_marked_nor_utf8(tmp_path: Path, name: str) -> None:
    for number, content in enumerate(
        (TEXT.encode(name), TEXT.encode(), TEXT.encode("utf-16"), codecs.BOM_UTF8 + TEXT.encode(), b"plain", PNG)
    ):
        (tmp_path / f"{number}.txt").write_bytes(content)
    options = datasets.options(f"text:{tmp_path}", None, name, "strict")
    text, skipped = read(tmp_path, options)
    assert text.replace(TEXT, "T") == "TTTTplain" and skipped.startswith("1 skipped: 1 binary (5.txt).")
    words = datasets.survey(f"text:{tmp_path}", options).read
    if name != "utf-8":
        assert words == (
            f"Read as UTF-8: 3 files (first: 1.txt). Read as {options.encoding.upper()}: 1 file (0.txt). "
            f"Read as UTF-16: 1 file (2.txt)."
        )


@pytest.mark.parametrize(
    ("name", "content", "encoding"),
    [
        ("utf-16-le", "Привет мир\n", "utf-16-le"),
        ("utf-16-be", "plain\n", "utf-16-be"),
        ("utf-32-le", "plain\n", "utf-32-le"),
        ("utf-16-le", "plain text\n", "utf-8"),
        ("utf-16-le", "größer\n", "utf-8"),
        ("shift_jis", "日本語\n", "shift_jis"),
        ("shift_jis", "日本語\n", "utf-8"),
        ("gb18030", "中国\n", "gb18030"),
        ("iso2022_jp", "日本語\n", "iso2022_jp"),
        ("iso2022_jp", "größer\n", "utf-8"),
        ("utf-7", "größer\n", "utf-7"),
        ("utf-7", "größer\n", "utf-8"),
        ("hz", "中国\n", "hz"),
        ("cp037", "größer", "cp037"),
        ("cp037", "CARD", "utf-8"),
        ("koi8-r", "Привет\n", "koi8-r"),
        ("ascii", "größer\n", "utf-8"),
        ("utf-8-sig", "größer\n", "utf-8"),
    ],
)
def test_what_a_file_is_read_as(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(content.encode(encoding))
    for errors in ("strict", "replace"):
        options = datasets.options(f"text:{tmp_path}", None, name, errors)  # type: ignore[arg-type]
        assert read(tmp_path / "a.txt", options) == (content, "")


@pytest.mark.parametrize("errors", ["strict", "replace"])
@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
def test_an_encoding_that_needs_a_mark_names_those_that_do_not(tmp_path: Path, name: str, errors: str) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode(f"{name}-le"))
    options = datasets.options(f"text:{tmp_path}", None, name, errors)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=rf"without the byte order mark of .*--encoding {name}-le or {name}-be"):
        read(tmp_path, options)
    with pytest.raises(DataError, match=r"1 binary .*--encoding utf-16-le or utf-16-be"):
        read(tmp_path)


def test_the_size_of_pieces_is_worked_out_once(tmp_path: Path) -> None:
    """Otherwise every file of a folder asks for the sizes of all of them."""
    (tmp_path / "a.txt").write_text(TEXT * 20)
    (tmp_path / "movie").write_bytes(bytes(5_000_000))
    found = datasets.survey(f"text:{tmp_path}", Options())
    assert found.chunk == (tmp_path / "a.txt").stat().st_size // datasets.PIECES, "what is no text does not count"
    pieces = list(datasets.documents(f"text:{tmp_path}", Options(), replace(found, files=[]), Path(), print))
    assert max(len(text) for _, text in pieces) == found.chunk


def test_files_that_the_product_wrote_are_not_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the text, or where the text is the root of prepared data itself."""
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path))
    run, old, user = tmp_path / "logs" / "night", tmp_path / "elsewhere" / "old", tmp_path / "user"
    for folder in (run, old, user, tmp_path / "downloads" / "tinystories", tmp_path / "logs" / "begun" / "harness"):
        folder.mkdir(parents=True)
    (tmp_path / "a.txt").write_text(TEXT * 5)
    (run / "events.jsonl").write_text('{"type":"created","t":1}\n')
    (run / "notebook.md").write_text("findings")
    (tmp_path / "logs" / "begun" / "frozen.json").write_text("{}")
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "logs" / "repository")], check=True)
    (tmp_path / "downloads" / "tinystories" / "a.parquet.etag").write_text("tag")
    for name in ("manifest.json", "tokenizer.json", "train.bin"):
        (old / name).write_text("{}")
    for name in ("events.jsonl", "manifest.json", "frozen.json", "HEAD"):
        (user / name).write_text(name)
    folder = prepare.prepare(f"text:{tmp_path}", 320)
    text, skipped = read(tmp_path)
    rest = text.removeprefix(TEXT * 5)  # short, so that a failure can be shown
    assert rest == "".join((user / name).read_text() for name in sorted(os.listdir(user)))
    expected = ["downloads", "elsewhere/old", folder.name, "logs/begun", "logs/night"]
    assert (
        skipped
        == f"6 skipped: 5 made by AutoResearch (first: {sorted(expected)[0]}), 1 a git repository (logs/repository)."
    )
    assert prepare.prepare(f"text:{tmp_path}", 320) == folder
    with pytest.raises(DataError, match="1 made by AutoResearch"):
        read(run)
    assert read(run / "notebook.md")[0] == "findings"


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


@pytest.mark.parametrize(
    ("source", "arguments", "words"),
    [
        ("text:/x", (None, "klingon", "strict"), "'klingon' is not a text encoding"),
        ("text:/x", (None, "rot13", "strict"), "'rot13' is not a text encoding"),
        ("text:/x", (None, "hex", "strict"), "'hex' is not a text encoding"),
        ("text:/x", (None, "a\0b", "strict"), "is not a text encoding"),
        ("text:/x", (None, "undefined", "strict"), "is not a text encoding"),
        ("python", (None, "latin-1", "strict"), "for text:PATH only"),
        ("python", (2, "", "strict"), "--shards is for"),
        ("text:/x", (2, "", "strict"), "--shards is for"),
        ("climbmix", (0, "", "strict"), "--shards 0 is not available"),
        ("climbmix", (-3, "", "strict"), "--shards -3 is not available"),
        ("tinystories", (5, "", "strict"), "has 1 to 4"),
    ],
)
def test_options_that_make_no_sense(source: str, arguments: tuple[int | None, str, str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        datasets.options(source, *arguments)  # type: ignore[arg-type]
