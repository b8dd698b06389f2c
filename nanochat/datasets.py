"""Where documents come from, and which split each belongs to."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nanochat.data import SPLITS, DataError
from nanochat.download import fetch

EXCLUDED = {"test", "tests", "idlelib", "encodings", "pydoc_data", "site-packages", "dist-packages", "__pycache__"}
CHUNK = 8192  # bytes of a single file that are hashed to a split together
HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Shards:
    """A dataset of parquet shards on the hub. `val` None: split by content hash."""

    repository: str
    names: Callable[[int], str]
    most: int
    default: int
    val: str | None


HUB_SETS = {
    "climbmix": Shards("karpathy/climbmix-400b-shuffle", lambda i: f"shard_{i:05d}.parquet", 6542, 8, "shard_06542.parquet"),
    "tinystories": Shards(
        "roneneldan/TinyStories",
        lambda i: f"data/train-{i:05d}-of-00004-{('2d5a1467fff1081b', '5852b56a2bd28fd9', 'a26307300439e943', 'd243063613e5a057')[i]}.parquet",
        4, 1, "data/validation-00000-of-00001-869c898b519ad725.parquet",
    ),
}  # fmt: skip
NAMES = ("python", *HUB_SETS, "text:PATH")


def check(dataset: str) -> None:
    """Raises DataError for a dataset that does not exist."""
    if dataset.startswith("text:"):
        if not Path(dataset[5:]).expanduser().exists():
            raise DataError(f"There is no file or folder {dataset[5:]}. Nothing was prepared.")
    elif dataset not in NAMES:
        raise DataError(f"There is no dataset {dataset!r}; known are {', '.join(NAMES)}. Nothing was prepared.")


def documents(dataset: str, shards: int | None, cache: Path, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """(split, text) of every document. Raises DataError when nothing can be read."""
    check(dataset)
    if dataset == "python":
        yield from _python()
    elif dataset.startswith("text:"):
        yield from _text(Path(dataset[5:]).expanduser())
    else:
        yield from _hub(HUB_SETS[dataset], shards, cache, say)


def split_of(key: bytes, val: float = 0.06, test: float = 0.04) -> str:
    """train, val or test by hash: the same key always goes to the same split."""
    share = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64
    return "val" if share < val else "test" if share < val + test else "train"


def _python() -> Iterator[tuple[str, str]]:
    """The interpreter's standard library, split by top-level module or package."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if EXCLUDED.intersection(parts) or parts[0].startswith(("lib2to3", "config-")):
            continue
        text = _readable(path)
        if text:
            yield split_of(parts[0].removesuffix(".py").encode(), 0.07, 0.05), text


def _text(path: Path) -> Iterator[tuple[str, str]]:
    """The user's own text: by content hash of files, or of chunks of a single file."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    found = False
    for file in files:
        text = _readable(file)
        if not text:
            continue
        found = True
        pieces = [text] if len(files) > 1 else list(_chunks(text.encode()))
        for piece in pieces:
            yield split_of(piece.encode(), 0.1, 0.1), piece
    if not found:
        raise DataError(f"There is no UTF-8 text in {path}. Nothing was prepared.")


def _chunks(data: bytes) -> Iterator[str]:
    """Pieces of about 8 KiB that end between characters."""
    start = 0
    while start < len(data):
        end = min(len(data), start + CHUNK)
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end += 1
        yield data[start:end].decode()
        start = end


def _readable(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _hub(shards: Shards, count: int | None, cache: Path, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    import pyarrow.parquet as parquet

    wanted = min(count or shards.default, shards.most)
    base = f"{os.environ.get('HF_ENDPOINT', HUB).rstrip('/')}/datasets/{shards.repository}/resolve/main/"
    names = [shards.names(index) for index in range(wanted)] + ([shards.val] if shards.val else [])
    for name in names:
        path = fetch(base + name, cache / Path(name).name, check=_is_parquet, say=say)
        for batch in parquet.ParquetFile(path).iter_batches(columns=["text"]):
            for text in batch.column(0).to_pylist():
                if not text:
                    continue
                if name == shards.val:
                    yield ("test" if split_of(text.encode(), 0.5, 0.5) == "test" else "val"), text
                else:
                    yield "train", text


def _is_parquet(path: Path) -> None:
    """Raises ValueError for a file that is no whole parquet file."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        parquet.ParquetFile(path).metadata  # noqa: B018  reading the footer is the check
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"it is no whole parquet file ({error})") from error


__all__ = ["NAMES", "SPLITS", "check", "documents", "split_of"]
