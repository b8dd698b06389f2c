"""What prepared data was made from: no two sources share it, and a source that has changed is noticed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from nanochat import local
from nanochat.contract import dataset, source_changes
from nanochat.contract.dataset import DataError, Options
from nanochat.data import prepare
from nanochat.data.prepared import load


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def corpus(path: Path, word: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{word} {i}: größer, {i * i}\n" for i in range(8000)))
    return path


def find(path: Path) -> dataset.Found:
    return dataset.find(dataset.resolve(f"text:{path}"), 320)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/corpus.txt", "b/corpus.txt"),
        ("日本.txt", "中国.txt"),
        ("x y/z.txt", "x/y/z.txt"),
        ("x y.txt", "x_y.txt"),
        ("Notes.txt", "notes.txt"),
        ("a.txt", "a.txt."),
        ("n" * 200, "n" * 201),
    ],
)
def test_two_sources_never_share_a_folder(tmp_path: Path, one: str, other: str) -> None:
    folders = {}
    for name in (one, other):
        path = corpus(tmp_path / name, name[:20])
        folders[name] = prepare.prepare(f"text:{path}", 320)
        assert load(folders[name]).manifest.dataset == f"text:{path}"
    assert folders[one] != folders[other] and (find(tmp_path / one).folder, find(tmp_path / other).folder) == (
        folders[one],
        folders[other],
    )


def test_a_changed_source_is_reported_and_prepared_beside_the_old_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = corpus(tmp_path / "book.txt", "first")
    old = prepare.prepare(f"text:{path}", 320)
    status, bytes_ = path.stat(), (old / "val.bin").read_bytes()
    path.write_text(path.read_text().replace("first", "other"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` and rsync leave it
    assert path.stat().st_size == status.st_size
    found = find(path)
    assert found.manifest is None and found.stale == "1 file changed (book.txt)"
    new = prepare.prepare(f"text:{path}", 320)
    assert new != old and "is prepared again, since 1 file changed (book.txt)" in capsys.readouterr().out
    assert (old / "val.bin").read_bytes() == bytes_, "runs may use it"
    path.write_text(path.read_text().replace("other", "first"))
    assert find(path).folder == old, "as it was, it is what was prepared first"


def test_times_alone_change_nothing(tmp_path: Path) -> None:
    """A file that had to be read to see that is not read again by the next command, unless the list cannot be written."""
    path = corpus(tmp_path / "book.txt", "word")
    folder = prepare.prepare(f"text:{path}", 320)
    obstacle = folder / f".sources.json.{os.getpid()}"
    obstacle.mkdir()
    path.write_bytes(path.read_bytes())
    assert find(path).folder == folder and source_changes.load(folder / "sources.json")[
        0
    ].stat != source_changes.status(str(path))
    obstacle.rmdir()
    assert find(path).folder == prepare.prepare(f"text:{path}", 320) == folder
    assert source_changes.load(folder / "sources.json")[0].stat == source_changes.status(str(path))
    names = {entry.name for entry in folder.iterdir()}
    assert names == {
        "manifest.json",
        "sources.json",
        "tokenizer.json",
        "token_bytes.npy",
        *(f"{s}.bin" for s in dataset.SPLITS),
    }


def test_files_that_are_the_same_are_read_once_also_beside_one_that_changed(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    for name in "ab":
        corpus(folder / f"{name}.txt", name)
    prepared = prepare.prepare(f"text:{folder}", 320)
    for name in "ab":  # as a checkout leaves them
        (folder / f"{name}.txt").write_bytes((folder / f"{name}.txt").read_bytes() + (b"more" if name == "a" else b""))
    assert find(folder).stale == "1 file changed (a.txt)"
    one, other = source_changes.load(prepared / "sources.json")
    assert one.stat != source_changes.status(str(folder / "a.txt")) and other.stat == source_changes.status(
        str(folder / "b.txt")
    )


def test_files_that_come_and_go_are_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    for name in "abc":
        corpus(folder / f"{name}.txt", name)
    prepare.prepare(f"text:{folder}", 320)
    corpus(folder / "d.txt", "d")
    assert find(folder).stale == "1 file added (d.txt)"
    (folder / "d.txt").unlink()
    assert find(folder).manifest is not None
    (folder / "a.txt").rename(folder / "z.txt")
    assert find(folder).stale == "1 file added (z.txt); 1 file removed (a.txt)"
    (folder / ".swp").write_text("an editor's")
    (folder / "z.txt").rename(folder / "a.txt")
    assert find(folder).manifest is not None, "hidden files do not count"


def test_a_relative_path_means_what_it_meant_where_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        corpus(tmp_path / name / "corpus.txt", name)
        monkeypatch.chdir(tmp_path / name)
        assert load(prepare.prepare("text:corpus.txt", 320)).manifest.dataset == f"text:{tmp_path}/{name}/corpus.txt"
    assert dataset.same("text:corpus.txt", f"text:{tmp_path}/two/corpus.txt")
    assert not dataset.same("text:corpus.txt", f"text:{tmp_path}/one/corpus.txt")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shakespeare", "There is no dataset 'shakespeare'"),
        ("", "There is no dataset"),
        ("Python", "There is no dataset"),
        ("text:", "needs the path"),
        ("text: ", "needs the path"),
        ("text:/no-such-place", "no file or folder /no-such-place"),
        ("text:/dev/null", "neither a file nor a folder"),
        ("text:~nobody-of-that-name/x", "no file or folder"),
        ("text:a\0b", "valid UTF-8"),
        ("text:a\udcff", "valid UTF-8"),
        ("text:" + "x" * 5000, "no file or folder"),
    ],
)
def test_a_name_that_means_nothing_is_one_sentence(name: str, words: str, root: Path) -> None:
    with pytest.raises(DataError, match=words):
        prepare.prepare(name, 320)
    assert not root.exists()


def test_other_options_are_other_data_and_a_new_run_uses_the_last(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes("".join(f"größer {i}: {i * i}\n" for i in range(8000)).encode("latin-1"))
    replaced = prepare.prepare(f"text:{path}", 320, Options(errors="replace"))
    decoded = prepare.prepare(f"text:{path}", 320, Options(encoding="iso8859-1"))
    assert replaced != decoded and find(path).folder == decoded
    assert prepare.prepare(f"text:{path}", 320, Options(errors="replace")) == replaced == find(path).folder
    path.write_bytes(path.read_bytes() + b"more\n")
    assert find(path).options == Options(errors="replace"), "what is made anew is made as before"


def test_options_belong_to_the_source_whatever_the_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes("".join(f"größer {i}: {i * i}\n" for i in range(8000)).encode("latin-1"))
    source, latin = f"text:{path}", Options(encoding="iso8859-1")
    replaced = prepare.prepare(source, 320, Options(errors="replace"))
    decoded = prepare.prepare(source, 350, latin)
    assert dataset.find(source, 350).folder == decoded
    assert dataset.find(source, 320) == (dataset.root(), None, latin, ""), "it is made as the source was asked for last"
    assert prepare.prepare(source, 320, Options(errors="replace")) == replaced == dataset.find(source, 320).folder
    assert dataset.find(source, 350).manifest is None
    assert "with --errors replace" in dataset.changes_since(source, load(decoded).fingerprint)


def test_what_was_prepared_for_a_start_is_used_although_the_text_grows(tmp_path: Path) -> None:
    path = corpus(tmp_path / "log.txt", "word")
    source = f"text:{path}"
    assert dataset.just_prepared(source, 320) is None
    folder = prepare.prepare(source, 320)
    with path.open("a") as file:
        file.write("more\n")
    assert dataset.just_prepared(source, 320) == folder and find(path).manifest is None
    assert dataset.changes_since(source, load(folder).fingerprint) == "1 file changed (log.txt)"
    assert dataset.changes_since(source, "of another version") == ""


def test_drafts_of_processes_that_were_killed_are_removed(tmp_path: Path, root: Path) -> None:
    path = corpus(tmp_path / "book.txt", "word")
    left, own = root / ".draft.0123456789abcdef", root / ".draft.notes"
    for folder in (left, own):
        folder.mkdir(parents=True)
        (folder / "train.bin").write_bytes(b"x")
    live = os.open(root, os.O_RDONLY)
    fcntl.flock(live, fcntl.LOCK_SH)  # as another preparation does
    prepare.prepare(f"text:{path}", 320)
    assert left.exists(), "it may be that one's"
    os.close(live)
    prepare.prepare(f"text:{path}", 320, force=True)
    assert not left.exists() and own.exists()


def test_training_alone_checks_its_data(tmp_path: Path) -> None:
    path = corpus(tmp_path / "it's $HOME.txt", "word")
    with pytest.raises(DataError, match=r"is not prepared. `.venv/bin/python prepare.py --dataset 'text:"):
        local.find_data(f"text:{path}")
    folder = prepare.prepare(f"text:{path}", 320)
    assert local.find_data(f"text:{path}").folder == folder
    content = (folder / "val.bin").read_bytes()
    (folder / "val.bin").write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(DataError, match=r"the content of val.bin has changed"):
        local.find_data(f"text:{path}")


def test_damaged_data_is_mended_in_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs have links to large files: their folder must stay, with what was in it."""
    path = corpus(tmp_path / "book.txt", "word")
    folder = prepare.prepare(f"text:{path}", 320)
    before = (folder / "train.bin").read_bytes()
    (folder / "train.bin").write_bytes(bytes([before[0] ^ 1]) + before[1:])
    assert prepare.prepare(f"text:{path}", 320) == folder
    assert "damaged" in capsys.readouterr().out and (folder / "train.bin").read_bytes() == before
    (folder / "train.bin").unlink()
    assert prepare.prepare(f"text:{path}", 320) == folder and (folder / "train.bin").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_folder_is_never_known_by_its_name(tmp_path: Path, root: Path) -> None:
    """Not that of a draft, not one that the version before has written, not one that somebody has copied."""
    path = corpus(tmp_path / "book.txt", "word")
    folder = prepare.prepare(f"text:{path}", 320)
    folder.rename(root / ".draft.1")
    assert find(path).manifest is None
    (root / ".draft.1").rename(root / "a copy")
    assert find(path).folder == root / "a copy"
    manifest = root / "a copy" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 2', '"schema": 1'))
    assert find(path).manifest is None and load(manifest.parent).vocab_size == 320, "runs of it can still go on"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_splits_too_short_to_be_scored_are_refused(tmp_path: Path, device: str, root: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("".join(f"word {i} and {i * i}\n" for i in range(9000)))
    folder = prepare.prepare(f"text:{path}", 320)
    splits = load(folder).splits
    longest = (min(splits["val"].tokens, splits["test"].tokens) - 1) // dataset.least_windows(device)
    dataset.check_size("text:x", splits, longest, dataset.least_windows(device))
    with pytest.raises(
        DataError,
        match=r"too little text: its (val|test) split has .* about \d+ kB are enough if nothing in it is repeated",
    ):
        prepare.prepare(f"text:{path}", 320, fit=(longest + 1, dataset.least_windows(device)))
    with pytest.raises(DataError, match="too little text: its train split"):
        dataset.check_size("text:x", splits, splits["train"].tokens, 0)
    path.write_text(path.read_text() + "more\n")
    with pytest.raises(DataError, match="too little text"):
        prepare.prepare(f"text:{path}", 320, fit=(longest * 2, dataset.least_windows(device)))
    assert [path.name for path in root.iterdir()] == [folder.name]


def test_a_read_error_is_not_reported_as_damage(tmp_path: Path) -> None:
    """Reading from the beginning of a process's memory is an input/output error."""
    (tmp_path / dataset.MANIFEST).symlink_to("/proc/self/mem")
    with pytest.raises(dataset.Unreadable, match=r"manifest.json cannot be read \(Input/output error\).* Try again"):
        dataset.read(tmp_path)
    (tmp_path / dataset.MANIFEST).unlink()
    (tmp_path / dataset.MANIFEST).mkdir()
    with pytest.raises(dataset.Damaged, match="Is a directory"):
        dataset.read(tmp_path)
