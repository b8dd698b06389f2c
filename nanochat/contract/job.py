"""The request and the result of one training with its scoring, as plain data."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from nanochat.contract.value import Data


class CrashClass(StrEnum):
    """The kind of a crash. A result with Outcome.CRASH has exactly one."""

    SYNTAX = "syntax"
    IMPORT = "import"
    EXCEPTION = "exception"
    OUT_OF_MEMORY = "out-of-memory"
    NON_FINITE = "non-finite"
    CONTRACT = "contract"
    OUTPUT_SHAPE = "output shape"
    HANG = "hang"


class Outcome(StrEnum):
    """How a job ended."""

    SCORED = "scored"
    CRASH = "crash"
    TIMEOUT = "timeout"
    OVERRUN = "overrun"
    INVALID = "invalid"
    INTERRUPTED = "interrupted"


class Job(Data, frozen=True, kw_only=True, omit_defaults=True):
    """The request for one training and its scoring: plain data, one JSON object.

    Fields with their default are not sent. So a harness of an earlier version understands jobs that do not use a newer field.
    """

    id: str
    source: str  # path of the train.py to run
    out: str  # folder for metrics.jsonl, output.txt and nats.npy
    data: str  # folder of the prepared dataset
    device: str = "cpu"
    seed: int = 0
    budget_s: float = 60.0  # CPU seconds on a CPU, wall seconds on a GPU; reference seconds where the gauge runs
    gauge: bool = True  # whether the clock corrects for the machine's speed
    reference_s: float | None = None  # seconds of a gauge reading, as in `Speed`; None: this training is the reference
    wall_factor: float = 4.0  # on a CPU the wall-time limit is budget_s * wall_factor + hang_s
    setup_s: float = 4.0  # free set-up before the clock (same unit as budget_s)
    warmup_s: float = 0.0  # free warm-up before the clock
    scoring_s: float | None = None  # free scoring time; None: scoring is measured but not charged (the baseline)
    hang_s: float = 30.0  # wall seconds without a step that count as a hang
    seq_len: int = 256  # scoring length
    eval_tokens: int = 94_208
    score_batch: int = 8
    split: Literal["val", "test"] = "val"
    memory_limit: int | None = None  # bytes, for the trainer and its children together
    output_limit: int = 1_000_000  # bytes of stdout and stderr that are kept
    max_params: int | None = None
    reference: str | None = None  # path of nats.npy of an earlier scored run: float32 (windows, seq_len)
    preflight: bool = True
    compiled: str | None = None  # folder of compiled kernels; the trainer gets a copy
    keep_compiled: bool = False  # whether a scored job copies its compiled kernels to `out`/compiled
    keep_weights: bool = (
        False  # whether a scored job copies its weights to `out`/model.safetensors: only an export does
    )


class Speed(Data, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The machine's speed during a training, measured by the gauge (nanochat/harness/gauge.py)."""

    reference_s: float  # CPU seconds of a gauge reading, the mean over the run's first training
    mean: float  # reference seconds per second used; 1 is the speed at the reference
    spread: float  # standard deviation of the readings' speeds, as a fraction of their mean
    busy: float  # 1 + seconds that the trainer waited for a core per CPU second; above 1 others used the same core
    readings: int
    stopped_s: float = 0.0  # wall seconds that the trainer was stopped for the readings


class Result(Data, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """The result of a Job."""

    job: str
    outcome: Outcome
    reason: str = ""  # one sentence for the user
    crash: CrashClass | None = None
    traceback: str = ""  # last lines that concern train.py, without control characters
    val_bpb: float | None = None  # only with SCORED
    params: int | None = None
    steps: int = 0
    tokens: int = 0  # training tokens served
    charged_s: float = 0.0  # seconds charged to the budget
    cpu_s: float = 0.0  # CPU seconds of the trainer and its descendants while the clock ran
    wall_s: float = 0.0  # wall seconds while the clock ran
    score_s: float = 0.0  # seconds of answering the evaluation, in the budget's unit
    peak_memory: int = 0  # bytes; of GPU memory if the driver reports it
    other_gpu_bytes: int = 0  # peak bytes of GPU memory held by other processes
    throttled_share: float = 0.0  # share of the training in which the GPU's clock was throttled (heat, power brake)
    total_wall_s: float = 0.0
    parts: dict[str, float] = msgspec.field(default_factory=dict)  # wall seconds by part; "training" includes "setup"
    pace: tuple[float, ...] = ()  # steps per charged second in each quarter of the training
    speed: Speed | None = None  # None: not measured
    unmeasured: str = ""  # why the gauge could not run, as a clause
    suspended_s: float = 0.0  # seconds that the machine was suspended during the job
    final_loss: float | None = None
    probes: dict[str, float] = msgspec.field(default_factory=dict)
    unprotected: tuple[str, ...] = ()  # parts of the sandbox that this machine lacks
    signal: int = 0  # signal that ended the trainer, or the scorer of an interrupted job; 0: none
