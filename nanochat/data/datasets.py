"""Read the documents of a dataset and assign each to a split."""

from __future__ import annotations

import codecs
import hashlib
import sysconfig
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from nanochat.contract import sources
from nanochat.contract.dataset import SCORED_SHARE, DataError, Options
from nanochat.contract.sources import TEXT, Entry, File, printable
from nanochat.data.download import fetch, hub

if TYPE_CHECKING:
    import pyarrow

# The user's files are split in chunks of CHUNK characters. Chunks are smaller, down to LEAST_CHUNK, if the text would give
# fewer than PIECES of them.
CHUNK, LEAST_CHUNK, PIECES = 8192, 1024, 256
PIECE = 1 << 20  # bytes read at once
BINARY_WITHIN = 8000  # a null byte in the first 8000 bytes makes a file binary, as in git
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),  # before UTF-16, since one begins with a UTF-16 mark
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip


@dataclass(frozen=True)
class Shards:
    """A dataset of parquet shards on the Hugging Face hub.

    Attributes:
        repository: Name of the dataset on the hub.
        names: Returns the path of the training shard with an index.
        most: Number of training shards.
        default: Number of training shards to use by default.
        val: Path of the validation shard. None: split by a hash of the content.
    """

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
    """The current files of a dataset, and how to read them."""

    files: list[File]
    encodings: dict[str, str]  # path -> encoding, for text files
    chunk: int  # characters per chunk of text
    read: str = ""  # number of files by encoding, as a sentence; '' if all are UTF-8
    skipped: str = ""  # skipped files and the reasons, as sentences; '' if there are none


def options(source: str, shards: int | None, encoding: str, errors: Literal["strict", "replace"]) -> Options:
    """Check the options of a dataset and fill in defaults. Raises DataError."""
    if (encoding or errors != "strict") and not source.startswith(TEXT):
        raise DataError(f"--encoding and --errors are for text:PATH only, and the dataset is {source}.")
    if shards is not None and source not in HUB_SETS:
        raise DataError(f"--shards is for {' and '.join(HUB_SETS)} only, and the dataset is {printable(source)}.")
    if shards is not None and not 1 <= shards <= HUB_SETS[source].most:
        raise DataError(f"--shards {shards} is not available: {source} has 1 to {HUB_SETS[source].most:,}.")
    try:
        name = codecs.lookup(encoding).name if encoding else ""  # one name for aliases such as latin1 and iso-8859-1
        codecs.getincrementaldecoder(name or "utf-8")
        "a".encode(name or "utf-8")  # fails for bytes-to-bytes codecs such as hex
    except (LookupError, ValueError):
        raise DataError(f"--encoding {encoding!r} is not a text encoding. Examples: latin-1, cp1252, utf-16.") from None
    return Options(
        shards=(shards or HUB_SETS[source].default) if source in HUB_SETS else 0, encoding=name, errors=errors
    )


