"""Read a prepared dataset: flat token arrays, byte lengths of tokens, and a manifest with hashes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanochat.contract import dataset
from nanochat.contract.dataset import SPLITS, Damaged, DataError, Manifest, Split


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset.

    Attributes:
        folder: Where the files are.
        manifest: The source, the splits and the hashes of the files.
    """

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
        """Return the tokens of a split.

        Args:
            split: `train`, `val` or `test`.

        Returns:
            A read-only memory map, uint16 (n,).

        Raises:
            DataError: The file is missing or does not have its full size.
        """
        path = self.path(split)
        if not path.exists() or path.stat().st_size != self.splits[split].tokens * 2:
            raise Damaged(self.folder, f"{path.name} is missing or cut off", self.manifest)
        return np.memmap(path, dtype="<u2", mode="r")

    def token_bytes(self) -> np.ndarray:
        """Return the number of bytes of each token: int32 (vocab_size,), 0 for special tokens.

        Raises:
            DataError: The file cannot be read.
        """
        path = self.folder / "token_bytes.npy"
        try:
            lengths: np.ndarray = np.load(path, allow_pickle=False)
        except OSError as error:
            raise dataset.unreadable(self.folder, path.name, error, self.manifest) from None
        except ValueError as error:
            raise Damaged(self.folder, f"{path.name} cannot be read ({error})", self.manifest) from None
        return lengths


def load(folder: Path) -> Prepared:
    """Open a prepared dataset. Raises DataError."""
    return Prepared(folder, dataset.read(folder))


def val_windows(tokens: np.ndarray, seq_len: int, eval_tokens: int) -> np.ndarray:
    """Return the windows that are scored. They depend only on the data and the scoring length, never on a knob.

    Args:
        tokens: The tokens of a split, (n,).
        seq_len: Tokens that are scored per window.
        eval_tokens: Most tokens to score in total.

    Returns:
        A view (windows, seq_len + 1). Consecutive windows overlap by one token: the last target of one is the first input
        of the next.

    Raises:
        DataError: The split is too short for a window.
    """
    count = min(eval_tokens // seq_len, (len(tokens) - 1) // seq_len)
    if count < 1:
        raise DataError(
            f"The split has {len(tokens)} tokens: too few to score windows of {seq_len}. Prepare more text."
        )
    return np.lib.stride_tricks.sliding_window_view(tokens, seq_len + 1)[: count * seq_len : seq_len]


__all__ = ["SPLITS", "Damaged", "DataError", "Prepared", "load", "val_windows"]
