"""Read the documents of a dataset and assign each to a split."""

from __future__ import annotations

import codecs
import sysconfig
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nanochat.contract import source_changes, sources
from nanochat.contract.dataset import SCORED_SHARE, DataError, Options
from nanochat.contract.source_changes import File, counted
from nanochat.contract.sources import TEXT, Listed, Shards, StandardLibrary
from nanochat.contract.text import printable
from nanochat.data import shards as hub
from nanochat.data.encodings import Named, decode, shown
from nanochat.data.splits import split_of

# The user's files are split in chunks of CHUNK characters. Chunks are smaller, down to LEAST_CHUNK, if the text would give
# fewer than PIECES of them.
CHUNK, LEAST_CHUNK, PIECES = 8192, 1024, 256


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
    chosen = sources.dataset(source)
    if shards is not None and not isinstance(chosen, Shards):
        names = " and ".join(e.name for e in sources.ENTRIES if isinstance(e.factory(""), Shards))
        raise DataError(f"--shards is for {names} only, and the dataset is {printable(source)}.")
    if shards is not None and isinstance(chosen, Shards) and not 1 <= shards <= chosen.most:
        raise DataError(f"--shards {shards} is not available: {source} has 1 to {chosen.most:,}.")
    try:
        name = codecs.lookup(encoding).name if encoding else ""  # one name for aliases such as latin1 and iso-8859-1
        codecs.getincrementaldecoder(name or "utf-8")
        "a".encode(name or "utf-8")  # fails for bytes-to-bytes codecs such as hex
    except (LookupError, ValueError):
        raise DataError(f"--encoding {encoding!r} is not a text encoding. Examples: latin-1, cp1252, utf-16.") from None
    count = (shards or chosen.default) if isinstance(chosen, Shards) else 0
    return Options(shards=count, encoding=name, errors=errors)


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
    named = Named(options)
    for entry in sources.files(source, avoid):
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
    if not encodings and not isinstance(sources.dataset(source), Shards):
        raise DataError(f"There is no text in {printable(source.removeprefix(TEXT))}. {words}".rstrip())
    return Survey(files, encodings, min(CHUNK, max(LEAST_CHUNK, size // PIECES)), _read(read, options), words)


def _look(entry: Listed, named: Named) -> tuple[File, str, str]:
    """Return a file's current state, its encoding, and why it is skipped ('' for text)."""
    try:
        stat = source_changes.status(entry.path)
    except OSError:
        return File(entry.name, (0, 0, 0, 0), ""), "", "unreadable"
    try:
        with open(entry.path, "rb") as file:
            digest, encoding, why = decode(file, named)
    except OSError:
        return File(entry.name, stat, ""), "", "unreadable"
    return File(entry.name, stat, digest), encoding, why


def _read(skipped: dict[str, list[str]], options: Options) -> str:
    """Return sentences such as 'Read as UTF-8: 12 files. Read as ISO8859-1: 3 files (first: a.txt).'

    '' if no encoding was requested and all files are UTF-8.
    """
    if not options.encoding and set(skipped) <= {"utf-8"}:
        return ""
    names = dict.fromkeys(
        ["utf-8", *([options.encoding.removesuffix("-sig")] if options.encoding else []), *sorted(skipped)]
    )
    return " ".join(f"Read as {shown(name)}: {counted(skipped.get(name, []), '')}." for name in names)


def _skipped(skipped: dict[str, list[str]], named: Named) -> str:
    """Return a sentence such as '12 skipped: 9 not UTF-8 (first: a/b.txt), 3 unreadable (first: c.txt).'"""
    if not skipped:
        return ""
    parts = [
        f"{len(names)} {why} ({'first: ' if len(names) > 1 else ''}{printable(names[0])})"
        for why, names in sorted(skipped.items(), key=lambda pair: -len(pair[1]))
    ]
    advice = ""
    if any(why.startswith("without the byte order mark") for why in skipped):
        advice += f" --encoding {named.name}-le or {named.name}-be reads files without one."
    elif any(why.startswith("not ") and why != "not a regular file" for why in skipped):
        advice += f" {'Another --encoding' if named.name else '--encoding NAME'} or --errors replace reads more."
    if "binary" in skipped:
        advice += " UTF-16 without a byte order mark counts as binary: --encoding utf-16-le or utf-16-be reads it."
    return f"{sum(map(len, skipped.values()))} skipped: {', '.join(parts)}.{advice}"


def documents(
    source: str, options: Options, survey: Survey, cache: Path, say: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """Yield (split, text) of every document.

    Args:
        source: The resolved name of the dataset.
        options: The options of the dataset.
        survey: What `survey` has found.
        cache: Folder for downloads.
        say: Called with lines for the user.

    Raises:
        DataError: A document cannot be read or downloaded.
    """
    dataset = sources.dataset(source)
    if isinstance(dataset, Shards):
        yield from hub.documents(dataset, options.shards, cache, say)
        return
    for path, encoding in survey.encodings.items():
        try:
            if isinstance(dataset, StandardLibrary):
                if text := "".join(_chunks(path, encoding, options.errors, survey.chunk)):
                    yield split_of(_module(path).encode(), 0.07, 0.05), text
            else:
                for piece in _chunks(path, encoding, options.errors, survey.chunk):
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