def survey(source: str, options: Options, avoid: Collection[str] = ()) -> Survey:
    """Read every file of a dataset once to hash it and to find its encoding.

    Args:
        source: The resolved name of the dataset.
        options: The options of the dataset.
        avoid: Real paths of folders to skip.

    Raises:
        DataError: There is no text.
    """
    files, encodings, size = [], {}, 0
    skipped: dict[str, list[str]] = {}
    read: dict[str, list[str]] = {}
    named = _Named(options)
    for entry in sources.entries(source, avoid):
        why = entry.skipped
        if not why:
            file, encoding, why = _look(entry, named)
            files.append(file)
            if not why:
                encodings[entry.path] = encoding
                read.setdefault(encoding.removesuffix("-sig"), []).append(entry.name)
                size += file.stat[0]
        if why:
            skipped.setdefault(why, []).append(entry.name)
    words = _skipped(skipped, named) if source.startswith(TEXT) else ""
    if not encodings and source not in HUB_SETS:
        raise DataError(f"There is no text in {printable(source.removeprefix(TEXT))}. {words}".rstrip())
    return Survey(files, encodings, min(CHUNK, max(LEAST_CHUNK, size // PIECES)), _read(read, options), words)


class _Named:
    """The encoding from the options. It is used for files that are not UTF-8 and have no byte order mark."""

    def __init__(self, options: Options) -> None:
        self.name = options.encoding
        self.replaces = options.errors == "replace"
        self.wide = b"\0" in "a".encode(self.name or "utf-8")  # text contains null bytes, as in UTF-16
        # Letters are encoded as ASCII, as in UTF-7: then a file that is valid UTF-8 need not be UTF-8.
        letters = "\u00e4\u65e5".encode(self.name or "utf-8", "ignore")
        self.seven_bit = bool(letters) and letters.isascii() and "a".encode(self.name or "utf-8") == b"a"

    @property
    def needs_mark(self) -> bool:
        return self.name in ("utf-16", "utf-32")

    def order(self, *, nulls: bool, ascii_only: bool) -> list[str]:
        """Return the encodings to try on a file without a byte order mark, best first."""
        if not self.name:
            return ["utf-8"]
        if self.wide and nulls:
            return [self.name]
        return [self.name, "utf-8"] if self.seven_bit and ascii_only else ["utf-8", self.name]


class _Attempt:
    """Decodes a file piece by piece to check that its encoding fits."""

    def __init__(self, encoding: str, errors: str = "strict") -> None:
        self.encoding = encoding
        self.works = True
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)

    def feed(self, piece: bytes, final: bool = False) -> None:
        if self.works:
            try:
                self._decoder.decode(piece, final)
            except ValueError:  # the base class of UnicodeError
                self.works = False


def _look(entry: Entry, named: _Named) -> tuple[File, str, str]:
    """Return a file's current state, its encoding, and why it is skipped ('' for text)."""
    try:
        stat = sources.status(entry.path)
    except OSError:
        return File(entry.name, (0, 0, 0, 0), ""), "", "unreadable"
    try:
        with open(entry.path, "rb") as file:
            digest, encoding, why = _decode(file, named)
    except OSError:
        return File(entry.name, stat, ""), "", "unreadable"
    return File(entry.name, stat, digest), encoding, why


def _decode(file: BinaryIO, named: _Named) -> tuple[str, str, str]:
    """Return a file's hash, its encoding, and why it is not text ('' for text).

    The encoding is that of the byte order mark. Without one it is UTF-8 if the whole file is valid, or else the one from the
    options.
    """
    digest = hashlib.sha256()
    piece = file.read(PIECE)
    if not piece:
        return digest.hexdigest(), "", "empty"
    marked = next((name for mark, name in MARKS if piece.startswith(mark)), "")
    binary = not marked and not named.wide and b"\0" in piece[:BINARY_WITHIN]
    last = _Attempt(marked or named.name or "utf-8", "replace") if named.replaces else None
    attempts = {name: _Attempt(name) for name in ([marked] if marked else {"utf-8", named.name or "utf-8"})}
    nulls, ascii_only = False, True
    while piece:
        digest.update(piece)
        if not binary:
            nulls, ascii_only = nulls or b"\0" in piece, ascii_only and piece.isascii()
            for attempt in (*attempts.values(), *([last] if last else [])):
                attempt.feed(piece)
        piece = file.read(PIECE)
    if binary:
        return digest.hexdigest(), "", "binary"
    order = [marked] if marked else named.order(nulls=nulls, ascii_only=ascii_only)
    for attempt in (*(attempts[name] for name in order), *([last] if last else [])):
        attempt.feed(b"", final=True)
        if attempt.works:
            return digest.hexdigest(), attempt.encoding, ""
    if not marked and named.needs_mark:
        return digest.hexdigest(), "", f"without the byte order mark of {_shown(named.name)}"
    return digest.hexdigest(), "", f"not {' or '.join(_shown(name) for name in order)}"


def _shown(encoding: str) -> str:
    return encoding.removesuffix("-sig").upper()


def _read(found: dict[str, list[str]], options: Options) -> str:
    """Return sentences such as 'Read as UTF-8: 12 files. Read as ISO8859-1: 3 files (first: a.txt).'

    '' if no encoding was requested and all files are UTF-8.
    """
    if not options.encoding and set(found) <= {"utf-8"}:
        return ""
    names = dict.fromkeys(
        ["utf-8", *([options.encoding.removesuffix("-sig")] if options.encoding else []), *sorted(found)]
    )
    return " ".join(f"Read as {_shown(name)}: {_files(found.get(name, []))}." for name in names)


def _files(names: list[str]) -> str:
    count = "1 file" if len(names) == 1 else f"{len(names)} files"
    return f"{count} ({'first: ' if len(names) > 1 else ''}{printable(names[0])})" if names else count


def _skipped(found: dict[str, list[str]], named: _Named) -> str:
    """Return a sentence such as '12 skipped: 9 not UTF-8 (first: a/b.txt), 3 unreadable (first: c.txt).'"""
    if not found:
        return ""
    parts = [
        f"{len(names)} {why} ({'first: ' if len(names) > 1 else ''}{printable(names[0])})"
        for why, names in sorted(found.items(), key=lambda pair: -len(pair[1]))
    ]
    advice = ""
    if any(why.startswith("without the byte order mark") for why in found):
        advice += f" --encoding {named.name}-le or {named.name}-be reads files without one."
    elif any(why.startswith("not ") and why != "not a regular file" for why in found):
        advice += f" {'Another --encoding' if named.name else '--encoding NAME'} or --errors replace reads more."
    if "binary" in found:
        advice += " UTF-16 without a byte order mark counts as binary: --encoding utf-16-le or utf-16-be reads it."
    return f"{sum(map(len, found.values()))} skipped: {', '.join(parts)}.{advice}"


def documents(
    source: str, options: Options, found: Survey, cache: Path, say: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """Yield (split, text) of every document.

    Args:
        source: The resolved name of the dataset.
        options: The options of the dataset.
        found: The result of `survey`.
        cache: Folder for downloads.
        say: Called with lines for the user.

    Raises:
        DataError: A document cannot be read or downloaded.
    """
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
    """Return the top-level module or package of a file in the standard library."""
    return Path(path).relative_to(sysconfig.get_paths()["stdlib"]).parts[0].removesuffix(".py")


def _chunks(path: str, encoding: str, errors: str, size: int) -> Iterator[str]:
    """Yield a file's text in chunks of `size` characters, with universal newlines. Only one chunk is in memory."""
    with open(path, encoding=encoding, errors=errors, newline=None) as file:
        first = True
        while piece := file.read(size):
            piece = piece.removeprefix("\ufeff") if first else piece
            first = False
            yield piece.encode("utf-8", "replace").decode()  # some encodings give lone surrogates


def split_of(key: bytes, val: float = 0.06, test: float = 0.04) -> str:
    """Return train, val or test by a hash of the key. `val` and `test` are the shares of these splits."""
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
            file = parquet.ParquetFile(path)
            _check_column(file.schema_arrow, path)
            for batch in file.iter_batches(columns=["text"]):
                for text in batch.column(0).to_pylist():
                    if not text:
                        continue
                    yield _split_in_shard(text, name, shards), text
        except (pyarrow.ArrowException, UnicodeError, OSError) as error:
            raise DataError(
                f"The download {printable(str(path))} is damaged ({error}). Delete it and prepare again."
            ) from None


def _split_in_shard(text: str, name: str, shards: Shards) -> str:
    """Return the split of a document by its shard. The validation shard is divided equally into val and test.

    Without a validation shard the split depends on a hash of the text.
    """
    if shards.val is None:
        return split_of(text.encode(), SCORED_SHARE, SCORED_SHARE)
    return "train" if name != shards.val else split_of(text.encode(), 0.5, 0.5)


def _check_column(schema: pyarrow.Schema, path: Path) -> None:
    """Check that a file has a string column `text`. Raises DataError."""
    import pyarrow

    place = schema.get_field_index("text")  # -1 if there are none or several
    kind = schema.field(place).type if place >= 0 else None
    kind = kind.value_type if isinstance(kind, pyarrow.DictionaryType) else kind
    if kind is None or not any(is_text(kind) for is_text in (pyarrow.types.is_string, pyarrow.types.is_large_string)):
        raise DataError(
            f"The download {printable(str(path))} has no column `text` of strings, so it is not the dataset that it should be. "
            f"Check HF_ENDPOINT, delete the file and prepare again."
        )


def _is_parquet(path: Path) -> None:
    """Check that a file is a complete parquet file. Raises ValueError."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        parquet.ParquetFile(path).metadata  # noqa: B018  reading the footer is the check
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"it is no whole parquet file ({error})") from error
