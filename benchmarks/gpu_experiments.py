"""The experiments of gpu.py: two in the real harness, and the same model without it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import flops
from trainings import ROOT, Unmeasured

from core.change import knobs
from core.execution.base import ExecutorFailed
from core.execution.local import LocalExecutor
from core.machine import profiles, stats
from core.machine.profiles import Profile
from core.run.jobs import COMPILED, RAM_SHARE
from nanochat.contract import dataset as contract
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from nanochat.contract.messages import Progress, Started

LIMIT_S = 285.0  # for the whole benchmark
LEAST_JOB_S, LEAST_PLAIN_S = 40.0, 30.0  # a part is left out if less time is left
HALVINGS = 3  # of the batch, if the profile does not fit into memory
FEWEST_ROWS = 8  # windows of the shortest evaluation


class Refused(Unmeasured):
    """The experiment ended without a score."""

    def __init__(self, crash: CrashClass | None, message: str) -> None:
        super().__init__(message)
        self.crash = crash


@dataclass
class Deadline:
    """The time that is left for the benchmark."""

    limit_s: float
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return self.limit_s - (time.monotonic() - self.began)


@dataclass(frozen=True)
class Setting:
    """What is measured: a train.py with the knobs of a profile, on data in a folder."""

    device: str
    profile: Profile
    source: str
    data: Path
    folder: Path
    seconds: float

    @property
    def shape(self) -> flops.Shape:
        return flops.shape_of(self.source, self.profile.vocab_size)

    @property
    def values(self) -> dict[str, knobs.Value]:
        return {knob.name: knob.value for knob in knobs.read(self.source)}


@dataclass(frozen=True)
class Experiment:
    """The result of one job in the harness."""

    result: Result
    wall_s: float
    evaluation_tokens: int  # tokens that were scored
    folder_of_kernels: Path  # for its compiled kernels; it may not exist

    @property
    def kernels(self) -> Path | None:
        """The folder of compiled kernels for the next experiment; None if there are none."""
        return self.folder_of_kernels if self.folder_of_kernels.is_dir() else None

    @property
    def parts(self) -> dict[str, float]:
        """Wall seconds by part of the experiment. Their sum is `wall_s`."""
        given = self.result.parts
        setup = given.get("setup", 0.0)
        parts = {
            "preflight": given.get("preflight", 0.0),
            "set-up and compile": setup,
            "training": given.get("training", 0.0) - setup,  # the harness includes the set-up
            "evaluation": given.get("scoring", 0.0),
            "clean-up": given.get("cleanup", 0.0),
        }
        return parts | {"rest": max(0.0, self.wall_s - sum(parts.values()))}

    @property
    def tokens_per_s(self) -> float:
        return self.result.tokens / self.result.charged_s

    @property
    def words(self) -> str:
        """Its figures in one line, printed at once: the benchmark may be ended before its report."""
        parts = ", ".join(f"{name} {spent:.1f}" for name, spent in self.parts.items())
        return f"  {self.tokens_per_s:,.0f} tokens/s, peak {self.result.peak_memory / 2**30:.1f} GiB; {self.wall_s:.0f} s: {parts}"

    @property
    def fixed_s(self) -> float:
        """Wall seconds without training and evaluation."""
        return sum(spent for name, spent in self.parts.items() if name not in ("training", "evaluation"))


def say(text: str = "") -> None:
    print(text, flush=True)


def make_job(setting: Setting, name: str, source: str, evaluation_tokens: int, compiled: Path | None) -> Job:
    """Make a job as the loop does, with a shorter budget and evaluation. `compiled`: the baseline's kernels; None for the baseline."""
    out = setting.folder / name
    out.mkdir()
    (out / "train.py").write_text(source, encoding="utf-8")
    profile = setting.profile
    return Job(
        id=name, source=str(out / "train.py"), out=str(out), data=str(setting.data), device=setting.device, seed=1,
        budget_s=setting.seconds, wall_factor=profile.wall_factor, setup_s=profile.setup_s, warmup_s=profile.warmup_s,
        hang_s=profile.hang_s, seq_len=profile.seq_len, eval_tokens=evaluation_tokens, score_batch=profile.score_batch,
        memory_limit=int(stats.memory_total() * RAM_SHARE), compiled=str(compiled) if compiled else None,
        keep_compiled=setting.device == "cuda" and compiled is None,
    )  # fmt: skip


