"""Compute val_bpb of one trained model: ask for logits, check the answers for cheating, and sum the nats."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from nanochat.contract.job import CrashClass, Job, Outcome
from nanochat.data.prepared import Prepared, val_windows
from nanochat.harness.answers import CPU, Answers
from nanochat.harness.probes import (
    PAIRED_LIMIT,
    Cheated,
    Evaluation,
    Query,
    Splicer,
    covering,
    plan,
    probes_per_row,
    rows_needed,
)
from nanochat.harness.trainer_process import Failed, TooBig

LEAST_NATS = 0.05  # nats per token: far below what any language model of this size reaches


class Evaluator:
    """Evaluates one model once. Never evaluate a model again: it could have memorised the validation rows."""

    def __init__(
        self,
        job: Job,
        prepared: Prepared,
        answers: Answers,
        *,
        check: Callable[[], None],
        progress: Callable[[float], None],
    ) -> None:
        """Prepare the evaluation.

        Args:
            job: The job, which gives the split, the window length and the number of tokens.
            prepared: The dataset.
            answers: The connection to the model.
            check: Called while waiting for an answer. May raise Failed.
            progress: Called with the fraction of the evaluation that is done.
        """
        self._job, self._prepared, self._answers = job, prepared, answers
        self._check, self._progress = check, progress
        self._wall = job.device != "cpu"
        self.probes: dict[str, float] = {}  # statistics for the record; empty until all answers are in

    def val_bpb(self) -> float:
        """Evaluate the model on the job's split, and write the nats of each token to nats.npy.

        Returns:
            Bits per byte: nats of the targets / (ln 2 * their bytes), without special tokens.

        Raises:
            Failed: The trainer failed, ran out of memory, or gave logits that are not finite.
            Cheated: The answers are not those of an honest model.
        """
        tokens = np.asarray(self._prepared.tokens(self._job.split))
        windows = val_windows(tokens, self._job.seq_len, self._job.eval_tokens)
        lengths = self._prepared.token_bytes()[windows[:, 1:]]
        if self._job.device == "cuda":  # only now, since processes forked after this cannot use CUDA
            self._answers.use_gpu(self._check)
        rows, noise = self._settle()
        limit, per_row = None, covering(len(windows), self._job.seq_len)
        if noise is not None:
            limit = PAIRED_LIMIT * math.log(2) * float(lengths.mean())
            per_row = self._probes_per_row(len(windows), noise, limit)
        try:
            nats = self._ask_all(tokens, windows, rows, per_row, limit)
        except TooBig:
            raise Failed(
                Outcome.CRASH,
                "it ran out of memory in the middle of the evaluation, which runs once",
                CrashClass.OUT_OF_MEMORY,
            ) from None
        counted = lengths > 0  # special tokens have no bytes and do not count
        total = float(nats[counted].astype(np.float64).sum())
        bpb = total / (math.log(2) * float(lengths.sum()))
        if not math.isfinite(bpb):
            raise Failed(Outcome.CRASH, "its logits are not all finite", CrashClass.NON_FINITE)
        if total / counted.sum() < LEAST_NATS:
            raise Cheated(f"a score of {bpb:.4f} bits per byte is not possible")
        np.save(Path(self._job.out) / "nats.npy", nats)
        return bpb

    def _probes_per_row(self, windows: int, noise: float, limit: float) -> float:
        """Return the number of probes per row on a GPU. Raises Cheated if even the largest number is not enough."""
        per_row = probes_per_row(windows, noise, limit)
        if math.isfinite(per_row):
            return per_row
        rows = rows_needed(noise, limit)
        more = ""
        if windows < rows <= self._job.eval_tokens // self._job.seq_len:
            more = f". The {self._job.split} split fills {windows} windows, and {rows} would be enough"
        raise Cheated(
            f"its outputs for the same prefix differ by {noise:.4f} nats (standard deviation) between queries, "
            f"which could hide a gain{more}"
        )

    def _settle(self) -> tuple[int, float | None]:
        """Find the number of rows that the model can answer at once, and on a GPU the noise of its answers.

        Asks with text of the training split, so that the model does not see the evaluation.

        Returns:
            The number of rows, and the noise in nats (None on a CPU). To measure the noise, the second half of a row and the
            other rows are replaced. The noise is the standard deviation of the changes in the answers to the first half.

        Raises:
            Failed: There is too little memory even for one row.
        """
        text = self._prepared.tokens("train")
        length, batch = self._job.seq_len, self._answers.room
        while batch:
            windows = val_windows(text, length, min(batch + 1, (len(text) - 1) // length) * length)[:, :-1]
            x = np.resize(windows, (batch + 1, length)).astype(np.int64)
            try:
                if not self._wall:
                    self._answers.ask(x[:-1], self._check)
                    return batch, None
                return batch, self._rounding(x[:-1], x[1:])
            except TooBig:
                batch //= 2
        raise Failed(Outcome.CRASH, "it ran out of memory while answering", CrashClass.OUT_OF_MEMORY)

    def _rounding(self, x: np.ndarray, others: np.ndarray) -> float:
        """Measure the noise that `_settle` returns.

        Args:
            x: Rows, int64 (B, T).
            others: Rows to replace parts of `x` with, int64 (B, T).
        """
        half = x.shape[1] // 2
        changed = others.copy()
        changed[::2, :half] = x[::2, :half]
        found = []
        for asked in (x, changed):
            logits = self._answers.ask(asked, self._check)
            # The last position of the half is left out: its next token differs.
            same = [(logits[place, : half - 1], x[place, 1:half]) for place in range(0, len(x), 2)]
            found.append(np.concatenate([self._nats(*pair) for pair in same]).astype(np.float64))
            del logits, same  # free the memory before the next answer
        return float((found[0] - found[1]).std())

    def _ask_all(
        self, tokens: np.ndarray, windows: np.ndarray, batch: int, per_row: float, limit: float | None
    ) -> np.ndarray:
        """Ask for all windows and check the answers.

        Args:
            tokens: The tokens of the split.
            windows: The scored windows, (rows, T + 1).
            batch: Rows per question.
            per_row: Mean number of probes per row.
            limit: Allowed mean difference between rows and probes, in nats; None if answers must be equal.

        Returns:
            The nats of each target, float32 (rows, T).

        Raises:
            Cheated, Failed, TooBig
        """
        random = np.random.default_rng(int.from_bytes(os.urandom(16), "big"))
        inputs, targets = windows[:, :-1].astype(np.int64), windows[:, 1:].astype(np.int64)
        rows, length = inputs.shape
        unasked = tokens[rows * length :]  # not scored, so seeing it in a probe does not help the model
        splicer = Splicer(unasked if len(unasked) >= rows * length else tokens, random)
        evaluation = Evaluation(rows, length, limit=limit, reference=self._reference(rows, length))
        batches = plan(random, rows, length, batch, per_row)
        for index, queries in enumerate(batches):
            x = inputs[random.integers(0, rows, batch)]  # random rows fill the places without a query
            for place, query in enumerate(queries):
                if query is not None:
                    x[place] = (
                        splicer.splice(inputs[query.row], query.cut) if query.kind == "probe" else inputs[query.row]
                    )
            logits = self._answers.ask(x, self._check)
            for query, row, answer in zip(queries, x, logits, strict=True):
                if query is not None:
                    self._take(evaluation, query, row, targets[query.row], answer)
            del logits, answer  # free the memory before the next answer
            self._progress(index / len(batches))
        self.probes = evaluation.judge() | self._answers.ways()
        return evaluation.nats

    def _take(
        self, evaluation: Evaluation, query: Query, x: np.ndarray, targets: np.ndarray, logits: torch.Tensor
    ) -> None:
        """Pass the answer to one query to the evaluation.

        Args:
            evaluation: Collects the answers.
            query: The query.
            x: The tokens that were asked, int64 (T,).
            targets: The true next tokens of the row, int64 (T,).
            logits: The answer, float32 (T, V).
        """
        if query.kind == "probe":
            nats = self._nats(logits, np.append(x[1:], 0))
            at = logits[query.cut].cpu()
            honest = float(F.cross_entropy(at[None], torch.tensor([targets[query.cut]])))
            evaluation.probe(query, nats, self._scores(at), honest)
        else:
            cuts = evaluation.cuts(query.row) if query.kind == "whole" else []
            evaluation.whole(query, self._nats(logits, targets), [self._scores(logits[cut].cpu()) for cut in cuts])

    def _scores(self, logits: torch.Tensor) -> np.ndarray:
        """Return the values (V,) to compare at a cut: logits on a CPU, log-probabilities on a GPU.

        Adding a constant to all logits does not change log-probabilities.
        """
        found: np.ndarray = (F.log_softmax(logits, 0) if self._wall else logits).numpy()
        return found

    def _nats(self, logits: torch.Tensor, targets: np.ndarray) -> np.ndarray:
        """Return the nats (T,) of the targets (T,) by the logits (T, V) of one row. Raises Failed.

        Computed on the logits' device, or on the CPU if the GPU is full.
        """
        if logits.device != CPU:
            with self._answers.room_or_cpu():
                return nats(logits, targets)
        return nats(logits.cpu(), targets)

    def _reference(self, rows: int, length: int) -> np.ndarray | None:
        path = self._job.reference
        if not path or not Path(path).exists():
            return None
        found = np.load(path, allow_pickle=False)
        return found if found.shape == (rows, length) else None


def nats(logits: torch.Tensor, targets: np.ndarray) -> np.ndarray:
    """Compute the cross-entropy of one row in float32.

    Args:
        logits: (T, V).
        targets: int64 (T,).

    Returns:
        Nats, float32 (T,).

    Raises:
        Failed: A logit is not finite.
    """
    found = F.cross_entropy(logits, torch.from_numpy(targets).to(logits.device), reduction="none")
    # The sum is fast to check. It is not finite if a logit is not, but very large logits can overflow it too.
    if not math.isfinite(float(logits.sum())) and not bool(torch.isfinite(logits).all()):
        raise Failed(Outcome.CRASH, "its logits are not all finite", CrashClass.NON_FINITE)
    values: np.ndarray = found.cpu().numpy()
    return values
