"""A byte-level BPE tokenizer: trained by rustbpe, used through tiktoken, stored as JSON (nothing is unpickled)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rustbpe
import tiktoken

BOS = "<|bos|>"
# Words with their leading space, short runs of digits, punctuation, line ends, other space: as GPT-4 splits, digits by two.
PATTERN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"


def train(texts: Iterable[str], vocab_size: int) -> tiktoken.Encoding:
    """A tokenizer of vocab_size tokens (256 bytes, merges, one special) for these texts."""
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(texts), vocab_size - 1, pattern=PATTERN)
    ranks = {bytes(token): rank for token, rank in trainer.get_mergeable_ranks()}
    return build(ranks)


def build(ranks: dict[bytes, int]) -> tiktoken.Encoding:
    return tiktoken.Encoding("autoresearch", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={BOS: len(ranks)})


def save(encoding: tiktoken.Encoding, path: Path) -> None:
    tokens = [base64.b64encode(encoding.decode_single_token_bytes(i)).decode() for i in range(encoding.n_vocab - 1)]
    path.write_text(json.dumps({"pattern": PATTERN, "special": BOS, "tokens": tokens}))


def load(path: Path) -> tiktoken.Encoding:
    content = json.loads(path.read_text())
    return build({base64.b64decode(token): rank for rank, token in enumerate(content["tokens"])})


def byte_lengths(encoding: tiktoken.Encoding) -> np.ndarray:
    """int32 (vocab,): bytes of each token, from its raw bytes; 0 for the special one."""
    lengths = [len(encoding.decode_single_token_bytes(i)) for i in range(encoding.n_vocab - 1)]
    return np.array([*lengths, 0], dtype=np.int32)
