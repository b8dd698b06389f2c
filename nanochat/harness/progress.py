"""Report the progress of a job to the loop, a few times a second."""

from __future__ import annotations

import os
import time

from nanochat.contract.job import Job
from nanochat.contract.messages import Message, Phase, Progress, line
from nanochat.harness.trainer_process import TrainerProcess

PROGRESS_S = 0.3


def say(message: Message) -> None:
    """Write a message to stdout, which the loop reads."""
    os.write(1, line(message))


class Reporter:
    """Reports on one job, at most once in PROGRESS_S seconds."""

    def __init__(self, job: Job) -> None:
        self._job, self._began, self._reported = job, time.monotonic(), 0.0

    def report(self, phase: Phase, trainer: TrainerProcess, charged_s: float = 0.0, speed: float | None = None) -> None:
        """Send a Progress message unless the last one was too recent.

        Args:
            phase: The current phase. Outside the training phase, the progress is `trainer.progress`.
            trainer: The trainer.
            charged_s: Seconds charged to the budget.
            speed: The machine's speed relative to the reference; None if it is not measured.
        """
        now = time.monotonic()
        if now - self._reported < PROGRESS_S:
            return
        self._reported = now
        training = phase == "training"
        done = charged_s / self._job.budget_s if training else trainer.progress
        say(
            Progress(
                job=self._job.id,
                phase=phase,
                step=trainer.steps,
                loss=trainer.loss,
                progress=round(min(1.0, done), 4),
                charged_s=round(charged_s, 2),
                tokens_per_s=round(trainer.tokens / charged_s, 1) if training and charged_s > 0 else None,
                wall_s=round(now - self._began, 2),
                speed=speed if training else None,
            )
        )
