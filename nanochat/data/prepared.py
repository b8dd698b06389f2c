"""Prepared data as it lies on disk: flat token arrays, byte lengths, a manifest with hashes. Read-only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanochat.contract import dataset
from nanochat.contract.dataset import SPLITS, Damaged, DataError, Manifest, Split


@dataclass(frozen=True)
class Prepared:
    """One prepared dataset."""

    folder: Path
    manifest: Manifest

    @property
    def vocab_size(self) -> int:
        return self.manifest.vocab_size

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    @property
    def splits(self) -> dict[str, Split]:
        return self.manifest.splits

    def path(self, split: str) -> Path:
        return self.folder / self.splits[split].file

    def tokens(self, split: str) -> np.ndarray:
        """The tokens of a split: uint16 (n,), mapped read-only. Raises DataError when the file is not whole."""
        path = self.path(split)
        if not path.exists() or path.stat().st_size != self.splits[split].tokens * 2:
            raise Damaged(self.folder, f"{path.name} is missing or cut off", self.manifest)
        return np.memmap(path, dtype="<u2", mode="r")

    def token_bytes(self) -> np.ndarray:
        """UTF-8 byte length of each token from its raw bytes: int32 (vocab,), 0 for specials. Raises DataError."""
        path = self.folder / "token_bytes.npy"
        try:
            lengths: np.ndarray = np.load(path, allow_pickle=False)
        except OSError as error:
            raise dataset.unreadable(self.folder, path.name, error, self.manifest) from None
        except ValueError as error:
            raise Damaged(self.folder, f"{path.name} cannot be read ({error})", self.manifest) from None
        return lengths


def load(folder: Path) -> Prepared:
    """Open a prepared dataset. Raises DataError with a sentence."""
    return Prepared(folder, dataset.read(folder))


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


__all__ = ["SPLITS", "Damaged", "DataError", "Prepared", "load", "val_windows"]
