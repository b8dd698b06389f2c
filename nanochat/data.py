"""Prepared data as it lies on disk: flat token arrays, byte lengths, a manifest with hashes. Read-only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1
SPLITS = ("train", "val", "test")


class DataError(Exception):
    """The prepared data is missing or damaged; the message is a sentence for a human."""


@dataclass(frozen=True)
class Prepared:
    """One prepared dataset."""

    folder: Path
    dataset: str
    vocab_size: int
    fingerprint: str
    bos: int
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)

    def path(self, split: str) -> Path:
        return self.folder / str(self.splits[split]["file"])

    def tokens(self, split: str) -> np.ndarray:
        """The tokens of a split: uint16 (n,), mapped read-only. Raises DataError when the file is not whole."""
        path = self.path(split)
        expected = int(self.splits[split]["tokens"]) * 2
        if not path.exists() or path.stat().st_size != expected:
            raise DataError(_again(self.folder, f"{path.name} is missing or cut off"))
        return np.memmap(path, dtype="<u2", mode="r")

    def token_bytes(self) -> np.ndarray:
        """UTF-8 byte length of each token from its raw bytes: int32 (vocab,), 0 for specials."""
        lengths: np.ndarray = np.load(self.folder / "token_bytes.npy", allow_pickle=False)
        return lengths

    def verify(self, split: str) -> None:
        """Raises DataError when the split's content is not what was prepared."""
        with self.path(split).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != self.splits[split]["sha256"]:
                raise DataError(_again(self.folder, f"the content of {split} changed"))


def _again(folder: Path, what: str) -> str:
    return f"The prepared data in {folder} cannot be used: {what}. Nothing was changed. `make prepare ARGS=--force` makes it anew."


def load(folder: Path) -> Prepared:
    """Open a prepared dataset. Raises DataError with a sentence."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        if manifest["schema"] != SCHEMA:
            raise DataError(_again(folder, f"it was written with schema {manifest['schema']}, not {SCHEMA}"))
        return Prepared(
            folder,
            manifest["dataset"],
            manifest["vocab_size"],
            manifest["fingerprint"],
            manifest["bos"],
            manifest["splits"],
        )
    except FileNotFoundError:
        raise DataError(f"There is no prepared data in {folder}. `make prepare` makes it.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(_again(folder, f"its manifest cannot be read ({error})")) from None


def val_windows(tokens: np.ndarray, seq_len: int, eval_tokens: int) -> np.ndarray:
    """The fixed windows that are scored: (n, seq_len + 1), each starting where the last one's targets ended.

    They follow from the data and the scoring length alone, never from a knob. Raises DataError when there is not one.
    """
    count = min(eval_tokens // seq_len, (len(tokens) - 1) // seq_len)
    if count < 1:
        raise DataError(
            f"The split has {len(tokens)} tokens: too few to score windows of {seq_len}. Prepare more text."
        )
    return np.lib.stride_tricks.sliding_window_view(tokens, seq_len + 1)[: count * seq_len : seq_len]
