"""Identify, find and check prepared datasets, for the loop and for the harness.

A prepared dataset is a folder with a manifest. The manifest identifies the source; the folder's name is only for people.
So two sources cannot share a folder, and a changed source is noticed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import platformdirs

from nanochat.contract import registry, shell, source_changes, sources
from nanochat.contract.sources import TEXT, Shards
from nanochat.contract.text import printable

SCHEMA = 2
READABLE = (1, 2)  # runs of the previous version have data of schema 1
SPLITS = ("train", "val", "test")
MANIFEST, SOURCES = "manifest.json", "sources.json"
DOWNLOADS = "downloads"  # a folder in the root
# Minimum number of windows in a scored split. With fewer there are fewer than 8 probes, too few to detect cheating.
# On a GPU, 1024 probes (at most 8 per window) are needed to distinguish rounding from cheating.
LEAST_WINDOWS, LEAST_WINDOWS_GPU = 16, 128
SCORED_SHARE = 0.1  # approximate share of a user's text in each of the val and test splits
LONGEST_NAME = 40  # characters of the source's name used in the folder's name


class DataError(Exception):
    """The data is missing, damaged or unsuitable. The message is shown to the user."""


class Damaged(DataError):
    """Prepared data is incomplete or changed.

    Attributes:
        what: The damage, as a clause.
        manifest: None if it cannot be read.
    """

    def __init__(self, folder: Path, what: str, manifest: Manifest | None = None) -> None:
        again = f"{command(manifest)} prepares it again." if manifest else "Prepare it again with the same options."
        super().__init__(
            f"The prepared data in {printable(str(folder))} cannot be used: {what}. Nothing was changed. {again}"
        )
        self.what, self.manifest = what, manifest


class Unreadable(DataError):
    """The data cannot be read at the moment. Unlike with Damaged, a retry may succeed."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{printable(str(path))} cannot be read ({error.strerror or error}). Nothing was changed. Try again."
        )


def unreadable(folder: Path, name: str, error: OSError, manifest: Manifest | None = None) -> DataError:
    """Return Damaged if the file does not exist or is not a file, Unreadable for any other error."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        return Damaged(folder, f"{name} cannot be read ({error.strerror})", manifest)
    return Unreadable(folder / name, error)


class Split(msgspec.Struct, frozen=True):
    """One split of a dataset on disk."""

    file: str
    tokens: int
    bytes: int  # of UTF-8 text
    documents: int
    sha256: str


class Options(msgspec.Struct, frozen=True):
    """The options that, with source and vocabulary size, determine the content of a dataset."""

    shards: int = 0  # training shards of a downloaded dataset; 0 for other datasets
    encoding: str = ""  # for `text:`; '': UTF-8, or the encoding of a file's byte order mark
    errors: Literal["strict", "replace"] = "strict"  # for `text:`: skip undecodable files, or replace bytes

    def words(self) -> list[str]:
        """Return the options as arguments of prepare.py."""
        shards = ["--shards", str(self.shards)] if self.shards else []
        encoding = ["--encoding", self.encoding] if self.encoding else []
        return [*shards, *encoding, *(["--errors", self.errors] if self.errors != "strict" else [])]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content and the source of a prepared dataset."""

    schema: int
    dataset: str  # the source: a name, or `text:` with an absolute path
    vocab_size: int
    bos: int
    fingerprint: str
    splits: dict[str, Split]
    dtype: str = "uint16"
    tokenizer: str = "tokenizer.json"
    options: Options = Options()
    files: dict[str, str] = {}  # other files -> sha256; empty in schema 1
    order: int = 0  # the dataset of a source with the highest number was requested last


class Found(NamedTuple):
    """The result of `find`. `manifest` is None if no usable data was found."""

    folder: Path
    manifest: Manifest | None
    options: Options  # as requested, or those of the latest preparation of the source
    stale: str = ""  # changes of the source since it was prepared, as a clause


def command(manifest: Manifest) -> str:
    """Return the command that prepares the same dataset again, in backticks."""
    return preparing(manifest.dataset, manifest.vocab_size, manifest.options)


def preparing(source: str, vocab_size: int, options: Options) -> str:
    """Return the command that prepares a dataset, in backticks."""
    return shell.make("prepare", "--dataset", source, "--vocab", str(vocab_size), *options.words())


