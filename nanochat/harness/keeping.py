"""Take files over from a trainer: its compiled kernels, and for an export its weights. Nothing in them is run.

Both happen when the score and the time are known, so they cannot change them.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from nanochat.contract.job import CrashClass, Job, Outcome
from nanochat.contract.layout import COMPILED
from nanochat.contract.sampling import NATS
from nanochat.data.prepared import Prepared
from nanochat.harness import weights, wire
from nanochat.harness.answers import Answers
from nanochat.harness.trainer_process import Failed, TrainerProcess

MOST_COMPILED = 256 << 20  # bytes of compiled kernels that are kept


def keep(job: Job, trainer: TrainerProcess, answers: Answers, prepared: Prepared) -> dict[str, float]:
    """Take over what the job asks for, into its folder `out`.

    Returns:
        Statistics for the record: with saved weights, what the model knows of a row of training text (`row_nats`).

    Raises:
        Failed: The weights were asked for and cannot be saved.
    """
    found: dict[str, float] = {}
    if job.keep_weights:
        found[NATS] = row_nats(answers, prepared, job.seq_len, lambda: None)
        _save_weights(trainer)
    if job.keep_weights or job.keep_compiled:
        scratch = trainer.ended_scratch()
        if job.keep_compiled:
            with contextlib.suppress(OSError):
                keep_compiled(scratch / COMPILED, Path(job.out, COMPILED))
        if job.keep_weights:
            keep_weights(scratch / weights.FILE, Path(job.out, weights.FILE))
    return found


def row_nats(answers: Answers, prepared: Prepared, length: int, check: Callable[[], None]) -> float:
    """Return the mean nats per token of a model on the first `length` tokens of the training text.

    A loaded model must have the same as the one that was saved, up to rounding. `check` is called while waiting for the answer.
    """
    row = prepared.tokens("train")[: length + 1].astype(np.int64)
    logits = answers.ask(row[None, :-1], check)[0].float().cpu()
    return float(F.cross_entropy(logits, torch.from_numpy(row[1:])))


def _save_weights(trainer: TrainerProcess) -> None:
    trainer.last_activity = time.monotonic()
    trainer.save_weights()
    trainer.wait(wire.WeightsDone, lambda: None)


def keep_weights(source: Path, target: Path) -> None:
    """Copy the weights of an ended trainer, if they are in the format. Raises Failed, also if the disk is full."""
    try:
        weights.check(source)
        shutil.copyfile(source, target, follow_symlinks=False)
    except weights.BadWeights as error:
        raise Failed(Outcome.CRASH, f"what it saved is not a file of weights: {error}", CrashClass.CONTRACT) from None
    except OSError as error:
        raise Failed(Outcome.CRASH, f"its weights cannot be copied: {error.strerror}", CrashClass.EXCEPTION) from None


def keep_compiled(source: Path, folder: Path) -> None:
    """Copy the compiled kernels of an ended trainer to `folder`, unless they are larger than MOST_COMPILED.

    Symbolic links are not copied.
    """
    files = [path for path in source.rglob("*") if path.is_file() and not path.is_symlink()]
    if not files or sum(path.stat().st_size for path in files) > MOST_COMPILED:
        return
    for path in files:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target, follow_symlinks=False)
