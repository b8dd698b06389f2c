"""Train once without the loop, to debug train.py: no sandbox, no separate scorer, nothing recorded."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from nanochat.contract import dataset as contract
from nanochat.contract.shell import make
from nanochat.contract.text import printable
from nanochat.data.prepared import DataError, Prepared, val_windows
from nanochat.run import Run

EVAL_BATCH = 8  # windows per question to the model
TALK_EVERY_S = 1.0


@dataclass(frozen=True)
class Figures:
    """Figures of one training. `seconds` are CPU seconds on a CPU, wall seconds elsewhere."""

    steps: int
    tokens: int
    seconds: float
    wall_s: float
    loss: float  # the last one logged


def find_data(dataset: str) -> Prepared:
    """Return the prepared dataset of that name, after checking every byte. The latest one if there are several. Raises DataError."""
    source = contract.resolve(dataset)
    there = contract.prepared(source)
    if not there:
        raise DataError(f"{printable(dataset)} is not prepared. {make('prepare', '--dataset', source)} prepares it.")
    found = contract.find(source, there[0][1].vocab_size)
    if found.manifest is None:
        raise DataError(
            f"{printable(dataset)} has changed since it was prepared ({found.stale}). {contract.command(there[0][1])} prepares it."
        )
    contract.verify(found.folder, found.manifest)
    return Prepared(found.folder, found.manifest)


def train_once(
    train: Callable[[Run], Callable[[torch.Tensor], torch.Tensor]],
    prepared: Prepared,
    *,
    device: torch.device,
    seed: int,
    budget_s: float,
    seq_len: int,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Callable[[torch.Tensor], torch.Tensor], Figures]:
    """Call `train` with a budget and the training split.

    Args:
        train: The function `train` of train.py.
        prepared: The dataset.
        device: Where to train.
        seed: Seed of the training.
        budget_s: CPU seconds on a CPU, wall seconds elsewhere.
        seq_len: Length of the scored windows in tokens.
        say: Called with a line of progress about once a second.

    Returns:
        The model, and figures of the training.
    """
    now = time.process_time if device.type == "cpu" else time.monotonic
    began = wall_began = loss = math.nan
    said, steps, tokens = 0.0, 0, 0

    def start() -> np.ndarray:
        nonlocal began, wall_began
        served = prepared.tokens("train")
        began, wall_began = now(), time.monotonic()
        return served

    def on_step(so_far: int, tokens_so_far: int) -> None:
        nonlocal steps, tokens
        steps, tokens = so_far, tokens_so_far

    def on_log(scalars: dict[str, float]) -> None:
        nonlocal said, loss
        loss = scalars["loss"]
        used = now() - began
        if used - said >= TALK_EVERY_S:
            said = used
            say(f"{used:6.1f} s  step {steps:5d}  {tokens / used:9,.0f} tokens/s  loss {loss:.3f}")

    torch.manual_seed(seed)
    run = Run(
        device=device,
        vocab_size=prepared.vocab_size,
        seq_len=seq_len,
        seed=seed,
        start=start,
        clock=lambda: now() - began,
        budget_s=budget_s,
        on_log=on_log,
        on_step=on_step,
    )
    model = train(run)
    return model, Figures(steps, tokens, now() - began, time.monotonic() - wall_began, loss)


@torch.no_grad()
def bits_per_byte(
    model: Callable[[torch.Tensor], torch.Tensor],
    prepared: Prepared,
    *,
    device: torch.device,
    seq_len: int,
    eval_tokens: int,
    split: str = "val",
) -> float:
    """Evaluate a model on the fixed windows of a split.

    Args:
        model: Maps tokens int64 (B, T) to logits (B, T, vocab_size).
        prepared: The dataset.
        device: Where the model is.
        seq_len: Tokens per window, T.
        eval_tokens: Most tokens to evaluate.
        split: `val` or `test`.

    Returns:
        Nats of the targets / (ln 2 * their bytes), without special tokens.
    """
    windows = val_windows(prepared.tokens(split), seq_len, eval_tokens)  # (n, T+1)
    lengths = torch.from_numpy(prepared.token_bytes()).long()  # (V,)
    nats, total_bytes = 0.0, 0
    for first in range(0, len(windows), EVAL_BATCH):
        rows = torch.from_numpy(windows[first : first + EVAL_BATCH].astype(np.int64))  # (B, T+1)
        logits = model(rows[:, :-1].contiguous().to(device)).float().cpu()  # (B, T, V)
        targets = rows[:, 1:].flatten()  # (B*T,)
        spent = F.cross_entropy(logits.flatten(0, 1), targets, reduction="none")  # (B*T,)
        counted = lengths[targets]  # (B*T,), 0 for specials
        nats += float(spent[counted > 0].double().sum())
        total_bytes += int(counted.sum())
    return nats / (math.log(2) * total_bytes)


def default_device() -> torch.device:
    """Return a GPU (CUDA or MPS) if torch finds one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with status 1 and a message if the data is missing."""
    parser = argparse.ArgumentParser(prog="python -m nanochat.train", description="Train alone, for debugging.")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of training (CPU seconds on a CPU)")
    parser.add_argument("--dataset", default="python", help="a dataset that prepare.py has made")
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), help="default: a GPU where there is one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seq-len", type=int, default=256, help="length of the windows that the model is measured on")
    options = parser.parse_args(arguments)
    if not options.budget > 0:
        parser.error("--budget must be more than 0 seconds.")
    device = torch.device(options.device) if options.device else default_device()
    try:
        prepared = find_data(options.dataset)
    except DataError as error:
        sys.exit(str(error))
    if device.type == "cpu":
        torch.set_num_threads(1)

    from nanochat import train  # train.py runs as __main__ here; this imports it under its own name

    print(f"Training on {prepared.folder.name} with the {device.type} for {options.budget:g} s.", flush=True)
    model, figures = train_once(
        train.train,
        prepared,
        device=device,
        seed=options.seed,
        budget_s=options.budget,
        seq_len=options.seq_len,
        say=lambda line: print(line, flush=True),
    )
    print(f"{figures.steps} steps, {figures.tokens:,} tokens in {figures.seconds:.1f} s, last loss {figures.loss:.3f}.")
    rough = bits_per_byte(model, prepared, device=device, seq_len=options.seq_len, eval_tokens=20_000)
    print(
        f"Validation: about {rough:.3f} bits per byte on few tokens. This is not the score: only the loop's scorer gives one."
    )