def root() -> Path:
    """Return the folder for prepared data: AUTORESEARCH_DATA, or the user's cache folder. Always absolute."""
    named = os.environ.get("AUTORESEARCH_DATA")
    return Path(os.path.abspath(os.path.expanduser(named or platformdirs.user_cache_dir("autoresearch"))))


def resolve(dataset: str) -> str:
    """Return the full name of a dataset: `text:` with the absolute real path, or the name unchanged.

    The path need not exist. Raises DataError for an unknown name.
    """
    if not dataset.startswith(TEXT):
        if registry.find(dataset, sources.ENTRIES) is None:
            raise DataError(f"There is no dataset {dataset!r}. Choose {registry.names(sources.ENTRIES)}.")
        return dataset
    path = dataset.removeprefix(TEXT)
    if not path.strip():
        raise DataError("text: needs the path of a file or folder, such as text:corpus.txt, or text:. for this folder.")
    try:
        found = os.path.realpath(os.path.expanduser(path))
        found.encode()
    except ValueError:  # a null byte, or bytes that are not UTF-8, which a journal cannot store
        raise DataError(
            f"{printable(path)} cannot be the path of a dataset: it must be valid UTF-8, without null bytes."
        ) from None
    return TEXT + found


def check(source: str) -> None:
    """Check that a resolved source exists and is a file or folder. Raises DataError."""
    if not source.startswith(TEXT):
        return
    path = source.removeprefix(TEXT)
    if not os.path.exists(path):
        raise DataError(f"There is no file or folder {printable(path)}.")
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise DataError(f"{printable(path)} is neither a file nor a folder.")


def same(first: str, other: str) -> bool:
    """Return whether two names mean the same dataset. Journals of the previous version have unresolved names."""
    try:
        return first == other or resolve(first) == resolve(other)
    except DataError:
        return False


def folder_name(source: str, vocab_size: int, fingerprint: str) -> str:
    """Return a readable folder name for a dataset. It contains the fingerprint, so each content has its own folder."""
    name = os.path.basename(source.removeprefix(TEXT)) or "root"
    name = re.sub(r"[^\w.-]+", "_", name)[:LONGEST_NAME].lstrip(".") or "text"  # a leading dot marks a draft
    return f"{name}-{fingerprint}-v{vocab_size}"


