"""Prepared data: round trips, raw byte lengths, splits that share nothing, damage that is seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.contract import dataset
from nanochat.contract.dataset import Options
from nanochat.data import datasets, prepare, tokenizer
from nanochat.data.prepared import SPLITS, DataError, load, val_windows

ENCODING = tokenizer.train(["the cat sat on the mat, été 🙂 " * 50, "def f(x):\n    return x\n" * 50], 300)


@given(st.text())
def test_any_text_survives_the_tokenizer_and_its_bytes_add_up(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    tokens = ENCODING.encode_ordinary(text)
    assert ENCODING.decode(tokens) == text
    assert int(tokenizer.byte_lengths(ENCODING)[tokens].sum()) == len(text.encode())


def test_lengths_are_of_raw_bytes_also_of_parts_of_characters() -> None:
    lengths = tokenizer.byte_lengths(ENCODING)
    assert (lengths[:256] == 1).all() and lengths[-1] == 0 and lengths.dtype == np.int32


def test_a_tokenizer_is_stored_and_loaded(tmp_path: Path) -> None:
    tokenizer.save(ENCODING, tmp_path / "t.json")
    again = tokenizer.load(tmp_path / "t.json")
    assert again.encode_ordinary("the cat") == ENCODING.encode_ordinary("the cat") and again.n_vocab == ENCODING.n_vocab


def test_the_standard_library_is_split_by_module_and_leaves_tests_out() -> None:
    splits: dict[str, set[int]] = {split: set() for split in SPLITS}
    size = dict.fromkeys(SPLITS, 0)
    for split, text in datasets.documents("python", Options(), datasets.survey("python", Options()), Path(), print):
        splits[split].add(hash(text))
        size[split] += len(text)
    assert not (splits["train"] & splits["val"]) and not (splits["train"] & splits["test"])
    assert size["train"] > 4_000_000 and size["val"] > 300_000 and size["test"] > 100_000


def test_windows_are_fixed_and_do_not_overlap_in_their_targets() -> None:
    tokens = np.arange(1000, dtype=np.uint16)
    windows = val_windows(tokens, 10, 95)
    assert windows.shape == (9, 11) and windows[1, 0] == windows[0, -1] == 10
    with pytest.raises(DataError, match="too few"):
        val_windows(tokens[:5], 10, 100)


def test_damage_is_seen_with_what_to_do(tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_data, folder)
    prepared = load(folder)
    dataset.verify(folder, prepared.manifest)
    content = (folder / "val.bin").read_bytes()
    (folder / "val.bin").write_bytes(content[:-2])
    with pytest.raises(DataError, match=r"cut off.*make prepare .*--vocab 320"):
        prepared.tokens("val")
    (folder / "val.bin").write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(DataError, match=r"val.bin has changed"):
        dataset.verify(folder, prepared.manifest)
    (folder / "val.bin").write_bytes(content)
    lengths = (folder / "token_bytes.npy").read_bytes()
    (folder / "token_bytes.npy").write_bytes(lengths[:-1] + bytes([lengths[-1] ^ 1]))
    with pytest.raises(DataError, match=r"token_bytes.npy has changed"):
        dataset.verify(folder, prepared.manifest)
    manifest = json.loads((folder / "manifest.json").read_text()) | {"schema": 0}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="schema 0"):
        load(folder)
    with pytest.raises(DataError, match="prepare"):
        load(tmp_path / "nowhere")


def test_a_single_file_is_split_in_chunks_between_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    path = tmp_path / "book.txt"
    path.write_text("".join(f"Zeile {i}: größer, schöner 🙂 {i * i}\n" for i in range(20_000)))
    prepared = load(prepare.prepare(f"text:{path}", 320))
    assert sum(split.bytes for split in prepared.splits.values()) == path.stat().st_size
    again = prepare.prepare(f"text:{path}", 320)
    assert load(again).fingerprint == prepared.fingerprint
    assert load(prepare.prepare(f"text:{path}", 320, force=True)).fingerprint == prepared.fingerprint
    assert [p.name for p in (tmp_path / "data").iterdir()] == [again.name], "no draft is left behind"


def test_too_little_text_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(DataError):
        prepare.prepare(f"text:{tmp_path / 'short.txt'}", 320)
    assert list((tmp_path / "data").iterdir()) == []
