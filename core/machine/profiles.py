"""Profiles: the sizes and times for each kind of machine. Pure.

The shipped train.py has the values of the cpu profile. Other profiles set knobs in the start commit of a run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.model import Value

DEVICES = ("cpu", "cuda", "mps")
MOST_NOISE = 0.05  # bpb


@dataclass(frozen=True)
class Profile:
    """The sizes and times for a kind of machine. Times are in seconds (CPU seconds on a CPU)."""

    name: str
    dataset: str
    vocab_size: int
    seq_len: int
    budget_s: float
    eval_tokens: int
    score_batch: int
    noise: float  # prior standard deviation of val_bpb, for a budget of `noise_at` seconds
    noise_at: float
    setup_s: float
    warmup_s: float
    hang_s: float
    wall_factor: float = 4.0
    knobs: Mapping[str, Value] = field(default_factory=dict)

    def noise_prior(self, budget_s: float) -> float:
        """Return the prior noise of one score in bpb. It grows with the inverse square root of the budget."""
        return min(MOST_NOISE, self.noise * math.sqrt(max(1.0, self.noise_at / budget_s)))


def _gpu(name: str, dataset: str, depth: int, width: int, seq: int, rows: int, total: int, noise: float) -> Profile:
    """Return the profile of a GPU. `rows` is the batch of a forward pass, `total` the tokens of an optimizer step.

    The learning rates are those of autoresearch, which users with small cards and small batches changed little. autoresearch
    decays about half of a matrix's entries, by 0.2 falling to 0 over the budget. A constant decay of 0.06 for all entries is
    about the same.
    """
    return Profile(
        name, dataset, 8192, seq, 300.0, 2_097_152, min(rows, 32), noise, 300.0, setup_s=60.0, warmup_s=240.0, hang_s=120.0,
        knobs={
            "DEPTH": depth, "WIDTH": width, "SEQ_LEN": seq, "BATCH_SIZE": rows, "TOTAL_BATCH": total,
            "WINDOW": seq // 2, "VALUE_EVERY": 2, "SOFTCAP": 15.0,
            "MATRIX_LR": 0.04, "EMBED_LR": 0.6, "MATRIX_DECAY": 0.06,
        },
    )  # fmt: skip


# The shipped values of all knobs that profiles set. A knob with another value was changed by the user and stays.
SHIPPED: Mapping[str, Value] = {
    "DEPTH": 2, "WIDTH": 128, "HEAD_DIM": 128, "SEQ_LEN": 256, "BATCH_SIZE": 8, "TOTAL_BATCH": 2**11, "SOFTCAP": 0.0,
    "VALUE_EVERY": 1, "EMBED_LR": 0.2, "MATRIX_LR": 0.02, "MATRIX_DECAY": 0.0, "WINDOW": 128,
}  # fmt: skip

# Noise on a CPU was measured at 60 s, as the scatter of scores on one seed: a pair cancels the rest of the scatter over seeds,
# which is 0.004 to 0.005 (benchmarks/README.md). Noise on a GPU is what users of autoresearch report for seeds at 5 to 10
# minutes: at most 7e-4 on large ones. It is larger on small ones, which train less in that time.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("tiny", "python", 320, 32, 0.5, 4096, 8, 0.02, 0.5, setup_s=4.0, warmup_s=0.0, hang_s=10.0, wall_factor=20.0),
        Profile("cpu", "python", 2048, 256, 60.0, 94_208, 8, 0.0022, 60.0, setup_s=4.0, warmup_s=0.0, hang_s=30.0),
        Profile(  # half the speed without bf16: one layer fewer is 0.1 better at 60 s; fewer windows keep 90% for training
            "cpu-fp32", "python", 2048, 256, 60.0, 65_536, 8, 0.0025, 60.0, setup_s=4.0, warmup_s=0.0, hang_s=30.0,
            knobs={"DEPTH": 1},
        ),
        Profile(
            "mps", "tinystories", 4096, 512, 300.0, 524_288, 8, 0.003, 300.0, setup_s=30.0, warmup_s=30.0, hang_s=60.0,
            knobs={"DEPTH": 4, "WIDTH": 256, "HEAD_DIM": 64, "SEQ_LEN": 512, "BATCH_SIZE": 16, "TOTAL_BATCH": 2**14,
                   "SOFTCAP": 15.0, "VALUE_EVERY": 2, "EMBED_LR": 0.3},
        ),
        # Tokens of an optimizer step: 1000 to 1500 steps fit into 300 s on a usual card of that size (docs/hardware.md).
        _gpu("gpu-6", "tinystories", 6, 384, 1024, 8, 2**13, 2e-3),
        _gpu("gpu-8", "tinystories", 6, 384, 1024, 16, 2**14, 2e-3),
        _gpu("gpu-12", "tinystories", 8, 512, 1024, 16, 2**14, 2e-3),
        _gpu("gpu-16", "tinystories", 8, 512, 1024, 16, 2**15, 2e-3),
        _gpu("gpu-24", "climbmix", 8, 512, 1024, 32, 2**16, 1e-3),
        _gpu("gpu-48", "climbmix", 8, 512, 1024, 64, 2**16, 1e-3),
        _gpu("gpu-80", "climbmix", 8, 512, 2048, 64, 2**18, 7e-4),
    )
}  # fmt: skip
# The memory that such cards report, less a reserve for the driver and error correction. It is less than the nominal size.
LEAST_GIB = (
    ("gpu-80", 75.0),
    ("gpu-48", 38.0),  # includes 40 GB cards, since it needs less than half of that
    ("gpu-24", 21.5),
    ("gpu-16", 14.5),
    ("gpu-12", 11.2),  # 11 GB cards are slower
    ("gpu-8", 7.4),
    ("gpu-6", 0.0),  # below 5.6 GiB the baseline may run out of memory; then the batch is halved
)
MOST_SLOTS, SLOT_BYTES = 4, 2 << 30
MPS_LEAST_GIB = 12  # the GPU shares the machine's memory


def named(name: str) -> Profile:
    """Return the profile of that name. Raises KeyError."""
    return PROFILES[name]


def choose(device: str, gpu_memory: int, ram: int, bf16: bool | None = None) -> Profile:
    """Return the profile for a machine.

    Args:
        device: cpu, cuda or mps.
        gpu_memory: Bytes of the smallest GPU; 0 if unknown.
        ram: Bytes of the machine's memory.
        bf16: Whether the CPU multiplies bfloat16; None if unknown.

    Raises:
        ValueError: The device is unknown.
    """
    if device == "cpu" or (device == "mps" and ram < MPS_LEAST_GIB * 2**30):
        return PROFILES["cpu-fp32" if bf16 is False else "cpu"]
    if device == "mps":
        return PROFILES["mps"]
    if device != "cuda":
        raise ValueError(f"there is no profile for a device {device!r}")
    return PROFILES[next(name for name, least in LEAST_GIB if gpu_memory >= least * 2**30)]


def applicable_knobs(profile: Profile, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the profile's knobs to set in a train.py with these values, without those that the user has changed."""
    return {name: value for name, value in profile.knobs.items() if name in values and values[name] == SHIPPED[name]}