def fingerprint(source: str, options: Options, splits: Mapping[str, Split], files: Mapping[str, str]) -> str:
    """Hash the source, its options and all prepared bytes. A run records this to identify its data."""
    content = [
        SCHEMA,
        source,
        msgspec.to_builtins(options),
        [splits[name].sha256 for name in SPLITS],
        sorted(files.items()),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def read(folder: Path) -> Manifest:
    """Read the manifest of a prepared dataset. Raises DataError."""
    try:
        found = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise DataError(f"There is no prepared data in {printable(str(folder))}. `make prepare` makes it.") from None
    except OSError as error:
        raise unreadable(folder, MANIFEST, error) from None
    except (ValueError, msgspec.MsgspecError) as error:
        raise Damaged(folder, f"its manifest cannot be read ({error})") from None
    if found.schema not in READABLE:
        raise Damaged(folder, f"it was written with schema {found.schema}, and this version reads {SCHEMA}")
    if not set(SPLITS) <= set(found.splits):
        raise Damaged(folder, "its manifest lacks a split")
    return found


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check that each split exists and has its full size, without reading it. Raises Damaged."""
    for split in manifest.splits.values():
        path = folder / split.file
        if not path.is_file() or path.stat().st_size != split.tokens * 2:
            raise Damaged(folder, f"{path.name} is missing or cut off", manifest)


def verify(folder: Path, manifest: Manifest) -> None:
    """Check the hash of every file, at about 1 GB a second. Raises Damaged, Unreadable."""
    check_files(folder, manifest)
    expected = {split.file: split.sha256 for split in manifest.splits.values()} | manifest.files
    for name, digest in expected.items():
        try:
            found = source_changes.sha256(folder / name)
        except OSError as error:
            raise unreadable(folder, name, error, manifest) from None
        if found != digest:
            raise Damaged(folder, f"the content of {name} has changed", manifest)


def least_windows(device: str) -> int:
    """Return the minimum number of windows in a scored split."""
    return LEAST_WINDOWS if device == "cpu" else LEAST_WINDOWS_GPU


def check_size(source: str, splits: Mapping[str, Split], seq_len: int, windows: int) -> None:
    """Check that the splits are long enough.

    Args:
        source: The resolved name of the dataset, for the message.
        splits: The splits of the dataset.
        seq_len: Tokens per window.
        windows: Minimum number of windows in the val and test splits.

    Raises:
        DataError: The train split has fewer than `2 * seq_len + 1` tokens, or val or test have too few windows.
    """
    least = windows * seq_len + 1
    for split, needed in (("train", 2 * seq_len + 1), ("val", least), ("test", least)):
        if (tokens := splits[split].tokens) < needed:
            given, total = (sum(getattr(part, what) for part in splits.values()) for what in ("bytes", "tokens"))
            enough = max(2 * given, 2 * needed * given / max(1, total) / SCORED_SHARE)
            raise DataError(
                f"{printable(source)} is too little text: its {split} split has {tokens:,} tokens, and {needed:,} are needed "
                f"({'training' if split == 'train' else 'scoring'} with windows of {seq_len}). {given / 1e3:,.0f} kB of text were "
                f"given; about {enough / 1e3:,.0f} kB are enough if nothing in it is repeated: equal passages all go to one split."
            )


def avoided() -> set[str]:
    """Return folders that are never read as text, because they contain prepared data and downloads."""
    return {os.path.realpath(root()), os.path.realpath(root() / DOWNLOADS)}


def prepared(source: str) -> list[tuple[Path, Manifest]]:
    """Return all datasets prepared from a source, latest request first. Unreadable ones are left out."""
    found = []
    for path in root().glob(f"*/{MANIFEST}"):
        if path.parent.name.startswith("."):
            continue  # an unfinished draft
        try:
            manifest = read(path.parent)
        except DataError:
            continue
        if manifest.schema == SCHEMA and manifest.dataset == source:
            found.append((path.parent, manifest))
    return sorted(found, key=lambda pair: (pair[1].order, pair[0].name), reverse=True)


def find(source: str, vocab_size: int, options: Options | None = None) -> Found:
    """Find the data that was prepared from the current content of a resolved source. Never raises.

    Files with the same size and times count as unchanged; others are read.

    Args:
        source: The resolved name of the dataset.
        vocab_size: Tokens of the vocabulary.
        options: Requested options. None: those of the latest preparation of the source, with any vocabulary.
    """
    there = prepared(source)
    chosen = options or (there[0][1].options if there else Options())
    stale, now = "", None
    for folder, manifest in there:
        if manifest.options != chosen or manifest.vocab_size != vocab_size:
            continue
        try:
            check_files(folder, manifest)
            if isinstance(sources.dataset(source), Shards):  # downloaded, and does not change
                return Found(folder, manifest, chosen)
            now = now or source_changes.Now(source, avoided())
            changes = now.changes_since(folder / SOURCES)
        except (DataError, OSError, ValueError, TypeError, KeyError):
            stale = stale or "what was prepared before is damaged"
            continue
        if not changes:
            return Found(folder, manifest, chosen)
        stale = stale or changes
    return Found(root(), None, chosen, stale)


def just_prepared(source: str, vocab_size: int) -> Path | None:
    """Return the folder of the latest preparation of a source, even if its text has changed since, or None."""
    return next((folder for folder, found in prepared(source) if found.vocab_size == vocab_size), None)


def changes_since(source: str, fingerprint: str) -> str:
    """Return how a source has changed since the data with this fingerprint was prepared, as a clause.

    '' if it has not changed, or if that is unknown.
    """
    there = prepared(source)
    folder, manifest = next((pair for pair in there if pair[1].fingerprint == fingerprint), (None, None))
    if folder is None or manifest is None:
        return ""
    if manifest.options != there[0][1].options:
        words = " ".join(there[0][1].options.words())
        return f"it was prepared since with {words or 'no options'}"
    try:
        return (
            source_changes.Now(source, avoided()).changes_since(folder / SOURCES) if (folder / SOURCES).exists() else ""
        )
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest atomically. Raises OSError."""
    draft = folder / f".{MANIFEST}.{os.getpid()}"
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        os.replace(draft, folder / MANIFEST)
    finally:
        draft.unlink(missing_ok=True)


def next_order(source: str) -> int:
    """Return an `order` higher than that of every dataset prepared from a source."""
    return 1 + max((manifest.order for _, manifest in prepared(source)), default=0)