class Harness:
    """The real harness (fork server, scorer and trainer), used as the loop does."""

    def __init__(self, setting: Setting) -> None:
        gpu = 0 if setting.device == "cuda" else None
        self.executor = LocalExecutor(ROOT, setting.device, setting.folder / "harness.log", gpu)
        self.setting = setting
        self.start_s = 0.0  # from the start of the fork server to its first scorer

    async def run(
        self, name: str, source: str, evaluation_tokens: int, limit_s: float, compiled: Path | None = None
    ) -> Experiment:
        """Run one experiment, and abort it after `limit_s` seconds. Raises Unmeasured if it was not scored."""
        job = make_job(self.setting, name, source, evaluation_tokens, compiled)
        began = time.monotonic()
        first_message = 0.0

        def update(told: Started | Progress) -> None:
            nonlocal first_message
            first_message = first_message or time.monotonic()

        task = asyncio.create_task(self.executor.run(job, update))
        done, _ = await asyncio.wait({task}, timeout=limit_s)
        if not done:
            await self.executor.abort()
        try:
            result = await task
        except ExecutorFailed as error:
            raise Unmeasured(str(error)) from error
        if not self.start_s:  # the first job waits for the imports of the fork server, once per run
            self.start_s = max(0.0, first_message - began)
            began = first_message
        if result.outcome is not Outcome.SCORED:
            late = "" if done else f" after {limit_s:.0f} s, since the time of the benchmark is over"
            reason = (result.reason or "no reason given").replace("--budget", "--seconds")
            raise Refused(result.crash, f"The experiment {name!r} ended as {result.outcome.value}{late}: {reason}.")
        return Experiment(result, time.monotonic() - began, evaluation_tokens, Path(job.out, COMPILED))

    async def close(self) -> None:
        await self.executor.close()


def evaluation_sizes(setting: Setting) -> tuple[int, int]:
    """Return the tokens of a short and of a longer evaluation, from which the time of a whole evaluation is computed.

    Limited by the data.
    """
    profile = setting.profile
    rows = (contract.read(setting.data).splits["val"].tokens - 1) // profile.seq_len  # as in the scorer
    whole = profile.eval_tokens // profile.seq_len
    short, longer = max(FEWEST_ROWS, whole // 16), max(2 * FEWEST_ROWS, whole // 4)
    return min(short, rows) * profile.seq_len, min(longer, rows) * profile.seq_len


def other_learning_rate(source: str) -> str:
    """Apply a typical edit of an agent that changes no kernel."""
    values = {knob.name: knob.value for knob in knobs.read(source)}
    return knobs.set_knobs(source, {"MATRIX_LR": round(0.9 * float(values["MATRIX_LR"]), 6)})


async def first_experiment(harness: Harness, setting: Setting, deadline: Deadline) -> tuple[Experiment, Setting]:
    """Run the experiment that compiles all kernels. The batch is halved while it runs out of memory. Raises Unmeasured.

    Returns the experiment, and the setting with the batch that fitted.
    """
    for attempt in range(HALVINGS + 1):
        try:
            size = evaluation_sizes(setting)[0]
            return await harness.run(f"cold-{attempt}", setting.source, size, 0.6 * deadline.left), setting
        except Refused as refused:
            smaller = profiles.halve_batch(setting.values)
            if refused.crash is not CrashClass.OUT_OF_MEMORY or not smaller or attempt == HALVINGS:
                raise
            say(f"  It ran out of memory, so the batch is halved: {smaller}.")
            setting = replace(setting, source=knobs.set_knobs(setting.source, smaller))
    raise AssertionError


async def experiments(setting: Setting, deadline: Deadline) -> tuple[Setting, float, Experiment, Experiment | str]:
    """Run both experiments. Raises Unmeasured if the first one was not scored.

    Returns the setting that fitted into memory, the seconds of the fork server's start, the cold experiment, and the warm one or
    why it is missing.
    """
    try:
        harness = Harness(setting)
    except ExecutorFailed as error:
        raise Unmeasured(str(error)) from error
    try:
        say("Experiment 1 of 2, kernels are compiled anew ...")
        cold, setting = await first_experiment(harness, setting, deadline)
        say(cold.words)
        if deadline.left < LEAST_JOB_S:
            return setting, harness.start_s, cold, "no time was left for it"
        say("Experiment 2 of 2, an edit of a learning rate ...")
        edited = other_learning_rate(setting.source)
        try:
            size = evaluation_sizes(setting)[1]
            warm = await harness.run("warm", edited, size, deadline.left - 5, cold.kernels)
            say(warm.words)
            return setting, harness.start_s, cold, warm
        except Unmeasured as error:
            return setting, harness.start_s, cold, str(error)
    finally:
        await harness.close()


def plain_loop(setting: Setting, deadline: Deadline) -> dict[str, Any] | str:
    """Run plain_loop.py and return its figures, or why they are missing."""
    if deadline.left < LEAST_PLAIN_S:
        return "no time was left for it"
    say("The same model without the harness ...")
    train = setting.folder / "plain.py"
    train.write_text(setting.source, encoding="utf-8")
    cache = {
        "TORCHINDUCTOR_CACHE_DIR": str(setting.folder / "inductor"),
        "TRITON_CACHE_DIR": str(setting.folder / "triton"),
    }
    seconds = setting.seconds * 2 / 3
    command = [
        sys.executable, str(ROOT / "benchmarks" / "plain_loop.py"), str(train), str(setting.data), "--device", setting.device,
        "--seconds", str(seconds), "--rows", str(setting.profile.score_batch), "--seq-len", str(setting.profile.seq_len),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=deadline.left, env={**os.environ, **cache}
        )
    except subprocess.TimeoutExpired:
        return f"it was ended when the {LIMIT_S:.0f} s of the benchmark were over"
    if done.returncode:
        return f"it failed: {done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else done.returncode}"
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures
