"""The scorer runs one job. It owns the validation data and the clock, asks the trainer's model for logits, and computes val_bpb."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from nanochat.contract import dataset
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from nanochat.contract.messages import Done, Message, Phase, Started, Train, Unusable, request
from nanochat.data.prepared import DataError, Prepared, load
from nanochat.harness import gpu, wire
from nanochat.harness.answers import Answers, Buffers
from nanochat.harness.charges import free_first_s, grace_s, large_steps, long_answers, pace
from nanochat.harness.clock import Clock
from nanochat.harness.crashes import out_of_memory
from nanochat.harness.evaluator import Evaluator
from nanochat.harness.keeping import keep
from nanochat.harness.machine_speed import MachineSpeed
from nanochat.harness.probes import Cheated
from nanochat.harness.processes import boot_minus_monotonic
from nanochat.harness.progress import Reporter, say
from nanochat.harness.trainer import Spec
from nanochat.harness.trainer_process import Failed, TooBig, TrainerProcess
from nanochat.sandbox.libc import become_subreaper

T = TypeVar("T")


class Aborted(BaseException):
    """SIGTERM was received. A BaseException, so that `except Exception` cannot swallow it."""


@dataclass
class Scorer:
    """Runs one job: preflight, training, evaluation.

    Args:
        job: The job.

    Raises:
        DataError: The prepared data cannot be used.
    """

    job: Job

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.parts: dict[str, float] = {}
        self.result = Result(job=self.job.id, outcome=Outcome.INTERRUPTED)  # filled in as the job proceeds
        self.out = Path(self.job.out)
        self.wall = self.job.device != "cpu"
        self.prepared: Prepared = load(Path(self.job.data))
        self.trainer: TrainerProcess | None = None
        self.meter = gpu.Meter(gpu.read_at_rest() if self.job.device == "cuda" else None)
        self.speed = MachineSpeed(self.job)
        self.reporter = Reporter(self.job)
        self._room = self.job.output_limit  # bytes of output that may still be kept
        self._phase: Phase = "preflight"

    def run(self) -> Result:
        """Run the job.

        Failures of the trainer and detected cheating are not raised; they are outcomes of the result.

        Returns:
            The result. Only with Outcome.SCORED does it have a val_bpb.

        Raises:
            Aborted: SIGTERM was received.
        """
        slept = boot_minus_monotonic()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            source = Path(self.job.source).read_text(encoding="utf-8-sig")
            if self.job.preflight:
                self._timed("preflight", lambda: self._preflight_or_go_on(source))
            self._timed("gauge", self.speed.prepare)
            self._timed("training", lambda: self._train(source))
            bpb = self._timed("scoring", self._score)
            self._check_clock()
            if self.trainer is not None:
                self._note(probes=self.result.probes | keep(self.job, self.trainer, self.answers, self.prepared))
            self._note(outcome=Outcome.SCORED, val_bpb=bpb)
        except (Failed, TooBig, Cheated, MemoryError, RuntimeError, OSError) as error:
            self.result = _failure(error).noted(self.result)
        finally:
            began = time.monotonic()
            self._end()
            self.parts["cleanup"] = round(time.monotonic() - began, 4)
        slept = max(0.0, boot_minus_monotonic() - slept)
        total = round(time.monotonic() - self.began, 3)
        self._note(unmeasured=self.speed.unmeasured, parts=self.parts, suspended_s=round(slept, 3), total_wall_s=total)
        return self.result

    def _note(self, **facts: object) -> None:
        """Set fields of the result."""
        self.result = replace(self.result, **facts)

    def _timed(self, name: Phase, work: Callable[[], T]) -> T:
        began = time.monotonic()
        self._phase = name
        try:
            return work()
        finally:
            self.parts[name] = round(time.monotonic() - began, 4)

    def _end(self) -> None:
        if self.trainer is not None:
            self.trainer.end()
            self._room, self.trainer = self.trainer.room, None

    # -- training -------------------------------------------------------------------------------------------------

    def _start(self, source: str, batch: int, seq_len: int, max_steps: int | None = None) -> TrainerProcess:
        job = self.job
        self.buffers = Buffers(batch, seq_len, self.prepared.vocab_size)
        self.clock = Clock()
        spec = Spec(
            source=source, device=job.device, vocab_size=self.prepared.vocab_size, seq_len=seq_len, seed=job.seed,
            budget_s=job.budget_s, max_steps=max_steps, scratch="", memory_limit=job.memory_limit, batch=batch,
            inputs=self.buffers.inputs.handle, outputs=self.buffers.outputs.handle, clock=self.clock.handle,
        )  # fmt: skip
        self.trainer = TrainerProcess(
            spec,
            self.out,
            memory_limit=job.memory_limit,
            output_limit=self._room,
            hang_s=job.hang_s,
            wall=self.wall,
            free_s=job.setup_s + job.warmup_s,
            compiled=Path(job.compiled) if job.compiled and spec.max_steps is None else None,
        )
        say(Started(job=job.id, pids=(os.getpid(), *self.trainer.pids)))
        return self.trainer

    def _preflight_or_go_on(self, source: str) -> None:
        """Run the preflight, but ignore a lack of memory on a GPU, since an uncompiled model needs more. Raises Failed."""
        try:
            self._preflight(source)
        except Failed as failed:
            if self.job.device == "cpu" or failed.crash is not CrashClass.OUT_OF_MEMORY:
                raise
            self._end()

    def _preflight(self, source: str) -> None:
        """Train for two steps and ask for one answer on short rows, to find crashes early. Raises Failed.

        Takes well under a second on a CPU, and some seconds on a GPU, where nothing is compiled. This process does not use the GPU
        yet, because the training is forked from it later.
        """
        length = min(32, self.job.seq_len)
        trainer = self._start(source, batch=2, seq_len=length, max_steps=2)
        limit = self.job.setup_s + self.job.warmup_s + 20

        def check() -> None:
            if trainer.used() > limit:
                raise Failed(
                    Outcome.OVERRUN,
                    f"it trained before its time: {trainer.used():.0f} s were used in a check of two steps",
                )

        trainer.wait(wire.Start, check)
        trained = trainer.wait(wire.Trained, check)
        self._params(trained)
        tokens = self.prepared.tokens("train")[: 2 * length].astype(np.int64).reshape(2, length)
        try:
            Answers(trainer, self.buffers, wall=self.wall).ask(tokens, check)
        except TooBig:
            raise Failed(Outcome.CRASH, "it ran out of memory on two short rows", CrashClass.OUT_OF_MEMORY) from None
        self._end()

    def _params(self, trained: wire.Trained) -> None:
        """Record the number of parameters and check its limit. Raises Failed.

        The trainer counts them itself, so the limit binds only honest agents. The score does not depend on it.
        """
        self._note(params=trained.params, steps=trained.steps, tokens=trained.tokens)
        _check_size(trained.params, self.job.max_params)

    def _train(self, source: str) -> None:
        """Train for the budget, and record the figures of the training. Raises Failed."""
        job = self.job
        trainer = self._start(source, job.score_batch, job.seq_len)
        budget = job.budget_s
        free = job.setup_s + job.warmup_s
        self._phase = "setup"

        def before() -> None:
            self.reporter.report(self._phase, trainer)
            if trainer.used() > free + budget:
                raise Failed(
                    Outcome.OVERRUN, f"it used {trainer.used():.0f} s before its training began; {free:.0f} s are free"
                )

        trainer.wait(wire.Start, before)
        set_up = trainer.used(fresh=True)
        self._phase = "training"
        began = trainer.last_activity = time.monotonic()
        self.parts["setup"] = round(began - self.began - self.parts.get("preflight", 0.0), 4)
        owed = max(0.0, set_up - free)
        allowed = budget + grace_s(self.job.budget_s)
        trainer.charge = lambda used: self.clock.at(used - set_up)

        def during() -> None:
            self.speed.look(trainer, set_up, self.clock)
            charged = trainer.charge(trainer.used()) + owed
            self.meter.look(trainer.pids)
            self.reporter.report(self._phase, trainer, charged, self.speed.now)
            if charged > allowed + 0.1 * budget:
                why = large_steps(charged, trainer.steps, budget)
                raise Failed(
                    Outcome.OVERRUN,
                    f"it kept training after its budget of {budget:g} s and was stopped at {charged:.1f} s{why}",
                )
            wall = time.monotonic() - began
            used = trainer.used() - set_up
            speed = min(1.0, charged / used) if used > 0 else 1.0  # a slow machine gets more time
            if not self.wall and wall * speed > job.wall_factor * budget + job.hang_s:
                raise Failed(
                    Outcome.TIMEOUT,
                    f"it had used only {charged:.0f} of its {budget:g} s of training after {wall:.0f} s of wall time",
                )

        with self.prepared.path("train").open("rb") as file:
            trainer.send_tokens(file.fileno())
        try:
            trained = trainer.wait(wire.Trained, during)
        finally:
            used = trainer.used(fresh=True) if sys.exc_info()[0] is None else trainer.cpu_s
            self._set_up, self._owed, self._began = set_up, owed, began
            self._note(
                steps=trainer.steps, tokens=trainer.tokens, final_loss=trainer.loss, unprotected=trainer.missing,
                charged_s=round(trainer.charge(used) + owed, 4), cpu_s=round(trainer.cpu_s - (0 if self.wall else set_up), 4),
                wall_s=round(time.monotonic() - began, 4), pace=pace(trainer.curve), speed=self.speed.facts(trainer, used - set_up, self.clock),
                peak_memory=self.meter.peak or trainer.peak_rss, other_gpu_bytes=self.meter.others, throttled_share=round(self.meter.held_down, 3),
            )  # fmt: skip
        self._params(trained)

    def _check_clock(self) -> None:
        """Charge the time from the start to the last answer, less the allowances. Raises Failed if it exceeds the budget."""
        budget, allowed = self.job.budget_s, self.job.scoring_s
        trained, steps = self.result.charged_s, self.result.steps
        charged = self.clock.at(self._first_answer - self._set_up) + self._owed
        if allowed is not None:
            long = long_answers(self.answers.seconds, free_first_s(self.job.budget_s, gpu=self.wall))
            charged += long + max(0.0, self.result.score_s - long - allowed)
        self._note(charged_s=round(charged, 4))
        if charged > budget + grace_s(self.job.budget_s):
            raise Failed(
                Outcome.OVERRUN,
                f"it used {charged:.1f} s of a budget of {budget:g} s{large_steps(trained, steps, budget)}",
            )

    # -- scoring --------------------------------------------------------------------------------------------------

    def _score(self) -> float:
        """Evaluate the trained model once and return val_bpb. Raises Failed and Cheated."""
        assert self.trainer is not None
        self._phase = "scoring"
        self._first_answer = self.trainer.used(fresh=True)
        self.answers = Answers(self.trainer, self.buffers, wall=self.wall)
        evaluator = Evaluator(
            self.job, self.prepared, self.answers, check=self._scoring_check, progress=self._evaluated
        )
        try:
            return evaluator.val_bpb()
        finally:
            if evaluator.probes:
                self._note(probes=evaluator.probes, score_s=round(sum(self.answers.seconds), 4))

    def _evaluated(self, fraction: float) -> None:
        if self.trainer is not None:
            self.trainer.progress = fraction
            self.reporter.report(self._phase, self.trainer)

    def _scoring_check(self) -> None:
        """Check the time spent on answers, without the scorer's own work between them. Raises Failed."""
        allowed = self.job.scoring_s
        if allowed is not None and (spent := self.answers.spent) > allowed + self.job.budget_s:
            raise Failed(Outcome.OVERRUN, f"it used {spent:.0f} s to answer; {allowed:.0f} s are free")


