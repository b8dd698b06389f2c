"""A byte-level BPE tokenizer, trained with rustbpe and used with tiktoken. Stored as JSON, so nothing is unpickled."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import rustbpe
import tiktoken

BOS = "<|bos|>"
# GPT-4's pattern, except that digits are grouped by two: words with their leading space, digits, punctuation, line ends, space.
PATTERN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"

LONGEST = 65_536  # characters matched at once: a million spaces would overflow the stack of the regex engine


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces that are short enough to tokenize."""
    return (text[start : start + LONGEST] for start in range(0, len(text), LONGEST))


def train(texts: Iterable[str], vocab_size: int) -> tiktoken.Encoding:
    """Train a tokenizer of `vocab_size` tokens: 256 bytes, merges and one special token.

    It has fewer tokens if the texts do not give enough merges.
    """
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator((piece for text in texts for piece in pieces(text)), vocab_size - 1, pattern=PATTERN)
    ranks = {bytes(token): rank for token, rank in trainer.get_mergeable_ranks()}
    return build(ranks)


def build(ranks: dict[bytes, int]) -> tiktoken.Encoding:
    return tiktoken.Encoding("autoresearch", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={BOS: len(ranks)})


def encode(encoding: tiktoken.Encoding, texts: Sequence[str], threads: int) -> list[list[int]]:
    """Return the tokens of each text, without special tokens."""
    parts = [list(pieces(text)) for text in texts]
    found = iter(encoding.encode_ordinary_batch([piece for part in parts for piece in part], num_threads=threads))
    return [[token for _ in part for token in next(found)] for part in parts]


def save(encoding: tiktoken.Encoding, path: Path) -> None:
    tokens = [base64.b64encode(encoding.decode_single_token_bytes(i)).decode() for i in range(encoding.n_vocab - 1)]
    path.write_text(json.dumps({"pattern": PATTERN, "special": BOS, "tokens": tokens}))


def load(path: Path) -> tiktoken.Encoding:
    content = json.loads(path.read_text())
    return build({base64.b64decode(token): rank for rank, token in enumerate(content["tokens"])})


def byte_lengths(encoding: tiktoken.Encoding) -> np.ndarray:
    """Return the number of bytes of each token: int32 (vocab_size,), 0 for the special token."""
    lengths = [len(encoding.decode_single_token_bytes(i)) for i in range(encoding.n_vocab - 1)]
    return np.array([*lengths, 0], dtype=np.int32)