def halve_batch(knobs: Mapping[str, Value]) -> dict[str, Value]:
    """Return the knobs to set after running out of memory: half the rows of a forward pass, or {} if that is not possible.

    The tokens of an optimizer step stay the same, since train.py accumulates gradients.
    """
    rows = knobs.get("BATCH_SIZE")
    return {"BATCH_SIZE": rows // 2} if isinstance(rows, int) and rows > 1 else {}


def default_slots(device: str, gpus: int, cores: int, threads: int, ram: int) -> int:
    """Return the default number of parallel experiments.

    That is one for each GPU. On a CPU it is the number of physical cores minus one, between 1 and 4, with 2 GiB of memory each.
    Two threads are enough for two experiments: the loop and the app need little, and a training that waits for a core is not
    charged for it (figures: `truth.py --slots-compare` in benchmarks/README.md). A virtual machine often reports two cores as
    two threads of one.

    Args:
        device: cpu, cuda or mps.
        gpus: The usable GPUs.
        cores: The usable physical cores.
        threads: The usable logical cores.
        ram: Memory in bytes.
    """
    if device != "cpu":
        return max(1, gpus) if device == "cuda" else 1
    return max(1, min(MOST_SLOTS, max(cores - 1, min(2, threads)), ram // SLOT_BYTES))
