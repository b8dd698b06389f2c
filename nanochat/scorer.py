"""The scorer: owns the validation data and the clock, asks the trainer's model for logits, computes val_bpb."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from msgspec.structs import replace

from nanochat import data, gpu, wire
from nanochat.answers import CPU, Answers, Buffers
from nanochat.clock import Clock, RanOn, Speedometer
from nanochat.contract import dataset
from nanochat.contract.job import CrashClass, Job, Outcome, Result, Speed
from nanochat.contract.messages import Done, Message, Phase, Progress, Started, Train, Unusable, line, request
from nanochat.data import Prepared
from nanochat.gauge import Gauge, NotMeasured
from nanochat.probes import PAIRED_LIMIT, PROBED, Ask, Cheated, Exam, Splicer, plan, probes_per_row, rows_needed
from nanochat.processes import boot_minus_monotonic, set_subreaper
from nanochat.trainer import Spec, out_of_memory
from nanochat.watch import COMPILED, Failed, TooBig, Watch

PROGRESS_S = 0.3
# How long the gauge runs before the first training, to take the reference: a share of the budget, and seconds at the most.
REFERENCE_SHARE, MOST_REFERENCE_S = 0.1, 3.0
GRACE_S, GRACE_SHARE = 0.5, 0.03  # for the last step and what follows it
LEAST_PACE_S = 2.0  # a shorter training says nothing about its pace
# An answer that takes much longer than the others did more than answer: what exceeds this is charged as training.
LONG_ANSWER, LONG_ANSWER_S, FIRST_ANSWER_S = 3.0, 0.1, 0.5
# The first answers on a GPU load kernels, and libraries try their algorithms: a tenth of the budget, within these bounds.
FIRST_ON_GPU, LEAST_FIRST_S, MOST_FIRST_S = 0.1, 2.5, 5.0
LEAST_NATS = 0.05  # per token: below this no language model of this size has ever been


T = TypeVar("T")


class Aborted(BaseException):
    """Told to end. No handler of errors may take it for one."""


@dataclass
class Scorer:
    """One job: preflight, training, exam."""

    job: Job

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.parts: dict[str, float] = {}
        self.result = Result(job=self.job.id, outcome=Outcome.INTERRUPTED)  # what is known of it so far
        self.out = Path(self.job.out)
        self.wall = self.job.device != "cpu"
        self.prepared: Prepared = data.load(Path(self.job.data))
        self.watch: Watch | None = None
        self.meter = gpu.Meter(gpu.read_at_rest() if self.job.device == "cuda" else None)
        self.speedometer: Speedometer | None = None
        self._room = self.job.output_limit  # bytes of output that may still be kept
        self._told = 0.0
        self._phase: Phase = "preflight"

    def run(self) -> Result:
        """The result of the job, whatever happens. Raises Aborted."""
        slept = boot_minus_monotonic()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            source = Path(self.job.source).read_text(encoding="utf-8-sig")
            if self.job.preflight:
                self._timed("preflight", lambda: self._preflight_or_go_on(source))
            self._timed("gauge", self._measure_speed)
            self._timed("training", lambda: self._train(source))
            bpb = self._timed("scoring", self._score)
            self._check_clock()
            if self.job.keep_compiled and self.watch is not None:
                with contextlib.suppress(OSError):
                    self.watch.keep_compiled(self.out / COMPILED)
            self._note(outcome=Outcome.SCORED, val_bpb=bpb)
        except Failed as failed:
            self._note(
                outcome=failed.outcome,
                reason=failed.reason,
                crash=failed.crash,
                traceback=failed.traceback,
                signal=failed.signal,
            )
        except TooBig:
            words = "it said that it has no room for an answer when it was not asked for one"
            self._note(outcome=Outcome.CRASH, reason=words, crash=CrashClass.CONTRACT)
        except Cheated as cheated:
            self._note(outcome=Outcome.INVALID, reason=str(cheated))
        except (MemoryError, RuntimeError, OSError) as error:  # the scorer's own, which the trainer leaves too little
            if not out_of_memory(error):
                raise
            words = f"there was too little memory left to score it ({type(error).__name__})"
            self._note(outcome=Outcome.CRASH, reason=words, crash=CrashClass.OUT_OF_MEMORY)
        finally:
            began = time.monotonic()
            self._end()
            self.parts["cleanup"] = round(time.monotonic() - began, 4)
        slept = max(0.0, boot_minus_monotonic() - slept)
        total = round(time.monotonic() - self.began, 3)
        self._note(parts=self.parts, suspended_s=round(slept, 3), total_wall_s=total)
        return self.result

    def _note(self, **facts: object) -> None:
        """Put fields into the result."""
        self.result = replace(self.result, **facts)

    def _timed(self, name: Phase, work: Callable[[], T]) -> T:
        began = time.monotonic()
        self._phase = name
        try:
            return work()
        finally:
            self.parts[name] = round(time.monotonic() - began, 4)

    def _end(self) -> None:
        if self.watch is not None:
            self.watch.end()
            self._room, self.watch = self.watch.room, None

    # -- training -------------------------------------------------------------------------------------------------

    def _start(self, source: str, batch: int, seq_len: int, max_steps: int | None = None) -> Watch:
        job = self.job
        self.buffers = Buffers(batch, seq_len, self.prepared.vocab_size)
        self.clock = Clock()
        spec = Spec(
            source=source, device=job.device, vocab_size=self.prepared.vocab_size, seq_len=seq_len, seed=job.seed,
            budget_s=job.budget_s, max_steps=max_steps, scratch="", memory_limit=job.memory_limit, batch=batch,
            inputs=self.buffers.inputs.handle, outputs=self.buffers.outputs.handle, clock=self.clock.handle,
        )  # fmt: skip
        self.watch = Watch(
            spec,
            self.out,
            memory_limit=job.memory_limit,
            output_limit=self._room,
            hang_s=job.hang_s,
            wall=self.wall,
            free_s=job.setup_s + job.warmup_s,
            compiled=Path(job.compiled) if job.compiled and spec.max_steps is None else None,
        )
        say(Started(job=job.id, pids=(os.getpid(), *self.watch.pids)))
        return self.watch

    def _preflight_or_go_on(self, source: str) -> None:
        """Raises Failed, but not for memory that lacked on a GPU: uncompiled, as here, a model needs more of it."""
        try:
            self._preflight(source)
        except Failed as failed:
            if self.job.device == "cpu" or failed.crash is not CrashClass.OUT_OF_MEMORY:
                raise
            self._end()

    def _preflight(self, source: str) -> None:
        """Two steps and one answer on short rows: what would crash does so in well under a second (on a GPU in some seconds,
        since nothing is compiled). This process does not use the GPU here: the training is forked from it later."""
        length = min(32, self.job.seq_len)
        watch = self._start(source, batch=2, seq_len=length, max_steps=2)
        limit = self.job.setup_s + self.job.warmup_s + 20

        def check() -> None:
            if watch.used() > limit:
                raise Failed(
                    Outcome.OVERRUN,
                    f"it trained before its time: {watch.used():.0f} s were used in a check of two steps",
                )

        watch.wait("start", check)
        trained = watch.wait("trained", check)
        self._params(trained)
        tokens = self.prepared.tokens("train")[: 2 * length].astype(np.int64).reshape(2, length)
        try:
            Answers(watch, self.buffers, wall=self.wall).ask(tokens, check)
        except TooBig:
            raise Failed(Outcome.CRASH, "it ran out of memory on two short rows", CrashClass.OUT_OF_MEMORY) from None
        self._end()

    def _params(self, trained: dict[str, Any]) -> None:
        """The trainer's own count: a limit for honest agents; nothing about the score depends on it."""
        limit = self.job.max_params
        try:
            params = None if trained.get("params") is None else wire.count(trained, "params")
            self._note(params=params, steps=wire.count(trained, "steps"), tokens=wire.count(trained, "tokens"))
        except (wire.Malformed, ValueError, OverflowError) as error:
            raise Failed(Outcome.CRASH, f"it sent a message that is none ({error})", CrashClass.CONTRACT) from None
        if limit is not None and params is None:
            raise Failed(
                Outcome.INVALID,
                "program.md limits the parameters, so train() must return a torch module, to be counted",
            )
        if limit is not None and params is not None and params > limit:
            raise Failed(Outcome.INVALID, f"it has {params:,} parameters, and program.md allows {limit:,}")

    def _measure_speed(self) -> None:
        """Get the gauge ready, and take the run's reference where there is none yet. No gauge runs for a GPU."""
        if self.job.device == "mps":
            self._note(unmeasured="there is no gauge for this kind of GPU")
        if self.wall or not self.job.gauge:
            return
        try:
            gauge, budget = Gauge(), self.job.budget_s
            seconds = min(MOST_REFERENCE_S, REFERENCE_SHARE * budget)
            self.speedometer = Speedometer(gauge, self.job.reference_s or gauge.reference(seconds), budget)
        except NotMeasured as error:
            self._note(unmeasured=str(error))

    def _look(self, watch: Watch, set_up: float) -> None:
        """Read the gauge, if it is time. Raises Failed for a trainer that does not let itself be stopped."""
        if self.speedometer is None:
            return
        try:
            self.speedometer.look(watch, set_up, self.clock)
        except NotMeasured as error:  # the cores that may be used have changed
            self._note(unmeasured=str(error))
            self.speedometer = None
            used = watch.used() - set_up
            self.clock.set(used, self.clock.at(used), 1.0)
        except RanOn:
            raise Failed(
                Outcome.INVALID, "it ran on while it was stopped for a reading of the machine's speed"
            ) from None

    def _train(self, source: str) -> None:
        job = self.job
        watch = self._start(source, job.score_batch, job.seq_len)
        budget = job.budget_s
        free = job.setup_s + job.warmup_s
        self._phase = "setup"

        def before() -> None:
            self._progress(watch, 0.0)
            if watch.used() > free + budget:
                raise Failed(
                    Outcome.OVERRUN, f"it used {watch.used():.0f} s before its training began; {free:.0f} s are free"
                )

        watch.wait("start", before)
        set_up = watch.used(fresh=True)
        self._phase = "training"
        began = watch.alive_at = time.monotonic()
        self.parts["setup"] = round(began - self.began - self.parts.get("preflight", 0.0), 4)
        owed = max(0.0, set_up - free)
        allowed = budget + self._grace()
        watch.charge = lambda used: self.clock.at(used - set_up)

        def during() -> None:
            self._look(watch, set_up)
            charged = watch.charge(watch.used()) + owed
            self.meter.look(watch.pids)
            self._progress(watch, charged)
            if charged > allowed + 0.1 * budget:
                why = self._large_steps(charged, watch.steps)
                raise Failed(
                    Outcome.OVERRUN, f"it went on after its {budget:g} s: {charged:.1f} s when it was ended{why}"
                )
            wall = time.monotonic() - began
            used = watch.used() - set_up
            speed = min(1.0, charged / used) if used > 0 else 1.0  # a slow machine may take longer
            if not self.wall and wall * speed > job.wall_factor * budget + job.hang_s:
                raise Failed(
                    Outcome.TIMEOUT,
                    f"it had {charged:.0f} of the {budget:g} s of its budget after {wall:.0f} s on the clock",
                )

        with self.prepared.path("train").open("rb") as file:
            watch.send_tokens(file.fileno())
        try:
            trained = watch.wait("trained", during)
        finally:
            used = watch.used(fresh=True) if sys.exc_info()[0] is None else watch._usage.cpu_s
            self._set_up, self._owed, self._began = set_up, owed, began
            self._note(
                steps=watch.steps, tokens=watch.tokens, final_loss=watch.loss, unprotected=watch.missing,
                charged_s=round(watch.charge(used) + owed, 4), cpu_s=round(watch._usage.cpu_s - (0 if self.wall else set_up), 4),
                wall_s=round(time.monotonic() - began, 4), pace=pace(watch.curve), speed=self._speed_of(watch, used - set_up),
                peak_memory=self.meter.peak or watch.peak_rss, others=self.meter.others, held_down=round(self.meter.held_down, 3),
            )  # fmt: skip
        self._params(trained)

    def _grace(self) -> float:
        return max(GRACE_S, GRACE_SHARE * self.job.budget_s)

    def _check_clock(self) -> None:
        """Everything is charged, from the start to the last answer, less the fixed allowances."""
        budget, allowed = self.job.budget_s, self.job.scoring_s
        trained, steps = self.result.charged_s, self.result.steps
        charged = self.clock.at(self._first_answer - self._set_up) + self._owed
        if allowed is not None:
            long = long_answers(self.answers.seconds, self._free_first())
            charged += long + max(0.0, self.result.score_s - long - allowed)
        self._note(charged_s=round(charged, 4))
        if charged > budget + self._grace():
            raise Failed(
                Outcome.OVERRUN,
                f"it used {charged:.1f} s of a budget of {budget:g} s{self._large_steps(trained, steps)}",
            )

    def _free_first(self) -> float:
        """Seconds that are free in the first answers."""
        if not self.wall:
            return FIRST_ANSWER_S
        return min(MOST_FIRST_S, max(LEAST_FIRST_S, FIRST_ON_GPU * self.job.budget_s))

    def _large_steps(self, trained: float, steps: int) -> str:
        """Where its own steps say why it came too late: the last begins before the budget ends, and ends after it."""
        grace = self._grace()
        if steps < 1 or trained / steps < grace / 2 or trained <= self.job.budget_s + grace:
            return ""
        each = trained / steps
        return (
            f"; a step took {each:.1f} s, and the last may end {grace:.1f} s late: a longer --budget has room for that"
        )

    # -- scoring --------------------------------------------------------------------------------------------------

    def _score(self) -> float:
        """val_bpb, by one exam: whoever could sit it twice would know the answers."""
        assert self.watch is not None
        tokens = np.asarray(self.prepared.tokens(self.job.split))
        windows = data.val_windows(tokens, self.job.seq_len, self.job.eval_tokens)
        lengths = self.prepared.token_bytes()[windows[:, 1:]]
        self._phase = "scoring"
        self._first_answer = self.watch.used(fresh=True)
        self.answers = Answers(self.watch, self.buffers, wall=self.wall)
        if self.job.device == "cuda":  # from now on: what is forked from a process that uses CUDA cannot use it
            self.answers.use_gpu(self._scoring_check)
        batch, noise = self._settle()
        limit, per_row = None, PROBED
        if noise is not None:
            limit = PAIRED_LIMIT * math.log(2) * float(lengths.mean())
            per_row = probes_per_row(len(windows), noise, limit)
            if not math.isfinite(per_row):
                rows = rows_needed(noise, limit)
                short = len(windows) < rows <= self.job.eval_tokens // self.job.seq_len
                more = (
                    f". The {self.job.split} split fills {len(windows)} windows, and {rows} would be enough"
                    if short
                    else ""
                )
                raise Cheated(
                    f"its answers to the same beginning of a row differ by {noise:.4f} nats (standard deviation) from one "
                    f"question to the next: a gain could hide in that{more}"
                )
        try:
            nats = self._exam(tokens, windows, batch, per_row, limit)
        except TooBig:
            raise Failed(
                Outcome.CRASH,
                "it ran out of memory in the middle of the exam, which is held once",
                CrashClass.OUT_OF_MEMORY,
            ) from None
        self._note(score_s=round(sum(self.answers.seconds), 4))
        counted = lengths > 0  # specials have no bytes: neither their nats nor their bytes count
        total = float(nats[counted].astype(np.float64).sum())
        bpb = total / (math.log(2) * float(lengths.sum()))
        if not math.isfinite(bpb):
            raise Failed(Outcome.CRASH, "its answers are no finite numbers", CrashClass.NON_FINITE)
        if total / counted.sum() < LEAST_NATS:
            raise Cheated(f"a score of {bpb:.4f} bits per byte is not possible")
        np.save(self.out / "nats.npy", nats)
        return bpb

    def _settle(self) -> tuple[int, float | None]:
        """How many rows the model can answer at once. On a GPU also the standard deviation, in nats, of the change in its
        answers to the first half of a row when the second half and the other rows are replaced; None on a CPU.
        Asked with text of the training split, so that nothing of the exam is shown before it."""
        text = self.prepared.tokens("train")
        length, batch = self.job.seq_len, self.buffers.batch
        while batch:
            windows = data.val_windows(text, length, min(batch + 1, (len(text) - 1) // length) * length)[:, :-1]
            x = np.resize(windows, (batch + 1, length)).astype(np.int64)
            try:
                if not self.wall:
                    self.answers.ask(x[:-1], self._scoring_check)
                    return batch, None
                return batch, self._rounding(x[:-1], x[1:])
            except TooBig:
                batch //= 2
        raise Failed(Outcome.CRASH, "it ran out of memory while answering", CrashClass.OUT_OF_MEMORY)

    def _rounding(self, x: np.ndarray, others: np.ndarray) -> float:
        """The standard deviation of the change, as `_settle` says, for rows x (B, T) and what replaces parts of them (B, T)."""
        half = x.shape[1] // 2
        changed = others.copy()
        changed[::2, :half] = x[::2, :half]
        found = []
        for asked in (x, changed):
            logits = self.answers.ask(asked, self._scoring_check)
            # Where also the next token is the same.
            same = [(logits[place, : half - 1], x[place, 1:half]) for place in range(0, len(x), 2)]
            found.append(np.concatenate([self._nats(*pair) for pair in same]).astype(np.float64))
            del logits, same  # before the next copy is made
        return float((found[0] - found[1]).std())

    def _exam(
        self, tokens: np.ndarray, windows: np.ndarray, batch: int, per_row: float, limit: float | None
    ) -> np.ndarray:
        """Nats (rows, T) of all windows (rows, T + 1), asked in batches of `batch`. Raises Cheated, Failed, TooBig."""
        random = np.random.default_rng(int.from_bytes(os.urandom(16), "big"))
        inputs, targets = windows[:, :-1].astype(np.int64), windows[:, 1:].astype(np.int64)
        rows, length = inputs.shape
        unasked = tokens[rows * length :]  # what a probe shows of it helps with no answer
        splicer = Splicer(unasked if len(unasked) >= rows * length else tokens, random)
        exam = Exam(rows, length, limit=limit, reference=self._reference(rows, length))
        batches = plan(random, rows, length, batch, per_row)
        for index, asks in enumerate(batches):
            x = inputs[random.integers(0, rows, batch)]  # what fills the places where nobody is asked
            for place, ask in enumerate(asks):
                if ask is not None:
                    x[place] = splicer.splice(inputs[ask.row], ask.cut) if ask.kind == "probe" else inputs[ask.row]
            logits = self.answers.ask(x, self._scoring_check)
            for ask, row, answer in zip(asks, x, logits, strict=True):
                if ask is not None:
                    self._take(exam, ask, row, targets[ask.row], answer)
            del logits, answer  # before the next copy is made
            if self.watch is not None:
                self.watch.progress = index / len(batches)
                self._progress(self.watch, 0.0)
        self._note(probes=exam.judge() | self.answers.ways())
        return exam.nats

    def _take(self, exam: Exam, ask: Ask, x: np.ndarray, targets: np.ndarray, logits: torch.Tensor) -> None:
        """One answered row to its place: logits (T, V) for x (T,); `targets` (T,) are the true next tokens."""
        if ask.kind == "probe":
            nats = self._nats(logits, np.append(x[1:], 0))
            at = logits[ask.cut].cpu()
            honest = float(F.cross_entropy(at[None], torch.tensor([targets[ask.cut]])))
            exam.probe(ask, nats, self._scores(at), honest)
        else:
            cuts = exam.cuts(ask.row) if ask.kind == "whole" else []
            exam.whole(ask, self._nats(logits, targets), [self._scores(logits[cut].cpu()) for cut in cuts])

    def _scores(self, logits: torch.Tensor) -> np.ndarray:
        """What is compared at a cut: logits (V,) where they must be equal, else log-probabilities, which no shift moves."""
        found: np.ndarray = (F.log_softmax(logits, 0) if self.wall else logits).numpy()
        return found

    def _nats(self, logits: torch.Tensor, targets: np.ndarray) -> np.ndarray:
        """Nats (T,) of the targets (T,) by the logits (T, V) of one row, where the logits lie, or on the CPU where a GPU
        has no room for that. Raises Failed."""
        if logits.device != CPU:
            with self.answers.room_or_cpu():
                return nats(logits, targets)
        return nats(logits.cpu(), targets)

    def _reference(self, rows: int, length: int) -> np.ndarray | None:
        path = self.job.reference
        if not path or not Path(path).exists():
            return None
        found = np.load(path, allow_pickle=False)
        return found if found.shape == (rows, length) else None

    def _scoring_check(self) -> None:
        """Raises Failed when answering takes too long. What the scorer itself does between answers is not the trainer's."""
        allowed = self.job.scoring_s
        if allowed is not None and (spent := self.answers.spent) > allowed + self.job.budget_s:
            raise Failed(Outcome.OVERRUN, f"it used {spent:.0f} s to answer; {allowed:.0f} s are free")

    # -- telling --------------------------------------------------------------------------------------------------

    def _speed_of(self, watch: Watch, used: float) -> Speed | None:
        return self.speedometer.facts(used, self.clock, watch.delay_s()) if self.speedometer is not None else None

    def _speed(self) -> float | None:
        now = self.speedometer.now if self.speedometer is not None else None
        return round(now, 3) if now is not None else None

    def _progress(self, watch: Watch, charged: float) -> None:
        now = time.monotonic()
        if now - self._told < PROGRESS_S:
            return
        self._told = now
        budget = self.job.budget_s
        training = self._phase == "training"
        say(
            Progress(
                job=self.job.id,
                phase=self._phase,
                step=watch.steps,
                loss=watch.loss,
                progress=round(min(1.0, charged / budget if training else watch.progress), 4),
                charged_s=round(charged, 2),
                tokens_per_s=round(watch.tokens / charged, 1) if training and charged > 0 else None,
                wall_s=round(now - self.began, 2),
                speed=self._speed() if training else None,
            )
        )


def nats(logits: torch.Tensor, targets: np.ndarray) -> np.ndarray:
    """Log-softmax in float32, one row at a time, so that little room is needed. Raises Failed for what is not finite."""
    found = F.cross_entropy(logits, torch.from_numpy(targets).to(logits.device), reduction="none")
    # One that is not finite makes the sum so; so may very large ones, and only then each is looked at.
    if not math.isfinite(float(logits.sum())) and not bool(torch.isfinite(logits).all()):
        raise Failed(Outcome.CRASH, "its answers are no finite numbers", CrashClass.NON_FINITE)
    values: np.ndarray = found.cpu().numpy()
    return values


def long_answers(seconds: list[float], first: float = FIRST_ANSWER_S) -> float:
    """Seconds that answers took beyond what all but a few of them need; a little is free, above all the first time."""
    if not seconds:
        return 0.0
    usual = LONG_ANSWER * statistics.median(seconds) + LONG_ANSWER_S
    return max(0.0, sum(max(0.0, answer - usual) for answer in seconds) - first)


def pace(curve: list[tuple[float, int]]) -> tuple[float, ...]:
    """Steps per second of the budget in each quarter of the training, from (seconds, steps)."""
    if len(curve) < 8 or curve[-1][0] < LEAST_PACE_S:
        return ()
    found, last = [], (0.0, 0)
    for quarter in range(1, 5):
        until = curve[-1][0] * quarter / 4
        point = max((p for p in curve if p[0] <= until), default=last)
        if point[0] > last[0]:
            found.append(round((point[1] - last[1]) / (point[0] - last[0]), 3))
        last = point
    return tuple(found)


def say(message: Message) -> None:
    """One line to whoever started the harness."""
    os.write(1, line(message))


def main(job: Job) -> None:
    """The scorer's whole life, in a child of the nursery."""

    def aborted(number: int, frame: object) -> None:
        raise Aborted

    signal.signal(signal.SIGTERM, aborted)
    set_subreaper()
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
    except data.DataError as error:  # another try would end alike
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        answer = Unusable(job=job.id, reason=str(error))
    say(answer)


def started_afresh(line: str) -> None:
    """`main` in a process of its own, with the request as the fork server got it."""
    if isinstance(asked := request(line), Train):
        main(asked.job)
