"""How fast is this card, and how much of an experiment is training? python benchmarks/gpu.py

Runs one experiment of the card's profile by the real harness twice (kernels compiled anew, then with the compile cache),
then the same model without the harness as the limit. Prints tokens/s, MFU, seconds by part, the share of wall time in
training at a budget of 300 s, peak memory and how far answers differ. Under 5 minutes; nothing is asserted or kept.

    python benchmarks/gpu.py [--profile gpu-24] [--seconds 12]
    python benchmarks/gpu.py --device cpu       the same code on tiny shapes, to see that it works
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import flops

from core.change import knobs
from core.execution.base import ExecutorFailed
from core.execution.local import LocalExecutor
from core.machine import profiles, stats
from core.machine.defaults import default_profile
from core.machine.profiles import Profile
from core.machine.project import lacking, torch_build
from core.run.jobs import COMPILED, RAM_SHARE
from nanochat.contract import dataset as contract
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from nanochat.contract.messages import Progress, Started

LIMIT_S = 285.0  # of everything together
LEAST_JOB_S, LEAST_PLAIN_S = 40.0, 30.0  # with less time left a part is not begun
FULL_BUDGET_S, AIM = 300.0, 0.92
CORPUS_BYTES = {"cuda": 32_000_000, "cpu": 800_000}
SECONDS = {"cuda": 12.0, "cpu": 2.0}
HALVINGS = 3  # of the batch, where the profile does not fit
FEWEST_ROWS = 8  # windows of the shortest evaluation
NOT_A_GPU = (
    "These are not GPU figures: the device is the CPU and the shapes are tiny. They only show that the benchmark works."
)
UPSTREAM = """\
To compare: autoresearch's published run on one H100 has 1,665,000 tokens/s and 39.8% MFU by the same formula (8 layers of width 512,
2048 positions, windows SSSL by Flash Attention 3, 128 rows, 2^19 tokens a step, 953 steps and 45.1 GB in 300 s)."""


class Unmeasured(Exception):
    """A part could not be measured; the message is a sentence."""


@dataclass
class Deadline:
    """The time that is left for everything."""

    limit_s: float
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return self.limit_s - (time.monotonic() - self.began)


@dataclass(frozen=True)
class Setting:
    """What is measured: a train.py fitted to a profile, on data in a folder."""

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
    """One job by the harness. Seconds of wall time by part; `evaluation_tokens` is how many tokens were scored."""

    result: Result
    wall_s: float
    evaluation_tokens: int
    folder_of_kernels: Path  # where it left those that it compiled, if it did

    @property
    def kernels(self) -> Path | None:
        """The folder of compiled kernels for the next experiment, None where there are none."""
        return self.folder_of_kernels if self.folder_of_kernels.is_dir() else None

    @property
    def parts(self) -> dict[str, float]:
        """Wall seconds by part of the experiment; they add up to `wall_s`."""
        given = self.result.parts
        setup = given.get("setup", 0.0)
        parts = {
            "preflight": given.get("preflight", 0.0),
            "set-up and compile": setup,
            "training": given.get("training", 0.0) - setup,  # the harness counts the set-up in
            "evaluation": given.get("scoring", 0.0),
            "clean-up": given.get("cleanup", 0.0),
        }
        return parts | {"rest": max(0.0, self.wall_s - sum(parts.values()))}

    @property
    def tokens_per_s(self) -> float:
        return self.result.tokens / self.result.charged_s

    @property
    def fixed_s(self) -> float:
        """Seconds besides training and evaluation."""
        return sum(spent for name, spent in self.parts.items() if name not in ("training", "evaluation"))


# -- preparation ------------------------------------------------------------------------------------------------------


def texts() -> Iterator[Path]:
    """Python sources at hand: the standard library, then installed packages, always in the same order."""
    paths = sysconfig.get_paths()
    for root in (paths["stdlib"], paths["purelib"]):
        for folder, names, files in os.walk(root):
            names[:] = sorted(name for name in names if name not in ("site-packages", "dist-packages", "__pycache__"))
            yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


def collect_text(folder: Path, most: int) -> int:
    """Copy up to about `most` bytes of sources into a folder. Returns the bytes copied."""
    folder.mkdir()
    size = 0
    largest = min(400_000, most // 50)  # many files, so that each split gets some
    for count, path in enumerate(texts()):
        if size >= most:
            break
        with contextlib.suppress(OSError, UnicodeDecodeError):
            raw = path.read_bytes()
            raw.decode()
            if 500 <= len(raw) <= largest:
                (folder / f"{count:06d}.txt").write_bytes(raw)
                size += len(raw)
    return size


def prepare_data(folder: Path, device: str, vocab_size: int) -> Path:
    """Make a corpus and prepare it with prepare.py in `folder`. Raises Unmeasured."""
    corpus = folder / "corpus"
    collect_text(corpus, CORPUS_BYTES[device])
    dataset = f"text:{corpus}"
    done = subprocess.run(
        [sys.executable, str(ROOT / "prepare.py"), "--dataset", dataset, "--vocab", str(vocab_size)],
        env={**os.environ, "AUTORESEARCH_DATA": str(folder / "data")}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise Unmeasured(f"The data could not be prepared: {done.stderr.strip()[-300:]}")
    (made,) = (folder / "data").glob(f"*-v{vocab_size}")
    return made


def fitted_source(profile: Profile) -> str:
    """The shipped train.py with the knobs that a run on this profile would set."""
    source = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8")
    values = {knob.name: knob.value for knob in knobs.read(source)}
    return knobs.set_knobs(source, profiles.applicable_knobs(profile, values))


def card() -> tuple[str, str]:
    """The card's name, and a line that describes card and driver."""
    gpu = stats.gpus()[0]
    memory = f", {gpu.memory_total / 2**30:.1f} GiB" if gpu.memory_total else ""
    return gpu.name, f"{gpu.name}{memory}, driver {driver_version()}"


