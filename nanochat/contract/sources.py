"""Datasets by name. A new one that consists of parquet shards on the Hugging Face hub needs a row in `ENTRIES`."""

from __future__ import annotations

import os
import stat
import sysconfig
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from nanochat.contract.layout import COPIES, DATA, HARNESS
from nanochat.contract.registry import Entry, find

TEXT = "text:"
# Excluded from the standard library: tests, and packages that consist mostly of tables.
EXCLUDED = {"test", "tests", "idlelib", "encodings", "pydoc_data", "site-packages", "dist-packages", "__pycache__"}
OURS = "made by AutoResearch"  # why a folder is skipped
PREPARED = {"train.bin", "val.bin", "test.bin", "token_bytes.npy"}  # beside a manifest.json: prepared data
JOURNAL = b'{"type":"created"'  # first bytes of a run's journal


@dataclass(frozen=True)
class Listed:
    """A file or folder in a dataset's folder."""

    path: str
    name: str  # relative to the dataset's folder
    skipped: str = ""  # why it is left out, such as 'hidden'; '' if it is used


@dataclass(frozen=True)
class StandardLibrary:
    """The Python files of the interpreter's standard library."""

    def files(self, avoid: Collection[str] = ()) -> Iterator[Listed]:
        """Yield the files in no particular order. `avoid` has no effect."""
        root = sysconfig.get_paths()["stdlib"]
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(
                name for name in folders if name not in EXCLUDED and not name.startswith(("lib2to3", "config-"))
            )
            for name in files:
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    yield _listed(path, os.path.relpath(path, root))


@dataclass(frozen=True)
class Text:
    """The user's own file or folder of text."""

    path: str

    def files(self, avoid: Collection[str] = ()) -> Iterator[Listed]:
        """Yield the files and the skipped folders in no particular order. `avoid`: real paths of subfolders to skip."""
        if os.path.isdir(self.path):
            yield from _walk(self.path, avoid)
        else:
            yield _listed(self.path, os.path.basename(self.path))


@dataclass(frozen=True)
class Shards:
    """A dataset of parquet shards on the Hugging Face hub, with a column `text` of strings.

    Attributes:
        repository: Name of the dataset on the hub.
        names: Returns the path of the training shard with an index. No two shards may have the same file name.
        most: Number of training shards.
        default: Number of training shards to use by default.
        val: Path of the validation shard. None: split by a hash of the content.
    """

    repository: str
    names: Callable[[int], str]
    most: int
    default: int
    val: str | None

    def files(self, avoid: Collection[str] = ()) -> Iterator[Listed]:
        """Yield nothing: the shards are downloaded, and do not change."""
        return iter(())


Dataset = StandardLibrary | Text | Shards

CLIMBMIX = Shards("karpathy/climbmix-400b-shuffle", lambda i: f"shard_{i:05d}.parquet", 6542, 8, "shard_06542.parquet")
TINYSTORIES = Shards(
    "roneneldan/TinyStories",
    lambda i: f"data/train-{i:05d}-of-00004-{('2d5a1467fff1081b', '5852b56a2bd28fd9', 'a26307300439e943', 'd243063613e5a057')[i]}.parquet",
    4, 1, "data/validation-00000-of-00001-869c898b519ad725.parquet",
)  # fmt: skip

ENTRIES: tuple[Entry[Callable[[str], Dataset]], ...] = (
    Entry("python", "the standard library of this Python, nothing to download", lambda _: StandardLibrary()),
    Entry("tinystories", "short stories in simple English, downloaded", lambda _: TINYSTORIES),
    Entry("climbmix", "a broad mix of web text, downloaded", lambda _: CLIMBMIX),
    Entry("text:PATH", "your own file or folder of text", Text),
)


def dataset(source: str) -> Dataset:
    """Return the dataset of a resolved name. Raises KeyError for an unknown name."""
    found = find(source, ENTRIES)
    if found is None:
        raise KeyError(source)
    factory, argument = found
    return factory(argument)


def files(source: str, avoid: Collection[str] = ()) -> list[Listed]:
    """Return the files of a source on this machine, sorted by name; an empty list for downloaded datasets.

    Args:
        source: The resolved name of the dataset.
        avoid: Real paths of subfolders to skip, such as the folder of prepared data.
    """
    return sorted(dataset(source).files(avoid), key=lambda entry: os.fsencode(entry.name))


def _walk(top: str, avoid: Collection[str]) -> Iterator[Listed]:
    """Walk a folder. Does not enter hidden folders, links to folders, or folders that AutoResearch wrote."""
    failed: list[OSError] = []
    for folder, folders, files in os.walk(top, onerror=failed.append):
        below = os.path.relpath(folder, top)
        if why := _reserved(folder, folders, files, avoid if folder != top else ()):
            yield Listed(folder, below, why)
            folders.clear()
            continue
        entered = []
        for name in sorted(folders):
            path = os.path.join(folder, name)
            why = "hidden" if name.startswith(".") else "behind a link" if os.path.islink(path) else ""
            if why:
                yield Listed(path, os.path.normpath(os.path.join(below, name)), why)
            else:
                entered.append(name)
        folders[:] = entered
        for name in files:
            path, relative = os.path.join(folder, name), os.path.normpath(os.path.join(below, name))
            yield Listed(path, relative, "hidden") if name.startswith(".") else _listed(path, relative)
    for error in failed:
        path = os.fsdecode(error.filename or top)
        yield Listed(path, os.path.relpath(path, top), "unreadable")


def _reserved(folder: str, folders: Collection[str], files: Collection[str], avoid: Collection[str]) -> str:
    """Return why a folder is skipped: AutoResearch wrote it, or it is a git repository. '' for other folders."""
    prepared = "manifest.json" in files and not PREPARED.isdisjoint(files)
    copies = COPIES in files and not {HARNESS, DATA}.isdisjoint(folders)
    if folder in avoid or prepared or copies or ("events.jsonl" in files and _is_journal(folder)):
        return OURS
    return "a git repository" if "HEAD" in files and {"objects", "refs"} <= set(folders) else ""


def _is_journal(folder: str) -> bool:
    try:
        with open(os.path.join(folder, "events.jsonl"), "rb") as file:
            return file.read(len(JOURNAL)) == JOURNAL
    except OSError:
        return False


def _listed(path: str, name: str) -> Listed:
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # a broken or circular link
        return Listed(path, name, "unreadable")
    return Listed(path, name, "" if regular else "not a regular file")
