"""What fits which machine: a pure table. The shipped train.py is the cpu profile; the others set knobs at the fit commit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_NOISE = 0.05  # bpb


@dataclass(frozen=True)
class Profile:
    """Sizes and allowances for a kind of machine. Times in seconds (CPU seconds on a CPU)."""

    name: str
    dataset: str
    vocab_size: int
    seq_len: int
    budget_s: float
    eval_tokens: int
    score_batch: int
    noise: float  # prior standard deviation of val_bpb at noise_at seconds
    noise_at: float
    setup_s: float
    warmup_s: float
    hang_s: float
    wall_factor: float = 4.0
    knobs: Mapping[str, Any] = field(default_factory=dict)

    def noise_prior(self, budget_s: float) -> float:
        """Prior noise of one score: shorter trainings are noisier, about as the square root."""
        return min(MOST_NOISE, self.noise * math.sqrt(max(1.0, self.noise_at / budget_s)))


def _gpu(name: str, dataset: str, depth: int, width: int, seq: int, rows: int, total: int, noise: float) -> Profile:
    """Sizes of a GPU of so many gigabytes; `rows` a forward pass, `total` tokens an optimizer step.

    Learning rates are those of autoresearch, from which users with a small card and small batches moved little. It decays
    about half of the entries of a matrix, by 0.2 falling to 0 with the budget; 0.06 of all, all the time, is as much.
    """
    return Profile(
        name, dataset, 8192, seq, 300.0, 2_097_152, min(rows, 32), noise, 300.0, setup_s=60.0, warmup_s=240.0, hang_s=120.0,
        knobs={
            "DEPTH": depth, "WIDTH": width, "SEQ_LEN": seq, "BATCH_SIZE": rows, "TOTAL_BATCH": total,
            "WINDOW": seq // 2, "VALUE_EVERY": 2, "SOFTCAP": 15.0,
            "MATRIX_LR": 0.04, "EMBED_LR": 0.6, "MATRIX_DECAY": 0.06,
        },
    )  # fmt: skip


# The shipped value of every knob that a profile sets: one with another value is the user's, and stays.
SHIPPED: Mapping[str, Any] = {
    "DEPTH": 2, "WIDTH": 128, "HEAD_DIM": 128, "SEQ_LEN": 256, "BATCH_SIZE": 8, "TOTAL_BATCH": 2**11, "SOFTCAP": 0.0,
    "VALUE_EVERY": 1, "EMBED_LR": 0.2, "MATRIX_LR": 0.02, "MATRIX_DECAY": 0.0, "WINDOW": 128,
}  # fmt: skip

# Noise of a CPU: measured at 60 CPU seconds. Of a GPU: seed noise as users of autoresearch report it at 5 to 10 minutes,
# 7e-4 at the most on large ones; small ones train less in that time.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("tiny", "python", 320, 32, 0.5, 4096, 8, 0.02, 0.5, setup_s=4.0, warmup_s=0.0, hang_s=10.0, wall_factor=20.0),
        Profile("cpu", "python", 2048, 256, 60.0, 94_208, 8, 0.004, 60.0, setup_s=4.0, warmup_s=0.0, hang_s=30.0),
        Profile(  # without bf16 half the speed: one layer less is 0.1 better at 60 s, and fewer windows keep 90% in training
            "cpu-fp32", "python", 2048, 256, 60.0, 65_536, 8, 0.005, 60.0, setup_s=4.0, warmup_s=0.0, hang_s=30.0,
            knobs={"DEPTH": 1},
        ),
        Profile(
            "mps", "tinystories", 4096, 512, 300.0, 524_288, 8, 0.003, 300.0, setup_s=30.0, warmup_s=30.0, hang_s=60.0,
            knobs={"DEPTH": 4, "WIDTH": 256, "HEAD_DIM": 64, "SEQ_LEN": 512, "BATCH_SIZE": 16, "TOTAL_BATCH": 2**14,
                   "SOFTCAP": 15.0, "VALUE_EVERY": 2, "EMBED_LR": 0.3},
        ),
        # Tokens an optimizer step: 1000 to 1500 steps fit in 300 s on the usual card of that size (docs/hardware.md).
        _gpu("gpu-6", "tinystories", 6, 384, 1024, 8, 2**13, 2e-3),
        _gpu("gpu-8", "tinystories", 6, 384, 1024, 16, 2**14, 2e-3),
        _gpu("gpu-12", "tinystories", 8, 512, 1024, 16, 2**14, 2e-3),
        _gpu("gpu-16", "tinystories", 8, 512, 1024, 16, 2**15, 2e-3),
        _gpu("gpu-24", "climbmix", 8, 512, 1024, 32, 2**16, 1e-3),
        _gpu("gpu-48", "climbmix", 8, 512, 1024, 64, 2**16, 1e-3),
        _gpu("gpu-80", "climbmix", 8, 512, 2048, 64, 2**18, 7e-4),
    )
}  # fmt: skip
# What such cards report, less a reserve for the driver and for error correction: a card shows less than its name says.
LEAST_GIB = (
    ("gpu-80", 75.0),
    ("gpu-48", 38.0),  # 40 GB cards too: it needs less than half of that
    ("gpu-24", 21.5),
    ("gpu-16", 14.5),
    ("gpu-12", 11.2),  # 11 GB cards are slower
    ("gpu-8", 7.4),
    ("gpu-6", 0.0),  # below 5.6 GiB the baseline may run out of memory; then it is fitted again with half the batch
)
MOST_SLOTS, SLOT_BYTES = 4, 2 << 30
MPS_LEAST_GIB = 12  # the GPU shares its memory with everything else


def named(name: str) -> Profile:
    """The profile of that name; KeyError when there is none."""
    return PROFILES[name]


def choose(device: str, gpu_memory: int, ram: int, bf16: bool | None = None) -> Profile:
    """The profile for a device, the bytes of memory of its smallest GPU (0: unknown) and those of the machine.

    `bf16`: whether the CPU multiplies it; None where that is unknown. Raises ValueError for a device that is none.
    """
    if device == "cpu" or (device == "mps" and ram < MPS_LEAST_GIB * 2**30):
        return PROFILES["cpu-fp32" if bf16 is False else "cpu"]
    if device == "mps":
        return PROFILES["mps"]
    if device != "cuda":
        raise ValueError(f"there is no profile for a device {device!r}")
    return PROFILES[next(name for name, least in LEAST_GIB if gpu_memory >= least * 2**30)]


def applicable_knobs(profile: Profile, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the knobs to set in a train.py with these values: the profile's, but for those that the user has changed."""
    return {name: value for name, value in profile.knobs.items() if name in values and values[name] == SHIPPED[name]}


def halve_batch(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs to set after running out of memory: half the rows a forward pass; {} when that is not possible.

    Tokens an optimizer step stay the same: train.py accumulates gradients.
    """
    rows = knobs.get("BATCH_SIZE")
    return {"BATCH_SIZE": rows // 2} if isinstance(rows, int) and rows > 1 else {}


def default_slots(device: str, gpus: int, cores: int, ram: int) -> int:
    """Experiments at once: one a GPU; on a CPU physical cores less one, 1 to 4, with 2 GiB of memory each."""
    if device != "cpu":
        return max(1, gpus) if device == "cuda" else 1
    return max(1, min(MOST_SLOTS, cores - 1, ram // SLOT_BYTES))