def driver_version() -> str:
    try:
        import pynvml

        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
        return version if isinstance(version, str) else version.decode()
    except Exception:  # a description is not worth a benchmark
        return "unknown"


# -- the harness ------------------------------------------------------------------------------------------------------


def make_job(setting: Setting, name: str, source: str, evaluation_tokens: int, compiled: Path | None) -> Job:
    """A job as the loop makes it, with a shorter budget and evaluation. `compiled`: the baseline's kernels; None: it is the baseline."""
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
    """The real harness: fork server, scorer and trainer, driven as the loop drives it."""

    def __init__(self, setting: Setting) -> None:
        gpu = 0 if setting.device == "cuda" else None
        self.executor = LocalExecutor(ROOT, setting.device, setting.folder / "harness.log", gpu)
        self.setting = setting
        self.start_s = 0.0  # from the start of the fork server to its first scorer

    async def run(
        self, name: str, source: str, evaluation_tokens: int, limit_s: float, compiled: Path | None = None
    ) -> Experiment:
        """One experiment, aborted after `limit_s`. Raises Unmeasured when it was not scored."""
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
        if not self.start_s:  # the first job waited for the imports of the fork server, which a run pays for once
            self.start_s = max(0.0, first_message - began)
            began = first_message
        if result.outcome is not Outcome.SCORED:
            late = "" if done else f" after {limit_s:.0f} s, since the time of the benchmark is over"
            reason = (result.reason or "no reason given").replace("--budget", "--seconds")
            raise Refused(result.crash, f"The experiment {name!r} ended as {result.outcome.value}{late}: {reason}.")
        return Experiment(result, time.monotonic() - began, evaluation_tokens, Path(job.out, COMPILED))

    async def close(self) -> None:
        await self.executor.close()


class Refused(Unmeasured):
    """The experiment ended without a score."""

    def __init__(self, crash: CrashClass | None, message: str) -> None:
        super().__init__(message)
        self.crash = crash


