"""What fits which machine: a pure table. The shipped train.py is the cpu profile; the others set knobs at the fit commit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
        return min(0.05, self.noise * math.sqrt(max(1.0, self.noise_at / budget_s)))


def _gpu(name: str, batch: int, depth: int, width: int, noise: float, dataset: str = "tinystories") -> Profile:
    return Profile(
        name, dataset, 8192, 1024, 300.0, 2_097_152, batch, noise, 300.0, 60.0, 240.0, 120.0,
        knobs={"DEPTH": depth, "WIDTH": width, "HEAD_DIM": 128, "SEQ_LEN": 1024, "BATCH_SIZE": batch, "TOTAL_BATCH": 2**17},
    )  # fmt: skip


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("tiny", "python", 320, 32, 0.5, 4096, 8, 0.02, 0.5, 4.0, 0.0, 10.0, 20.0),
        Profile("cpu", "python", 2048, 256, 60.0, 94_208, 8, 0.008, 60.0, 4.0, 0.0, 30.0),
        Profile("mps", "tinystories", 4096, 512, 300.0, 524_288, 8, 0.003, 300.0, 30.0, 30.0, 60.0),
        _gpu("gpu-8", 16, 6, 384, 2e-3),
        _gpu("gpu-12", 32, 8, 512, 2e-3),
        _gpu("gpu-24", 64, 8, 512, 1e-3, "climbmix"),
        _gpu("gpu-80", 128, 8, 512, 7e-4, "climbmix"),
    )
}


def named(name: str) -> Profile:
    """The profile of that name; KeyError when there is none."""
    return PROFILES[name]


def choose(device: str, gpu_memory: int, ram: int) -> Profile:
    """The profile for a device and the bytes of memory of its smallest GPU."""
    del ram
    if device == "cpu":
        return PROFILES["cpu"]
    if device == "mps":
        return PROFILES["mps"]
    gigabytes = gpu_memory / 2**30
    return PROFILES[
        next(
            name for name, least in (("gpu-80", 60), ("gpu-24", 20), ("gpu-12", 11), ("gpu-8", 0)) if gigabytes >= least
        )
    ]


def halve_batch(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs to set after running out of memory: half the rows a forward pass; {} when that is not possible."""
    rows = knobs.get("BATCH_SIZE")
    return {"BATCH_SIZE": rows // 2} if isinstance(rows, int) and rows > 1 else {}


def default_slots(device: str, gpus: int, cores: int, ram: int) -> int:
    """Experiments at once: one a GPU; on a CPU physical cores less one, 1 to 4, with 2 GB of memory each."""
    if device == "cuda":
        return max(1, gpus)
    return max(1, min(4, cores - 1, ram // 2**31)) if device == "cpu" else 1


__all__ = ["PROFILES", "Profile", "choose", "default_slots", "halve_batch", "named"]
