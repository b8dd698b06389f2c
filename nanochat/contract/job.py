"""One training and its scoring as plain data: what is to be done, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from nanochat.contract.value import Data


class CrashClass(StrEnum):
    """What kind of crash; a crash always has exactly one."""

    SYNTAX = "syntax"
    IMPORT = "import"
    EXCEPTION = "exception"
    OUT_OF_MEMORY = "out-of-memory"
    NON_FINITE = "non-finite"
    CONTRACT = "contract"
    OUTPUT_SHAPE = "output shape"
    HANG = "hang"


class Outcome(StrEnum):
    """What the harness says happened to one job."""

    SCORED = "scored"
    CRASH = "crash"
    TIMEOUT = "timeout"
    OVERRUN = "overrun"
    INVALID = "invalid"
    INTERRUPTED = "interrupted"


class Job(Data, frozen=True, kw_only=True):
    """One training plus scoring, as the harness takes it: plain data, one JSON object."""

    id: str
    source: str  # path of the train.py to run
    out: str  # folder of this attempt: metrics.jsonl, output.txt and nats.npy are written there
    data: str  # folder of the prepared dataset
    device: str = "cpu"
    seed: int = 0
    budget_s: float = 60.0  # CPU seconds on a CPU, wall seconds on a GPU; reference seconds where the gauge runs
    gauge: bool = True  # whether the machine's speed is measured and taken out
    reference_s: float | None = None  # of the gauge, as in `Speed`; None: taken anew before this training
    wall_factor: float = 4.0  # on a CPU: wall cap = budget_s * wall_factor
    setup_s: float = 4.0  # free set-up before the clock (same unit as budget_s)
    warmup_s: float = 0.0  # free warm-up before the clock
    scoring_s: float | None = None  # free scoring time; None: measured but not charged (the baseline)
    hang_s: float = 30.0  # no step for so many wall seconds = hang
    seq_len: int = 256  # scoring length
    eval_tokens: int = 94_208
    score_batch: int = 8
    split: Literal["val", "test"] = "val"
    memory_limit: int | None = None  # bytes, the trainer and its children together
    output_limit: int = 1_000_000  # bytes of stdout + stderr kept
    max_params: int | None = None
    reference: str | None = None  # nats.npy of an earlier honest run on the same windows (float32, eval_tokens)
    preflight: bool = True
    compiled: str | None = None  # folder of compiled kernels that the trainer gets a copy of
    keep_compiled: bool = False  # whether a scored job leaves its compiled kernels in `out`/compiled


class Speed(Data, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """How fast the machine was while a training ran, as told by the gauge (nanochat/harness/gauge.py)."""

    reference_s: float  # seconds that one reading of the gauge took when the run's reference was taken
    mean: float  # reference seconds per second of the budget's clock: 1 is as fast as at the reference
    spread: float  # standard deviation of the readings' speeds, as a fraction of their mean
    busy: float  # 1 + seconds that the trainer waited for a core per CPU second: above 1 others used the same core
    readings: int


class Result(Data, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """The harness' answer to a Job: the last line it prints for it."""

    job: str
    outcome: Outcome
    reason: str = ""  # one sentence a human understands
    crash: CrashClass | None = None
    traceback: str = ""  # the filtered last lines, sanitised
    val_bpb: float | None = None  # only with SCORED
    params: int | None = None
    steps: int = 0
    tokens: int = 0  # training tokens served
    charged_s: float = 0.0  # seconds charged to the budget
    cpu_s: float = 0.0  # CPU seconds of the trainer and its descendants while the clock ran
    wall_s: float = 0.0  # wall seconds while the clock ran
    score_s: float = 0.0  # seconds of answering, in the budget's unit
    peak_memory: int = 0  # bytes; on a GPU the device's, where the driver tells
    other_gpu_bytes: int = 0  # bytes of the GPU that other processes held, at the most
    throttled_share: float = 0.0  # share of the training in which the GPU's clock was held down (heat, power brake)
    total_wall_s: float = 0.0
    parts: dict[str, float] = msgspec.field(
        default_factory=dict
    )  # wall seconds by part: preflight, fork, setup, training, ...
    pace: tuple[float, ...] = ()  # steps per charged second in each quarter of the training
    speed: Speed | None = None  # None: not measured
    unmeasured: str = ""  # why the gauge could not run, as a clause
    suspended_s: float = 0.0  # the machine slept so long meanwhile
    final_loss: float | None = None
    probes: dict[str, float] = msgspec.field(default_factory=dict)
    unprotected: tuple[str, ...] = ()  # parts of the sandbox that this machine lacks
    signal: int = 0  # the number of the signal that ended the trainer, or the scorer of an interrupted job; 0: none did