def evaluation_sizes(setting: Setting) -> tuple[int, int]:
    """Tokens of a short and of a longer evaluation, as far as the data goes: from two the whole one is computed."""
    profile = setting.profile
    rows = (contract.read(setting.data).splits["val"].tokens - 1) // profile.seq_len  # as the scorer cuts them
    whole = profile.eval_tokens // profile.seq_len
    short, longer = max(FEWEST_ROWS, whole // 16), max(2 * FEWEST_ROWS, whole // 4)
    return min(short, rows) * profile.seq_len, min(longer, rows) * profile.seq_len


def other_learning_rate(source: str) -> str:
    """An edit as agents propose it, which changes no kernel."""
    values = {knob.name: knob.value for knob in knobs.read(source)}
    return knobs.set_knobs(source, {"MATRIX_LR": round(0.9 * float(values["MATRIX_LR"]), 6)})


async def first_experiment(harness: Harness, setting: Setting, deadline: Deadline) -> tuple[Experiment, Setting]:
    """The experiment that compiles everything, with half the batch where memory does not suffice. Raises Unmeasured."""
    for attempt in range(HALVINGS + 1):
        try:
            size = evaluation_sizes(setting)[0]
            return await harness.run(f"cold-{attempt}", setting.source, size, 0.6 * deadline.left), setting
        except Refused as refused:
            smaller = profiles.halve_batch(setting.values)
            if refused.crash is not CrashClass.OUT_OF_MEMORY or not smaller or attempt == HALVINGS:
                raise
            say(f"  It ran out of memory, so the batch is halved: {smaller}.")
            setting = Setting(
                setting.device, setting.profile, knobs.set_knobs(setting.source, smaller), setting.data,
                setting.folder, setting.seconds,
            )  # fmt: skip
    raise AssertionError


async def experiments(setting: Setting, deadline: Deadline) -> tuple[Setting, float, Experiment, Experiment | str]:
    """The setting that fits, seconds of the fork server's start, the cold experiment, the warm one or why it is missing."""
    try:
        harness = Harness(setting)
    except ExecutorFailed as error:
        raise Unmeasured(str(error)) from error
    try:
        say("Experiment 1 of 2, kernels are compiled anew ...")
        cold, setting = await first_experiment(harness, setting, deadline)
        if deadline.left < LEAST_JOB_S:
            return setting, harness.start_s, cold, "no time was left for it"
        say("Experiment 2 of 2, an edit of a learning rate ...")
        edited = other_learning_rate(setting.source)
        try:
            size = evaluation_sizes(setting)[1]
            return (
                setting,
                harness.start_s,
                cold,
                await harness.run("warm", edited, size, deadline.left - 5, cold.kernels),
            )
        except Unmeasured as error:
            return setting, harness.start_s, cold, str(error)
    finally:
        await harness.close()


def plain_loop(setting: Setting, deadline: Deadline) -> dict[str, Any] | str:
    """The figures of plain_loop.py in a process of its own, or why they are missing."""
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


# -- figures ----------------------------------------------------------------------------------------------------------


def evaluation_seconds(cold: Experiment, warm: Experiment | None, tokens: int) -> float:
    """Seconds of the evaluation over `tokens` tokens, by a line through the two that were held."""
    one, size = cold.parts["evaluation"], cold.evaluation_tokens
    if warm is not None and warm.parts["evaluation"] > one and warm.evaluation_tokens > size:
        per_token = (warm.parts["evaluation"] - one) / (warm.evaluation_tokens - size)
        return one + per_token * (tokens - size)
    return one * tokens / size


def share_in_training(fixed_s: float, evaluation_s: float, budget_s: float = FULL_BUDGET_S) -> float:
    """The part of an experiment's wall time that is training, at a budget in seconds."""
    return budget_s / (budget_s + fixed_s + evaluation_s)


@dataclass(frozen=True)
class Speed:
    """One column of the table of speeds."""

    name: str
    tokens_per_s: float
    setup_s: float
    peak_memory: float  # bytes, 0 where it was not measured


def speeds(cold: Experiment, warm: Experiment | None, plain: dict[str, Any] | str) -> list[Speed]:
    """The harness, train.py without it, and a plain loop: as many as were measured."""
    measured = [job for job in (cold, warm) if job is not None]
    best = max(measured, key=lambda job: job.tokens_per_s)
    peak = max(job.result.peak_memory for job in measured)
    columns = [Speed("harness", best.tokens_per_s, cold.parts["set-up and compile"], peak)]
    if isinstance(plain, dict):
        for name, key in (("train.py alone", "train_alone"), ("plain loop", "plain_loop")):
            found = plain[key]
            if isinstance(found, dict):
                columns.append(Speed(name, found["tokens_per_s"], found["setup_s"], found["peak_memory"]))
    return columns


# -- the report -------------------------------------------------------------------------------------------------------


def say(text: str = "") -> None:
    print(text, flush=True)


def table(rows: Sequence[tuple[str, ...]]) -> None:
    """Rows of words in columns, the first one left-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for first, *others in rows:
        cells = (word.rjust(width) for word, width in zip(others, widths[1:], strict=True))
        say(f"  {first.ljust(widths[0])}  {'  '.join(cells)}")


def report_speed(columns: list[Speed], shape: flops.Shape, peak: float | None) -> None:
    rates = [column.tokens_per_s for column in columns]
    usual = [rate * shape.flops_per_token for rate in rates]
    once = [rate * shape.causal_flops_per_token for rate in rates]
    say(f"Speed ({shape.flops_per_token / 1e6:,.1f} MFLOP a token by 6 N + attention, N = {shape.matmul_params:,})")
    rows = [
        ("", *(column.name for column in columns)),
        ("tokens/s", *(f"{rate:,.0f}" for rate in rates)),
        ("share of the fastest", *(f"{rate / max(rates):.0%}" for rate in rates)),
        ("TFLOP/s", *(f"{value / 1e12:.3g}" for value in usual)),
    ]
    if peak is not None:
        rows.append(("MFU", *(f"{value / peak:.1%}" for value in usual)))
        rows.append(("MFU, causal attention counted once", *(f"{value / peak:.1%}" for value in once)))
    rows.append(("set-up and compile from cold, s", *(f"{column.setup_s:.1f}" for column in columns)))
    if any(column.peak_memory for column in columns):
        rows.append(("peak memory, GiB", *(f"{c.peak_memory / 2**30:.2f}" if c.peak_memory else "-" for c in columns)))
    table(rows)
    if len(columns) > 1:
        say(
            "  The two loops without the harness are the limit: batches lie on the device, nothing is logged, nobody watches."
        )
    if any(column.peak_memory for column in columns[1:]):
        say(
            "  The harness's peak is the driver's figure, with CUDA's own memory; that of the loops is what tensors took."
        )
    if peak is not None:
        say(
            f"  The card's peak is taken as {peak / 1e12:.1f} TFLOP/s (dense bfloat16; benchmarks/flops.py has the sources)."
        )


def report_parts(setting: Setting, start_s: float, cold: Experiment, warm: Experiment | str) -> None:
    second = warm if isinstance(warm, Experiment) else None
    jobs = [cold] if second is None else [cold, second]
    names = ("compiled anew", "learning-rate edit")[: len(jobs)]
    say("One experiment by the harness, seconds of wall time")
    rows = [("", *names)]
    rows += [(part, *(f"{job.parts[part]:.2f}" for job in jobs)) for part in cold.parts]
    rows.append(("evaluation's tokens", *(f"{job.evaluation_tokens:,}" for job in jobs)))
    evaluation = evaluation_seconds(cold, second, setting.profile.eval_tokens)
    rows.append(
        (f"evaluation of all {setting.profile.eval_tokens:,} tokens, computed", *(f"{evaluation:.1f}" for _ in jobs))
    )
    shares = [share_in_training(job.fixed_s, evaluation) for job in jobs]
    rows.append((f"training's share at {FULL_BUDGET_S:.0f} s, computed", *(f"{share:.1%}" for share in shares)))
    table(rows)
    if second is None:
        say(f"  The second experiment was not measured: {warm}")
    elif cold.kernels is None:
        say("  The first experiment left no compiled kernels, so the second had none to begin with.")
    say(f"  The start of the fork server takes {start_s:.1f} s, once a run.")
    for name, share in zip(names, shares, strict=True):
        verdict = "reached" if share >= AIM else "missed"
        say(f"  Aim for {name}: at least {AIM:.0%} of wall time in training. {verdict.capitalize()}: {share:.1%}.")


def report_answers(plain: dict[str, Any] | str, probes: dict[str, float]) -> None:
    say("Answers to the same question")
    if isinstance(plain, dict):
        found = plain["answers"]
        rows = [(f"of {found['rows']} rows, largest difference", "of a logit", "of a token's nats", "of the mean nats")]
        for name, values in found["differences"].items():
            rows.append((name, *(f"{values[key]:.3g}" for key in ("logits", "nats", "mean_nats"))))
        table(rows)
    if probes:
        say(f"  The evaluation of the harness itself noted: {', '.join(f'{k} {v:.4g}' for k, v in probes.items())}.")


def report_comparison(setting: Setting, columns: list[Speed], peak: float | None) -> None:
    say(UPSTREAM)
    ours = columns[0]
    rate = f"{ours.tokens_per_s:,.0f} tokens/s"
    if peak is not None:
        rate += f" and {ours.tokens_per_s * setting.shape.flops_per_token / peak:.1%} MFU"
    if setting.profile.name == "gpu-80":
        say(f"Here: {rate}. The shapes are alike, so MFU can be compared; tokens/s only on the same kind of H100.")
    else:
        say(
            f"Here: {rate} on the shapes of {setting.profile.name}. Only --profile gpu-80 is comparable; other shapes are not."
        )


def describe(setting: Setting, card_line: str) -> None:
    say(f"card      {card_line}")
    say(
        f"software  torch {torch_build()}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    )
    sizes = ("DEPTH", "WIDTH", "HEAD_DIM", "SEQ_LEN", "BATCH_SIZE", "TOTAL_BATCH", "WINDOW_PATTERN", "VALUE_EVERY")
    values = setting.values
    say(f"profile   {setting.profile.name}: {', '.join(f'{n} {values[n]}' for n in sizes if n in values)}")
    say(
        f"data      Python sources of this machine, vocabulary {setting.profile.vocab_size}: val_bpb is not comparable with a run's"
    )


def report(
    setting: Setting,
    card_name: str,
    start_s: float,
    cold: Experiment,
    warm: Experiment | str,
    plain: dict[str, Any] | str,
) -> None:
    second = warm if isinstance(warm, Experiment) else None
    peak = flops.peak_flops(card_name) if setting.device == "cuda" else None
    columns = speeds(cold, second, plain)
    say()
    report_speed(columns, setting.shape, peak)
    if setting.device == "cuda" and peak is None:
        say("  No MFU: the table of peaks does not have this card.")
    if isinstance(plain, str):
        say(f"  The loops without the harness were not measured: {plain}.")
    elif isinstance(plain["plain_loop"], str):
        say(f"  The plain loop was not measured: {plain['plain_loop']}.")
    say()
    report_parts(setting, start_s, cold, warm)
    say()
    report_answers(plain, (second or cold).result.probes)
    say()
    missing = (second or cold).result.unprotected
    if missing:
        say(f"The sandbox lacked: {', '.join(missing)}.")
    scores = ", ".join(f"{job.result.val_bpb:.4f}" for job in (cold, second) if job is not None)
    say(f"val_bpb {scores} after {setting.seconds:g} s each: on this data, comparable with nothing.")
    if setting.device == "cuda":
        report_comparison(setting, columns, peak)
    else:
        say(NOT_A_GPU)


def run(device: str, profile: Profile, seconds: float, folder: Path) -> None:
    """Measure and print everything. Raises Unmeasured when not even one experiment was scored."""
    deadline = Deadline(LIMIT_S)
    card_name, card_line = card() if device == "cuda" else ("", "none: the CPU")
    if device != "cuda":
        say(NOT_A_GPU)
    say("Preparing data ...")
    data = prepare_data(folder, device, profile.vocab_size)
    setting = Setting(device, profile, fitted_source(profile), data, folder, seconds)
    describe(setting, card_line)
    setting, start_s, cold, warm = asyncio.run(experiments(setting, deadline))
    plain = plain_loop(setting, deadline)
    report(setting, card_name, start_s, cold, warm, plain)
    say(f"Measured in {LIMIT_S - deadline.left:.0f} s.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--profile", choices=tuple(profiles.PROFILES), help="default: the card's; tiny on a CPU")
    parser.add_argument("--seconds", type=float, help="of training in each experiment; default: 12, 2 on a CPU")
    options = parser.parse_args()
    if options.seconds is not None and not 0.5 <= options.seconds <= 60:
        parser.error("--seconds must lie between 0.5 and 60.")
    if options.device == "cuda" and (lack := lacking("cuda", len(stats.gpu_memory()))):
        print(f"Nothing was measured: {lack}. --device cpu tries the benchmark without a card.", file=sys.stderr)
        return 2
    default = default_profile("cuda")[1] if options.device == "cuda" else profiles.named("tiny")
    profile = profiles.named(options.profile) if options.profile else default
    with tempfile.TemporaryDirectory(prefix="autoresearch-benchmark-") as folder:
        try:
            run(options.device, profile, options.seconds or SECONDS[options.device], Path(folder))
        except Unmeasured as error:
            print(f"{error} Nothing was kept; `make doctor` looks for what is missing.", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
