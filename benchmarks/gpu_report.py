"""The report of gpu.py: figures computed from its experiments, as tables."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import figures
import flops
from gpu_experiments import Experiment, Setting, say

from core.machine.project import torch_build

FULL_BUDGET_S, AIM = 300.0, 0.92
NOT_A_GPU = (
    "These are not GPU figures: the device is the CPU and the shapes are tiny. They only show that the benchmark works."
)
UPSTREAM = """\
To compare: autoresearch's published run on one H100 has 1,665,000 tokens/s and 39.8% MFU by the same formula (8 layers of width 512,
2048 positions, windows SSSL by Flash Attention 3, 128 rows, 2^19 tokens a step, 953 steps and 45.1 GB in 300 s)."""


def evaluation_seconds(cold: Experiment, warm: Experiment | None, tokens: int) -> float:
    """Extrapolate the seconds of an evaluation of `tokens` tokens linearly from the measured ones."""
    one, size = cold.parts["evaluation"], cold.evaluation_tokens
    if warm is not None and warm.parts["evaluation"] > one and warm.evaluation_tokens > size:
        per_token = (warm.parts["evaluation"] - one) / (warm.evaluation_tokens - size)
        return one + per_token * (tokens - size)
    return one * tokens / size


def share_in_training(fixed_s: float, evaluation_s: float, budget_s: float = FULL_BUDGET_S) -> float:
    """Return the share of an experiment's wall time that is training, at a budget in seconds."""
    return budget_s / (budget_s + fixed_s + evaluation_s)


@dataclass(frozen=True)
class Speed:
    """A column of the table of speeds."""

    name: str
    tokens_per_s: float
    setup_s: float
    peak_memory: float  # bytes; 0 if it was not measured


def speeds(cold: Experiment, warm: Experiment | None, plain: dict[str, Any] | str) -> list[Speed]:
    """Return the measured speeds of the harness, of train.py without it, and of a plain loop."""
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


def table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows as aligned columns. The first column is left-aligned."""
    for line in figures.table(rows):
        say(f"  {line}")


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
