"""Assign a text to a split."""

from __future__ import annotations

import hashlib


def split_of(key: bytes, val: float = 0.06, test: float = 0.04) -> str:
    """Return train, val or test by a hash of the key. `val` and `test` are the shares of these splits."""
    share = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64
    return "val" if share < val else "test" if share < val + test else "train"