def _check_size(params: int | None, limit: int | None) -> None:
    """Raise Failed if a model has too many parameters, or if their number is unknown and limited."""
    if limit is None:
        return
    if params is None:
        words = "program.md limits the parameters, so train() must return a torch module, to be counted"
        raise Failed(Outcome.INVALID, words)
    if params > limit:
        raise Failed(Outcome.INVALID, f"it has {params:,} parameters, and program.md allows {limit:,}")


def _failure(error: Exception) -> Failed:
    """Return how the job failed by an error that concerns the trainer. Raises other errors again."""
    if isinstance(error, Failed):
        return error
    if isinstance(error, TooBig):
        words = "it said that it has no room for an answer when it was not asked for one"
        return Failed(Outcome.CRASH, words, CrashClass.CONTRACT)
    if isinstance(error, Cheated):
        return Failed(Outcome.INVALID, str(error))
    if not out_of_memory(error):
        raise error
    words = f"there was too little memory left to score it ({type(error).__name__})"  # the scorer itself ran out of it
    return Failed(Outcome.CRASH, words, CrashClass.OUT_OF_MEMORY)


def main(job: Job) -> None:
    """Run a job in this process and send Done, or Unusable if its data cannot be used. SIGTERM ends the job.

    Raises:
        Unreadable: The data cannot be read at the moment. The process then fails, and the loop tries again.
    """

    def aborted(number: int, frame: object) -> None:
        raise Aborted

    signal.signal(signal.SIGTERM, aborted)
    become_subreaper()
    scorer: Scorer | None = None
    answer: Message
    try:
        scorer = Scorer(job)
        answer = Done(result=scorer.run())
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except Aborted:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if scorer is not None:
            scorer._end()
        answer = Done(result=Result(job=job.id, outcome=Outcome.INTERRUPTED, reason="told to end"))
    except dataset.Unreadable:
        raise  # the loop tries again
    except DataError as error:  # a retry would not help
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        answer = Unusable(job=job.id, reason=str(error))
    say(answer)


def started_afresh(line: str) -> None:
    """Run `main` in a new Python. `line` is a Train message."""
    if isinstance(asked := request(line), Train):
        main(asked.job)
