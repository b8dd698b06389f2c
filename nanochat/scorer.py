"""The scorer: owns the validation data and the clock, asks the trainer's model for logits, computes val_bpb."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from nanochat import data, gpu, wire
from nanochat.data import Prepared
from nanochat.probes import Ask, Cheated, Exam, Splicer, plan
from nanochat.processes import boot_minus_monotonic, set_subreaper
from nanochat.trainer import Spec
from nanochat.watch import Failed, TooBig, Watch

PROGRESS_S = 0.3
GRACE_S, GRACE_SHARE = 0.5, 0.03  # for the last step and what follows it
LEAST_PACE_S = 2.0  # a shorter training says nothing about its pace
# An answer that takes much longer than the others did more than answer: what exceeds this is charged as training.
LONG_ANSWER, LONG_ANSWER_S, FIRST_ANSWER_S = 3.0, 0.1, 0.5
# On a GPU: a multiple of what the same question twice differs by; a model that differs by more could hide anything in it.
TOLERANCE, LEAST_TOLERANCE, MOST_TOLERANCE = 8.0, 1e-3, 0.02
LEAST_NATS = 0.05  # per token: below this no language model of this size has ever been


class Aborted(BaseException):
    """Told to end. No handler of errors may take it for one."""


@dataclass
class Scorer:
    """One job: preflight, training, exam."""

    job: dict[str, Any]

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.parts: dict[str, float] = {}
        self.facts: dict[str, Any] = {}
        self.out = Path(self.job["out"])
        self.wall = self.job["device"] != "cpu"
        self.prepared: Prepared = data.load(Path(self.job["data"]))
        self.watch: Watch | None = None
        self.gauge = gpu.Gauge(gpu.read() if self.job["device"] == "cuda" else None)
        self.answers_at = torch.device("cpu")  # where nats are computed; a GPU only when nothing is forked any more
        self._room = int(self.job["output_limit"])  # bytes of output that may still be kept
        self._told = 0.0
        self._phase = ""
        self._answers: list[float] = []  # seconds of each, in the budget's unit
        self._answered = 0.0  # when the last one came, on the budget's clock

    def run(self) -> dict[str, Any]:
        """The result of the job, whatever happens. Raises Aborted."""
        slept = boot_minus_monotonic()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            source = Path(self.job["source"]).read_text(encoding="utf-8")
            if self.job["preflight"]:
                self._timed("preflight", lambda: self._preflight(source))
            self._timed("training", lambda: self._train(source))
            bpb = self._timed("scoring", self._score)
            self._check_clock()
            result = {"outcome": "scored", "val_bpb": bpb}
        except Failed as failed:
            result = {
                "outcome": failed.outcome,
                "reason": failed.reason,
                "crash": failed.crash,
                "traceback": failed.traceback,
            }
        except Cheated as cheated:
            result = {"outcome": "invalid", "reason": str(cheated)}
        finally:
            began = time.monotonic()
            self._end()
            self.parts["cleanup"] = round(time.monotonic() - began, 4)
        slept = max(0.0, boot_minus_monotonic() - slept)
        return {
            "event": "result", "job": self.job["id"], **self.facts, **result, "parts": self.parts, "suspended_s": round(slept, 3),
            "total_wall_s": round(time.monotonic() - self.began, 3),
        }  # fmt: skip

    def _timed(self, name: str, work: Any) -> Any:
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

    def _start(self, source: str, **changes: Any) -> Watch:
        job = self.job
        batch, length, vocab = changes.pop("batch", job["score_batch"]), job["seq_len"], self.prepared.vocab_size
        length = changes.get("seq_len", length)
        self.inputs, self.outputs = wire.Shared(batch * length * 8), wire.Shared(batch * length * vocab * 4)
        fields = {"budget_s": job["budget_s"], "seq_len": length, "max_steps": None, **changes}
        spec = Spec(
            source=source, device=job["device"], vocab_size=vocab, seed=job["seed"], scratch="",
            memory_limit=job["memory_limit"], inputs=self.inputs.handle, outputs=self.outputs.handle, batch=batch, **fields,
        )  # fmt: skip
        self.batch = batch
        self.watch = Watch(
            spec,
            self.out,
            memory_limit=job["memory_limit"],
            output_limit=self._room,
            hang_s=job["hang_s"],
            wall=self.wall,
            free_s=job["setup_s"] + job["warmup_s"],
        )
        say({"event": "started", "job": job["id"], "pids": [os.getpid(), *self.watch.pids], "unprotected": []})
        return self.watch

    def _preflight(self, source: str) -> None:
        """Two steps and one answer on tiny shapes: what would crash does so in well under a second."""
        length = min(32, self.job["seq_len"])
        watch = self._start(source, seq_len=length, max_steps=2, batch=2)
        limit = self.job["setup_s"] + self.job["warmup_s"] + 20

        def check() -> None:
            if watch.used() > limit:
                raise Failed(
                    "overrun", f"it trained before its time: {watch.used():.0f} s were used in a check of two steps"
                )

        watch.wait("start", check)
        trained = watch.wait("trained", check)
        self._params(trained)
        tokens = self.prepared.tokens("train")[: 2 * length].astype(np.int64).reshape(2, length)
        try:
            self._ask(watch, tokens, check)
        except TooBig:
            raise Failed("crash", "it ran out of memory on two short rows", "out-of-memory") from None
        self._end()

    def _params(self, trained: dict[str, Any]) -> None:
        """The trainer's own count: a limit for honest agents; nothing about the score depends on it."""
        limit = self.job["max_params"]
        try:
            params = None if trained.get("params") is None else wire.count(trained, "params")
            self.facts |= {
                "params": params,
                "steps": wire.count(trained, "steps"),
                "tokens": wire.count(trained, "tokens"),
            }
        except (wire.Malformed, ValueError, OverflowError) as error:
            raise Failed("crash", f"it sent a message that is none ({error})", "contract") from None
        if limit is not None and params is None:
            raise Failed(
                "invalid", "program.md limits the parameters, so train() must return a torch module, to be counted"
            )
        if limit is not None and params is not None and params > limit:
            raise Failed("invalid", f"it has {params:,} parameters, and program.md allows {limit:,}")

    def _train(self, source: str) -> None:
        job = self.job
        watch = self._start(source)
        budget = job["budget_s"]
        free = job["setup_s"] + job["warmup_s"]
        self._phase = "setup"

        def before() -> None:
            self._progress(watch, 0.0)
            if watch.used() > free + budget:
                raise Failed(
                    "overrun", f"it used {watch.used():.0f} s before its training began; {free:.0f} s are free"
                )

        watch.wait("start", before)
        set_up = watch.used(fresh=True)
        self._phase = "training"
        began = watch.alive_at = time.monotonic()
        self.parts["setup"] = round(began - self.began - self.parts.get("preflight", 0.0), 4)
        owed = max(0.0, set_up - free)
        allowed = budget + self._grace()

        def during() -> None:
            charged = watch.used() - set_up + owed
            self.gauge.look(watch.pids)
            self._progress(watch, charged)
            if charged > allowed + 0.1 * budget:
                why = self._large_steps(charged, watch.steps)
                raise Failed("overrun", f"it went on after its {budget:g} s: {charged:.1f} s when it was ended{why}")
            wall = time.monotonic() - began
            if not self.wall and wall > job["wall_factor"] * budget + job["hang_s"]:
                raise Failed(
                    "timeout", f"it had {charged:.0f} of {budget:g} CPU seconds after {wall:.0f} s on the clock"
                )

        with self.prepared.path("train").open("rb") as file:
            watch.send_tokens(file.fileno())
        try:
            trained = watch.wait("trained", during)
        finally:
            used = watch.used(fresh=True) if sys.exc_info()[0] is None else watch._usage.cpu_s
            self._set_up, self._owed, self._began = set_up, owed, began
            self.facts |= {
                "steps": watch.steps, "tokens": watch.tokens, "final_loss": watch.loss, "unprotected": list(watch.missing),
                "charged_s": round(used - set_up + owed, 4), "cpu_s": round(watch._usage.cpu_s - (0 if self.wall else set_up), 4),
                "wall_s": round(time.monotonic() - began, 4), "pace": pace(watch.curve, set_up),
                "peak_memory": self.gauge.peak or watch.peak_rss, "others": self.gauge.others,
                "held_down": round(self.gauge.held_down, 3),
            }  # fmt: skip
        self._params(trained)

    def _grace(self) -> float:
        return max(GRACE_S, GRACE_SHARE * float(self.job["budget_s"]))

    def _check_clock(self) -> None:
        """Everything is charged, from the start to the last answer, less the fixed allowances."""
        budget, allowed = self.job["budget_s"], self.job["scoring_s"]
        trained, steps = self.facts["charged_s"], self.facts["steps"]
        charged = self._first_answer - self._set_up + self._owed
        if allowed is not None:
            long = long_answers(self._answers)
            charged += long + max(0.0, self.facts["score_s"] - long - allowed)
        self.facts["charged_s"] = round(charged, 4)
        if charged > budget + self._grace():
            raise Failed(
                "overrun", f"it used {charged:.1f} s of a budget of {budget:g} s{self._large_steps(trained, steps)}"
            )

    def _large_steps(self, trained: float, steps: int) -> str:
        """Where its own steps say why it came too late: the last begins before the budget ends, and ends after it."""
        grace = self._grace()
        if steps < 1 or trained / steps < grace / 2 or trained <= self.job["budget_s"] + grace:
            return ""
        each = trained / steps
        return (
            f"; a step took {each:.1f} s, and the last may end {grace:.1f} s late: a longer --budget has room for that"
        )

    # -- scoring --------------------------------------------------------------------------------------------------

    def _score(self) -> float:
        """val_bpb, by one exam: whoever could sit it twice would know the answers."""
        assert self.watch is not None
        tokens = np.asarray(self.prepared.tokens(self.job["split"]))
        windows = data.val_windows(tokens, self.job["seq_len"], self.job["eval_tokens"])
        self._phase = "scoring"
        if self.job["device"] == "cuda":
            self.answers_at = torch.device("cuda")
        first = self.watch.used(fresh=True)
        self._first_answer = self._answered = first
        self._answers = []
        batch, tolerance = self._settle()
        try:
            nats = self._exam(tokens, windows, batch, tolerance)
        except TooBig:
            raise Failed(
                "crash", "it ran out of memory in the middle of the exam, which is held once", "out-of-memory"
            ) from None
        self.facts["score_s"] = round(sum(self._answers), 4)
        lengths = self.prepared.token_bytes()[windows[:, 1:]]
        counted = lengths > 0  # specials have no bytes: neither their nats nor their bytes count
        total = float(nats[counted].astype(np.float64).sum())
        bpb = total / (math.log(2) * float(lengths.sum()))
        if not math.isfinite(bpb):
            raise Failed("crash", "its answers are no finite numbers", "non-finite")
        if total / counted.sum() < LEAST_NATS:
            raise Cheated(f"a score of {bpb:.4f} bits per byte is not possible")
        np.save(self.out / "nats.npy", nats)
        return bpb

    def _settle(self) -> tuple[int, float]:
        """How many rows the model can answer at once, and how far the same question twice may differ: 0 on a CPU. Asked with
        text of the training split, so that nothing of the exam is shown before it."""
        text = self.prepared.tokens("train")
        length, batch = self.job["seq_len"], self.batch
        while batch:
            windows = data.val_windows(text, length, min(batch, (len(text) - 1) // length) * length)[:, :-1]
            x = np.resize(windows, (batch, length)).astype(np.int64)
            try:
                one = self._ask(self.watch, x, self._scoring_check)
                if not self.wall:
                    return batch, 0.0
                differs = float((one - self._ask(self.watch, x, self._scoring_check)).abs().max())
            except TooBig:
                batch //= 2
                continue
            tolerance = max(LEAST_TOLERANCE, TOLERANCE * differs)
            if not tolerance <= MOST_TOLERANCE:
                raise Cheated(f"it answered the same question twice with logits that differ by {differs:.4g}")
            return batch, tolerance
        raise Failed("crash", "it ran out of memory while answering", "out-of-memory")

    def _exam(self, tokens: np.ndarray, windows: np.ndarray, batch: int, tolerance: float) -> np.ndarray:
        random = np.random.default_rng(int.from_bytes(os.urandom(16), "big"))
        inputs, targets = windows[:, :-1].astype(np.int64), windows[:, 1:].astype(np.int64)
        rows, length = inputs.shape
        unasked = tokens[rows * length :]  # what a probe shows of it helps with no answer
        splicer = Splicer(unasked if len(unasked) >= rows * length else tokens, random)
        exam = Exam(rows, length, tolerance=tolerance, reference=self._reference(rows, length))
        batches = plan(random, rows, length, batch)
        for index, asks in enumerate(batches):
            x = np.stack([splicer.splice(inputs[a.row], a.cut) if a.kind == "probe" else inputs[a.row] for a in asks])
            full = np.concatenate([x, inputs[random.integers(0, rows, batch - len(asks))]]) if len(asks) < batch else x
            logits = self._ask(self.watch, full, self._scoring_check)
            self._take(exam, asks, x, targets, logits)
            if self.watch is not None:
                self.watch.progress = index / len(batches)
                self._progress(self.watch, 0.0)
        self.facts["probes"] = exam.judge()
        return exam.nats

    def _take(self, exam: Exam, asks: list[Ask], x: np.ndarray, targets: np.ndarray, logits: torch.Tensor) -> None:
        """Each answer to its place."""
        sought = np.stack(
            [np.append(row[1:], 0) if a.kind == "probe" else targets[a.row] for a, row in zip(asks, x, strict=True)]
        )
        flat = logits[: len(asks)]
        values = np.stack([self._nats(row, targets) for row, targets in zip(flat, sought, strict=True)])
        for index, ask in enumerate(asks):
            if ask.kind == "probe":
                at = flat[index, ask.cut].cpu()
                honest = float(F.cross_entropy(at[None], torch.tensor([targets[ask.row, ask.cut]])))
                exam.probe(ask, values[index], at.numpy(), honest)
            else:
                cut = exam.cut(ask.row)
                exam.whole(ask, values[index], flat[index, cut].cpu().numpy() if cut is not None else None)

    def _nats(self, logits: torch.Tensor, targets: np.ndarray) -> np.ndarray:
        """Log-softmax in float32: nats (T,) of the targets (T,) by the logits (T, V) of one row, so that little room is needed."""
        nats = F.cross_entropy(logits, torch.from_numpy(targets).to(logits.device), reduction="none")
        # One that is not finite makes the sum so; so may very large ones, and only then each is looked at.
        if not math.isfinite(float(logits.sum())) and not bool(torch.isfinite(logits).all()):
            raise Failed("crash", "its answers are no finite numbers", "non-finite")
        return nats.cpu().numpy()

    def _reference(self, rows: int, length: int) -> np.ndarray | None:
        path = self.job["reference"]
        if not path or not Path(path).exists():
            return None
        found = np.load(path, allow_pickle=False)
        return found if found.shape == (rows, length) else None

    def _ask(self, watch: Watch | None, x: np.ndarray, check: Any) -> torch.Tensor:
        """Logits float32 (B, T, V) for tokens (B, T): a private copy, taken before anything is computed. On a GPU this
        process may use that only now, when nothing is forked from it any more."""
        assert watch is not None
        self.inputs.array("<i8", (self.batch, x.shape[1]))[: len(x)] = x
        watch.alive_at = time.monotonic()
        asked = watch.used(fresh=True)
        watch.say(batch=len(x))
        try:
            watch.wait("answer", check)
        finally:
            now = watch.used(fresh=True)
            self._answers.append(now - (asked if self.wall else self._answered))  # CPU time between answers counts
            self._answered = now
        answer = torch.from_numpy(self.outputs.array("<f4", (*x.shape, self.prepared.vocab_size)))
        if self.answers_at.type != "cpu":
            try:
                return answer.to(
                    self.answers_at
                )  # beside the model: millions of tokens cost seconds there, minutes here
            except RuntimeError:  # the trainer holds all of the GPU, or it cannot be had
                self.answers_at = torch.device("cpu")
        return answer.clone()

    def _scoring_check(self) -> None:
        assert self.watch is not None
        spent = self.watch.used() - self._first_answer
        allowed = self.job["scoring_s"]
        if allowed is not None and spent > allowed + self.job["budget_s"]:
            raise Failed("overrun", f"it used {spent:.0f} s to answer; {allowed:.0f} s are free")

    # -- telling --------------------------------------------------------------------------------------------------

    def _progress(self, watch: Watch, charged: float) -> None:
        now = time.monotonic()
        if now - self._told < PROGRESS_S:
            return
        self._told = now
        budget = self.job["budget_s"]
        training = self._phase == "training"
        say({
            "event": "progress", "job": self.job["id"], "phase": self._phase, "step": watch.steps, "loss": watch.loss,
            "progress": round(min(1.0, charged / budget if training else watch.progress), 4), "charged_s": round(charged, 2),
            "tokens_per_s": round(watch.tokens / charged, 1) if training and charged > 0 else None,
            "wall_s": round(now - self.began, 2),
        })  # fmt: skip


def long_answers(seconds: list[float]) -> float:
    """Seconds that answers took beyond what all but a few of them need; a little is free, above all the first time."""
    if not seconds:
        return 0.0
    usual = LONG_ANSWER * statistics.median(seconds) + LONG_ANSWER_S
    return max(0.0, sum(max(0.0, answer - usual) for answer in seconds) - FIRST_ANSWER_S)


def pace(curve: list[tuple[float, int]], start: float) -> list[float]:
    """Steps per charged second in each quarter of the training."""
    if len(curve) < 8 or curve[-1][0] - start < LEAST_PACE_S:
        return []
    end, found, last = curve[-1][0], [], (start, 0)
    for quarter in range(1, 5):
        until = start + (end - start) * quarter / 4
        point = max((p for p in curve if p[0] <= until), default=last)
        if point[0] > last[0]:
            found.append(round((point[1] - last[1]) / (point[0] - last[0]), 3))
        last = point
    return found


def say(message: dict[str, Any]) -> None:
    """One JSON line to whoever started the harness."""
    os.write(1, json.dumps(message).encode() + b"\n")


def main(job: dict[str, Any]) -> None:
    """The scorer's whole life, in a child of the nursery."""

    def aborted(number: int, frame: object) -> None:
        raise Aborted

    signal.signal(signal.SIGTERM, aborted)
    set_subreaper()
    scorer = Scorer(job)
    try:
        result = scorer.run()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except Aborted:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        scorer._end()
        result = {"event": "result", "job": job["id"], "outcome": "interrupted", "reason": "told to end"}
    say(result)
