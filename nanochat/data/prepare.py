"""Prepare a dataset: split documents, train a tokenizer, write token arrays and a manifest. Atomic: all or nothing."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import itertools
import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import msgspec
import numpy as np
import tiktoken
from rich.console import Console

from nanochat.contract import dataset as contract
from nanochat.contract import registry, source_changes, sources
from nanochat.contract.dataset import SCHEMA, SPLITS, DataError, Manifest, Options, Split, root
from nanochat.contract.text import printable
from nanochat.data import datasets
from nanochat.data.datasets import Survey
from nanochat.data.download import progress

TOKENIZER_CHARACTERS = 50_000_000  # characters of text used to train the tokenizer
LEAST_VOCAB, MOST_VOCAB = 300, 65_536
BATCH = 256  # documents that are encoded together
AGAIN_S = 1.0  # seconds in which a second signal is ignored
DRAFT = ".draft."  # prefix of folders in which data is being prepared
DRAFT_NAME = re.escape(DRAFT) + "[0-9a-f]{16}"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal to end was received. A BaseException, so that `except Exception` cannot swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def prepare(
    dataset: str, vocab_size: int, options: Options | None = None, *, force: bool = False, fit: tuple[int, int] = (1, 1)
) -> Path:
    """Prepare a dataset unless it is ready, and return its folder.

    Data prepared from earlier content of the source is kept.

    Args:
        dataset: Name of the dataset, such as `python` or `text:PATH`.
        vocab_size: Tokens of the vocabulary.
        options: The options of the dataset; None for the defaults.
        force: Prepare it even if it is ready.
        fit: Length of the scored windows in tokens, and the minimum number of windows.

    Raises:
        DataError: The dataset is unknown, too small or unreadable, or could not be written.
    """
    try:
        source = contract.resolve(dataset)
        contract.check(source)
        options = options or datasets.options(source, None, "", "strict")
        if not force and (ready := _ready(source, vocab_size, options)):
            contract.check_size(source, contract.read(ready).splits, *fit)
            say(f"{printable(source)} is ready in {printable(str(ready))}", indent="")
            return ready
        began = time.monotonic()
        target = _make(source, vocab_size, options, fit)
    except OSError as error:
        raise DataError(
            f"{printable(dataset)} could not be prepared ({error}). Make sure that {printable(str(root()))} can be "
            f"written and has free space, and try again."
        ) from error
    say(f"{printable(source)} is ready in {printable(str(target))} ({time.monotonic() - began:.1f} s)", indent="")
    return target


def _ready(source: str, vocab_size: int, options: Options) -> Path | None:
    """Return the folder of a complete prepared dataset and make it the one that new runs use.

    If there is none, says why and returns None.
    """
    found = contract.find(source, vocab_size, options)
    if found.manifest is None:
        if found.stale:
            say(f"{printable(source)} is prepared again, since {found.stale}.", indent="")
        return None
    try:
        contract.verify(found.folder, found.manifest)
    except DataError:
        say(f"The prepared data in {printable(str(found.folder))} is damaged. It is prepared again.", indent="")
        return None
    if found.manifest != contract.prepared(source)[0][1]:
        contract.write(found.folder, msgspec.structs.replace(found.manifest, order=contract.next_order(source)))
    return found.folder


def _make(source: str, vocab_size: int, options: Options, fit: tuple[int, int]) -> Path:
    """Prepare a dataset in a draft folder and rename it. Raises DataError, OSError."""
    survey = datasets.survey(source, options, contract.avoided())
    for words in (survey.read, survey.skipped):
        if words:
            say(words)
    with _drafts() as draft:
        manifest = _fill(draft, source, vocab_size, options, survey, fit)
        target = root() / contract.folder_name(source, vocab_size, manifest.fingerprint)
        _put(draft, target)
    return target


@contextlib.contextmanager
def _drafts() -> Iterator[Path]:
    """Make a draft folder and remove it at the end. Drafts of killed processes are removed first.

    Every preparation holds a shared lock on the root, so a process that gets an exclusive lock knows that no draft is in use.
    On a file system without locks old drafts are kept. Raises OSError.
    """
    root().mkdir(parents=True, exist_ok=True)
    draft = root() / f"{DRAFT}{secrets.token_hex(8)}"
    lock = os.open(root(), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in root().glob(f"{DRAFT}*"):
                if re.fullmatch(DRAFT_NAME, left.name):  # the root may also contain the user's files
                    shutil.rmtree(left, ignore_errors=True)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        draft.mkdir()
        yield draft
    except Interrupted:
        ignore_signals()  # a second signal must not interrupt the cleanup
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(lock)


def _put(draft: Path, target: Path) -> None:
    """Rename a draft to its final name.

    An existing folder of that name has the same content and may be in use by runs. So its files are replaced one by one and
    are never missing.
    """
    with contextlib.suppress(OSError):
        draft.rename(target)
        return
    target.mkdir(exist_ok=True)
    for path in sorted(draft.iterdir(), key=lambda path: path.name == contract.MANIFEST):
        path.replace(target / path.name)


def _fill(
    draft: Path, source: str, vocab_size: int, options: Options, survey: Survey, fit: tuple[int, int]
) -> Manifest:
    from nanochat.data import tokenizer

    def texts() -> Iterator[tuple[str, str]]:
        return datasets.documents(source, options, survey, root() / contract.DOWNLOADS / source, say)

    say(f"tokenizer of {vocab_size} tokens")
    encoding = tokenizer.train(
        _up_to((text for split, text in texts() if split == "train"), TOKENIZER_CHARACTERS), vocab_size
    )
    if encoding.n_vocab != vocab_size:
        smaller = f", or --vocab {encoding.n_vocab}" if encoding.n_vocab >= LEAST_VOCAB else ""
        raise DataError(
            f"{printable(source)} is too little text, or too uniform: enough for a tokenizer of {encoding.n_vocab} tokens "
            f"only. Give more text{smaller}."
        )
    tokenizer.save(encoding, draft / "tokenizer.json")
    np.save(draft / "token_bytes.npy", tokenizer.byte_lengths(encoding))
    say("tokens")
    splits = _write_splits(draft, texts(), encoding)
    contract.check_size(source, splits, *fit)
    if changed := source_changes.Now(source, contract.avoided()).changes(survey.files):
        raise DataError(
            f"{printable(source)} was changed while it was prepared: {changed}. Try again, with a copy if it changes all the time."
        )
    source_changes.save(survey.files, draft / contract.SOURCES)
    others = {name: source_changes.sha256(draft / name) for name in ("tokenizer.json", "token_bytes.npy")}
    manifest = Manifest(
        schema=SCHEMA, dataset=source, vocab_size=vocab_size, bos=encoding.n_vocab - 1, splits=splits, options=options,
        fingerprint=contract.fingerprint(source, options, splits, others), files=others, order=contract.next_order(source),
    )  # fmt: skip
    contract.write(draft, manifest)
    return manifest


def _write_splits(draft: Path, documents: Iterator[tuple[str, str]], encoding: tiktoken.Encoding) -> dict[str, Split]:
    """Write the tokens of every document to the file of its split. Each document begins with the BOS token."""
    from nanochat.data import tokenizer

    tokens, sizes, counts = (dict.fromkeys(SPLITS, 0) for _ in range(3))
    hashes = {split: hashlib.sha256() for split in SPLITS}
    with contextlib.ExitStack() as stack:
        files = {split: stack.enter_context((draft / f"{split}.bin").open("wb")) for split in SPLITS}
        bar = stack.enter_context(progress())
        task = bar.add_task("documents", total=None)
        while batch := list(itertools.islice(documents, BATCH)):
            bar.advance(task, len(batch))
            encoded = tokenizer.encode(encoding, [text for _, text in batch], os.cpu_count() or 1)
            for (split, text), found in zip(batch, encoded, strict=True):
                raw = np.array([encoding.n_vocab - 1, *found], dtype="<u2").tobytes()
                files[split].write(raw)
                hashes[split].update(raw)
                tokens[split] += len(found) + 1
                sizes[split] += len(text.encode())
                counts[split] += 1
    return {
        split: Split(f"{split}.bin", tokens[split], sizes[split], counts[split], hashes[split].hexdigest())
        for split in SPLITS
    }


def _up_to(texts: Iterable[str], characters: int) -> Iterator[str]:
    for text in texts:
        if characters <= 0:
            return
        characters -= len(text)
        yield text


def say(text: str, indent: str = "  ") -> None:
    """Print a line and flush it. A closed stdout does not end the preparation."""
    try:
        print(indent + text, flush=True)
    except UnicodeEncodeError:  # the terminal's encoding lacks a character
        print(indent + ascii(text)[1:-1], flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted at SIGINT, SIGTERM and SIGHUP. Signals that were ignored, as with nohup, stay ignored.

    The terminal and the parent program may both send the same signal, so a second one within a second is ignored.
    """
    last = -AGAIN_S

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if time.monotonic() - last >= AGAIN_S:
            last = time.monotonic()
            raise Interrupted(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser(dataset: str, vocab: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="prepare.py", description="Data and tokenizer, once.")
    parser.add_argument(
        "--dataset",
        default=dataset,
        help=f"{registry.names(sources.ENTRIES)} (default on this machine: {dataset})",
    )
    parser.add_argument(
        "--vocab", type=int, default=vocab, help=f"tokens of the vocabulary (default on this machine: {vocab})"
    )
    parser.add_argument("--shards", type=int, help="how many training shards to download")
    parser.add_argument(
        "--encoding",
        default="",
        help="encoding of the files of text:PATH that are not UTF-8 and have no byte order mark",
    )
    parser.add_argument(
        "--errors",
        choices=("strict", "replace"),
        default="strict",
        help="for text:PATH: skip files with bytes that are not text (strict), or replace these bytes (replace)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help=f"prepare again even if the data exists. Downloads are kept; to download them again (also from another HF_ENDPOINT), delete "
        f"{printable(str(root() / contract.DOWNLOADS))}".replace("%", "%%"),
    )
    return parser


def main(
    arguments: Sequence[str] | None = None,
    *,
    dataset: str = "python",
    vocab: int = 2048,
    fit: Callable[[int], tuple[int, int]] = lambda vocab_size: (1, 1),
) -> None:
    """Run the command line of prepare.py.

    Args:
        arguments: The arguments; None for those of the process.
        dataset: Default dataset for this machine.
        vocab: Default size of the vocabulary for this machine.
        fit: Returns the length of the scored windows and their minimum number, for a size of the vocabulary.
    """
    parser = _parser(dataset, vocab)
    chosen = parser.parse_args(arguments)
    if not LEAST_VOCAB <= chosen.vocab <= MOST_VOCAB:
        parser.error(f"--vocab must lie between {LEAST_VOCAB} and {MOST_VOCAB}")
    with interruptible():
        try:
            source = contract.resolve(chosen.dataset)
            options = datasets.options(source, chosen.shards, chosen.encoding, chosen.errors)
            prepare(source, chosen.vocab, options, force=chosen.force, fit=fit(chosen.vocab))
        except DataError as error:
            print(f"{error} Nothing was prepared.", file=sys.stderr)
            sys.exit(1)
        except Interrupted as interrupted:
            ignore_signals()
            Console().show_cursor()
            print(
                "Interrupted. No incomplete data is left, and downloads are kept. Run the same command again to resume.",
                file=sys.stderr,
            )
            sys.exit(128 + interrupted.number)
