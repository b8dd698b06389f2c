"""Where documents come from, and which split each belongs to."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import sysconfig
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from nanochat.contract import sources
from nanochat.contract.dataset import SCORED_SHARE, DataError, Options
from nanochat.contract.sources import TEXT, Entry, File, printable
from nanochat.download import fetch, hub

# Characters of a file of the user's that go to one split together; fewer where that leaves few pieces to be split.
CHUNK, LEAST_CHUNK, PIECES = 8192, 1024, 256
PIECE = 1 << 20  # bytes read at once
BINARY_WITHIN = 8000  # a null byte among the first ones makes a file binary, as in git
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),  # before UTF-16, whose marks begin alike
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip


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


@dataclass(frozen=True)
class Survey:
    """The files of a dataset as they are now, and how each is read."""

    files: list[File]
    encodings: dict[str, str]  # path -> encoding, of those that are text
    skipped: str  # what was left out and why, as a sentence; '' for nothing

    @property
    def chunk(self) -> int:
        """Characters of a piece of text."""
        return min(CHUNK, max(LEAST_CHUNK, sum(file.stat[0] for file in self.files) // PIECES))


def options(source: str, shards: int | None, encoding: str, errors: Literal["strict", "replace"]) -> Options:
    """Check what decides the content of a dataset. Raises DataError."""
    if (encoding or errors != "strict") and not source.startswith(TEXT):
        raise DataError(f"--encoding and --errors are for text:PATH only, and the dataset is {source}.")
    if shards is not None and source not in HUB_SETS:
        raise DataError(f"--shards is for {' and '.join(HUB_SETS)} only, and the dataset is {printable(source)}.")
    if shards is not None and not 1 <= shards <= HUB_SETS[source].most:
        raise DataError(f"--shards {shards} cannot be had: {source} has 1 to {HUB_SETS[source].most:,}.")
    try:
        name = codecs.lookup(encoding).name if encoding else ""  # latin1 and iso-8859-1 are the same
        with contextlib.suppress(UnicodeError):
            b"a".decode(encoding or "utf-8")  # refuses what is an encoding of bytes, such as hex
    except (LookupError, ValueError):
        raise DataError(f"--encoding {encoding!r} is no text encoding. latin-1, cp1252 and utf-16 are some.") from None
    return Options(
        shards=(shards or HUB_SETS[source].default) if source in HUB_SETS else 0, encoding=name, errors=errors
    )


def survey(source: str, options: Options, avoid: Collection[str] = ()) -> Survey:
    """Read every file behind a dataset once: its hash, and whether it is text. Raises DataError when there is no text.

    `avoid`: real paths of folders that are not entered.
    """
    files, encodings = [], {}
    skipped: dict[str, list[str]] = {}
    for entry in sources.entries(source, avoid):
        why = entry.skipped
        if not why:
            file, encoding, why = _look(entry, options)
            files.append(file)
            if not why:
                encodings[entry.path] = encoding
        if why:
            skipped.setdefault(why, []).append(entry.name)
    words = _skipped(skipped) if source.startswith(TEXT) else ""
    if not encodings and source not in HUB_SETS:
        raise DataError(f"There is no text in {printable(source.removeprefix(TEXT))}. {words}".rstrip())
    return Survey(files, encodings, words)


def _look(entry: Entry, options: Options) -> tuple[File, str, str]:
    """A file as it is now, its encoding, and why it is skipped ('' for text)."""
    try:
        stat = sources.status(entry.path)
    except OSError:
        return File(entry.name, (0, 0, 0, 0), ""), "", "unreadable"
    try:
        with open(entry.path, "rb") as file:
            digest, encoding, why = _decode(file, options)
    except OSError:
        return File(entry.name, stat, ""), "", "unreadable"
    return File(entry.name, stat, digest), encoding, why


def _decode(file: BinaryIO, options: Options) -> tuple[str, str, str]:
    """The hash of a file, its encoding, and why it is no text ('' where it is)."""
    digest = hashlib.sha256()
    piece = file.read(PIECE)
    if not piece:
        return digest.hexdigest(), "", "empty"
    marked = next((name for mark, name in MARKS if piece.startswith(mark)), "")
    encoding = options.encoding or marked or "utf-8"
    why = "binary" if not options.encoding and not marked and b"\0" in piece[:BINARY_WITHIN] else ""
    decoder = codecs.getincrementaldecoder(encoding)(options.errors)
    while piece:
        digest.update(piece)
        if not why:
            try:
                decoder.decode(piece)
            except UnicodeError:
                why = f"not {encoding.removesuffix('-sig').upper()}"
        piece = file.read(PIECE)
    if not why:
        try:
            decoder.decode(b"", final=True)
        except UnicodeError:
            why = f"not {encoding.removesuffix('-sig').upper()}"
    return digest.hexdigest(), encoding, why


def _skipped(found: dict[str, list[str]]) -> str:
    """Such as '12 skipped: 9 not UTF-8 (first: a/b.txt), 3 unreadable (first: c.txt).'"""
    if not found:
        return ""
    parts = [
        f"{len(names)} {why} ({'first: ' if len(names) > 1 else ''}{printable(names[0])})"
        for why, names in sorted(found.items(), key=lambda pair: -len(pair[1]))
    ]
    advice = " --encoding NAME or --errors replace reads more." if any(why.startswith("not ") for why in found) else ""
    advice += " --encoding NAME reads binary files as text." if "binary" in found else ""
    return f"{sum(map(len, found.values()))} skipped: {', '.join(parts)}.{advice}"


def documents(
    source: str, options: Options, found: Survey, cache: Path, say: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """(split, text) of every document. Raises DataError when one cannot be read."""
    if source in HUB_SETS:
        yield from _hub(HUB_SETS[source], options.shards, cache, say)
        return
    for path, encoding in found.encodings.items():
        try:
            if source == "python":
                if text := "".join(_chunks(path, encoding, options.errors, found.chunk)):
                    yield split_of(_module(path).encode(), 0.07, 0.05), text
            else:
                for piece in _chunks(path, encoding, options.errors, found.chunk):
                    yield split_of(piece.encode(), SCORED_SHARE, SCORED_SHARE), piece
        except (OSError, UnicodeError) as error:
            raise DataError(f"{printable(path)} can no longer be read ({error}).") from None


def _module(path: str) -> str:
    """The top-level module or package of a file of the standard library."""
    return Path(path).relative_to(sysconfig.get_paths()["stdlib"]).parts[0].removesuffix(".py")


def _chunks(path: str, encoding: str, errors: str, size: int) -> Iterator[str]:
    """The text of a file in pieces of `size` characters, with line ends as in Python. Only one piece is in memory."""
    with open(path, encoding=encoding, errors=errors, newline=None) as file:
        first = True
        while piece := file.read(size):
            piece = piece.removeprefix("\ufeff") if first else piece
            first = False
            yield piece.encode("utf-8", "replace").decode()  # some encodings give halves of characters


def split_of(key: bytes, val: float = 0.06, test: float = 0.04) -> str:
    """train, val or test by hash: the same key always goes to the same split."""
    share = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64
    return "val" if share < val else "test" if share < val + test else "train"


def _hub(shards: Shards, count: int, cache: Path, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    import pyarrow
    import pyarrow.parquet as parquet

    base = f"{hub()}/datasets/{shards.repository}/resolve/main/"
    names = [shards.names(index) for index in range(count)] + ([shards.val] if shards.val else [])
    for name in names:
        path = fetch(base + name, cache / Path(name).name, check=_is_parquet, say=say)
        try:
            for batch in parquet.ParquetFile(path).iter_batches(columns=["text"]):
                for text in batch.column(0).to_pylist():
                    if not text:
                        continue
                    if name == shards.val:
                        yield ("test" if split_of(text.encode(), 0.5, 0.5) == "test" else "val"), text
                    else:
                        yield "train", text
        except (pyarrow.ArrowException, UnicodeError, OSError) as error:
            raise DataError(
                f"The download {printable(str(path))} is damaged ({error}). Delete it and prepare again."
            ) from None


def _is_parquet(path: Path) -> None:
    """Raises ValueError for a file that is no whole parquet file."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        parquet.ParquetFile(path).metadata  # noqa: B018  reading the footer is the check
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"it is no whole parquet file ({error})") from error
