"""An executor that computes scores from a table instead of training. A whole run then takes seconds.

For tests, rehearsals and simulations. A score depends only on the text of train.py and on the seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import msgspec

from core.errors import UserError
from core.execution.base import DataUnusable, Update
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from nanochat.contract.messages import Progress, Started
from nanochat.contract.value import Data

STEPS, TOKENS, PARAMS, MEMORY = 100, 100_000, 1_000, 100_000_000  # of every training


class Ending(Data, frozen=True, kw_only=True):
    """How a training without a score ends."""

    outcome: Literal["crash", "timeout", "overrun", "invalid"]
    crash: CrashClass = CrashClass.EXCEPTION  # the class of a crash
    reason: str = "so the table says"


class World(Data, frozen=True, kw_only=True):
    """A table of scores, in bits per byte. A score is val_bpb plus the effect of each text found in train.py, plus noise."""

    val_bpb: float = 1.5
    effects: dict[str, float] = msgspec.field(
        default_factory=dict
    )  # text in train.py -> its effect; negative is better
    endings: dict[str, Ending] = msgspec.field(default_factory=dict)  # text in train.py -> how its training ends
    seeds: float = 0.0  # standard deviation over seeds, common to all train.py
    noise: float = 0.0  # standard deviation of one training
    seconds: float = 0.0  # wall time of a training

    def __call__(self, source: str, seed: int) -> float | Ending:
        for text, ending in self.endings.items():
            if text in source:
                return ending
        score = self.val_bpb + sum(effect for text, effect in self.effects.items() if text in source)
        of_seed, of_both = random.Random(f"seed {seed}"), random.Random(f"{seed} {source}")
        return score + self.seeds * of_seed.gauss() + self.noise * of_both.gauss()


def read(path: Path) -> World:
    """Read a table from a JSON file. Raises UserError if it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=World)
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{path} is not a table of scores ({error}). Nothing was started.") from error


class DeterministicExecutor:
    """An executor that trains nothing.

    Args:
        answer: Maps the text of train.py and a seed to a val_bpb or an `Ending`. Its exceptions pass through `run`.
        seconds: How long each job takes.
    """

    def __init__(self, answer: Callable[[str, int], float | Ending], seconds: float = 0.0) -> None:
        self._answer, self._seconds = answer, seconds
        self._aborted = asyncio.Event()

    async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
        """Compute the result of a job. Raises DataUnusable if its train.py cannot be read, and any error of `answer`."""
        self._aborted.clear()
        update(Started(job=job.id, pids=()))
        update(self._progress(job))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._aborted.wait(), self._seconds)
        if self._aborted.is_set():
            return Result(job=job.id, outcome=Outcome.INTERRUPTED, reason="told to end")
        answer = self._answer(_source(job), job.seed)
        if isinstance(answer, Ending):
            outcome = Outcome(answer.outcome)
            crash = answer.crash if outcome is Outcome.CRASH else None
            return Result(job=job.id, outcome=outcome, crash=crash, reason=answer.reason)
        return Result(
            job=job.id, outcome=Outcome.SCORED, val_bpb=answer, params=PARAMS, steps=STEPS, tokens=TOKENS,
            charged_s=job.budget_s, cpu_s=job.budget_s, wall_s=self._seconds, total_wall_s=self._seconds,
            peak_memory=MEMORY, final_loss=answer,
        )  # fmt: skip

    def _progress(self, job: Job) -> Progress:
        return Progress(
            job=job.id, phase="training", step=STEPS // 2, loss=None, progress=0.5, charged_s=job.budget_s / 2,
            tokens_per_s=TOKENS / job.budget_s, wall_s=self._seconds / 2, speed=None,
        )  # fmt: skip

    async def abort(self) -> None:
        """End the running job early."""
        self._aborted.set()

    async def close(self) -> None:
        """End the running job."""
        self._aborted.set()


def _source(job: Job) -> str:
    try:
        return Path(job.source).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataUnusable(f"{job.source} cannot be read ({error.strerror}).") from error
