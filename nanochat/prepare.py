"""Make a prepared dataset: documents to splits, a tokenizer, token arrays, a manifest. All of it or nothing."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import platformdirs

from nanochat import data, datasets
from nanochat.data import SCHEMA, SPLITS, DataError
from nanochat.download import progress

TOKENIZER_CHARACTERS = 50_000_000  # a tokenizer needs no more text than this
BATCH = 256  # documents that are encoded together


def root() -> Path:
    """Where prepared data lives: AUTORESEARCH_DATA, else the user's cache folder."""
    named = os.environ.get("AUTORESEARCH_DATA")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("autoresearch"))


def name(dataset: str) -> str:
    """A folder name for a dataset; `text:PATH` is named by its path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", dataset).strip("_")


def folder(dataset: str, vocab_size: int) -> Path:
    return root() / f"{name(dataset)}-v{vocab_size}"


def prepare(dataset: str, vocab_size: int, *, shards: int | None = None, force: bool = False) -> Path:
    """Prepare a dataset unless it is ready; returns its folder. Raises DataError with a sentence."""
    datasets.check(dataset)
    target = folder(dataset, vocab_size)
    if not force and _ready(target):
        say(f"{dataset} is ready in {target}", indent="")
        return target
    began = time.monotonic()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        _fill(draft, dataset, vocab_size, shards)
        old = target.with_name(f"{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        try:
            draft.rename(target)
        except OSError:
            if not _ready(target):  # another one who prepared the same was first
                raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{dataset} could not be prepared ({error}). Nothing was left half-written. Free some space, try again."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    say(f"{dataset} is ready in {target} ({time.monotonic() - began:.1f} s)", indent="")
    return target


def _ready(target: Path) -> bool:
    try:
        prepared = data.load(target)
        for split in SPLITS:
            prepared.tokens(split)
    except DataError:
        return False
    return True


def _fill(draft: Path, dataset: str, vocab_size: int, shards: int | None) -> None:
    from nanochat import tokenizer

    def texts() -> Iterator[tuple[str, str]]:
        return datasets.documents(dataset, shards, root() / "downloads" / dataset.split(":")[0], say)

    say(f"tokenizer of {vocab_size} tokens")
    encoding = tokenizer.train(
        _up_to((text for split, text in texts() if split == "train"), TOKENIZER_CHARACTERS), vocab_size
    )
    if encoding.n_vocab != vocab_size:
        raise DataError(
            f"This text is enough for a tokenizer of {encoding.n_vocab} tokens only; give more text or --vocab {encoding.n_vocab}."
        )
    tokenizer.save(encoding, draft / "tokenizer.json")
    np.save(draft / "token_bytes.npy", tokenizer.byte_lengths(encoding))
    bos = encoding.n_vocab - 1
    files = {split: (draft / f"{split}.bin").open("wb") for split in SPLITS}
    facts = {split: {"file": f"{split}.bin", "tokens": 0, "bytes": 0, "documents": 0} for split in SPLITS}
    hashes = {split: hashlib.sha256() for split in SPLITS}
    say("tokens")
    documents = texts()
    bar = progress()
    bar.start()
    task = bar.add_task("documents", total=None)
    while batch := list(itertools.islice(documents, BATCH)):
        bar.advance(task, len(batch))
        encoded = encoding.encode_ordinary_batch([text for _, text in batch], num_threads=os.cpu_count() or 1)
        for (split, text), tokens in zip(batch, encoded, strict=True):
            raw = np.array([bos, *tokens], dtype="<u2").tobytes()
            files[split].write(raw)
            hashes[split].update(raw)
            fact = facts[split]
            fact["tokens"] += len(tokens) + 1  # type: ignore[operator]
            fact["bytes"] += len(text.encode())  # type: ignore[operator]
            fact["documents"] += 1  # type: ignore[operator]
    bar.stop()
    for split in SPLITS:
        files[split].close()
        facts[split]["sha256"] = hashes[split].hexdigest()
        if not facts[split]["documents"]:
            raise DataError(
                f"{dataset} has too little text: nothing is left for {split}. Nothing was prepared; give more text."
            )
    stamp = hashlib.sha256("".join([dataset, *(str(facts[s]["sha256"]) for s in SPLITS)]).encode())
    stamp.update((draft / "tokenizer.json").read_bytes())
    manifest = {
        "schema": SCHEMA, "dataset": dataset, "vocab_size": vocab_size, "dtype": "uint16", "bos": bos,
        "fingerprint": stamp.hexdigest()[:16], "tokenizer": "tokenizer.json", "splits": facts,
    }  # fmt: skip
    (draft / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _up_to(texts: Iterable[str], characters: int) -> Iterator[str]:
    for text in texts:
        if characters <= 0:
            return
        characters -= len(text)
        yield text


def say(text: str, indent: str = "  ") -> None:
    """One line on stdout, at once; where nobody reads any more, the data is made all the same."""
    try:
        print(indent + text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def main(arguments: list[str] | None = None, *, dataset: str = "python", vocab: int = 2048) -> None:
    """The command line of prepare.py. `dataset` and `vocab` are what fits this machine."""
    parser = argparse.ArgumentParser(prog="prepare.py", description="Data and tokenizer, once.")
    parser.add_argument(
        "--dataset", default=dataset, help=f"python (no download), tinystories, climbmix, text:PATH; here: {dataset}"
    )
    parser.add_argument("--vocab", type=int, default=vocab, help=f"tokens of the vocabulary; here: {vocab}")
    parser.add_argument("--shards", type=int, help="how many training shards to download")
    parser.add_argument("--force", action="store_true", help="make it anew even if it is there")
    options = parser.parse_args(arguments)
    if not 300 <= options.vocab <= 65536:
        parser.error("--vocab must lie between 300 and 65536")
    try:
        prepare(options.dataset, options.vocab, shards=options.shards, force=options.force)
    except DataError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
