"""The nouns of AutoResearch, as plain frozen data. No I/O, no behaviour beyond small derived facts."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every value object: frozen, JSON in and out. What comes from outside is checked where it is decoded."""


class Verdict(StrEnum):
    """How an experiment ended. One value for each thing a human would want to tell apart."""

    KEEP = "keep"
    SIMPLIFICATION = "simplification"
    DISCARD = "discard"
    CRASH = "crash"
    TIMEOUT = "timeout"
    OVERRUN = "overrun"
    INVALID = "invalid"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"
    CONFLICT = "conflict"
    DISTURBED = "disturbed"

    @property
    def kept(self) -> bool:
        return self in _KEPT

    @property
    def failed(self) -> bool:
        """Whether its own code kept it from a score."""
        return self in _FAILED

    @property
    def tried(self) -> bool:
        """Whether it says something of the idea, or of its code: what was not run to its end was not tried."""
        return self not in _UNTRIED

    @property
    def may_repeat(self) -> bool:
        """Whether the same change may come again: nothing was learnt about it, and nobody turned it down."""
        return self in _MAY_REPEAT

    @property
    def words(self) -> str:
        """What a person reads."""
        return {Verdict.INVALID: "broke a rule", Verdict.TIMEOUT: "out of time"}.get(self, self.value)

    @property
    def upstream(self) -> Literal["keep", "discard", "crash"]:
        """The verdict in autoresearch's own three words, for results.tsv."""
        if self.kept:
            return "keep"
        return "crash" if self.failed else "discard"


_KEPT = frozenset({Verdict.KEEP, Verdict.SIMPLIFICATION})
_FAILED = frozenset({Verdict.CRASH, Verdict.TIMEOUT, Verdict.OVERRUN, Verdict.INVALID})
_MAY_REPEAT = frozenset({Verdict.INTERRUPTED, Verdict.CONFLICT, Verdict.DISTURBED})
_UNTRIED = _MAY_REPEAT | {Verdict.SKIPPED}


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


class Edit(Data, frozen=True, kw_only=True):
    """Replace `search`, which must occur exactly once in train.py, by `replace`."""

    search: str
    replace: str


class Proposal(Data, frozen=True, kw_only=True):
    """One idea: either `edits` on the parent's train.py, or a whole new `source`."""

    hypothesis: str
    edits: tuple[Edit, ...] = ()
    source: str | None = None
    agent: str = ""
    topic: str = ""
    meta: dict[str, Any] = msgspec.field(default_factory=dict)  # the agent's own notes (e.g. knob values), JSON only


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


class Speed(Data, frozen=True, kw_only=True):
    """How fast the machine was while a training ran, as told by the gauge (nanochat/gauge.py)."""

    reference_s: float  # seconds that one reading of the gauge took when the run's reference was taken
    mean: float  # reference seconds per second of the budget's clock: 1 is as fast as at the reference
    spread: float  # standard deviation of the readings' speeds, as a fraction of their mean
    busy: float  # wall seconds per CPU second of the readings: above 1 others used the same core
    readings: int


class Outcome(StrEnum):
    """What the harness says happened to one job."""

    SCORED = "scored"
    CRASH = "crash"
    TIMEOUT = "timeout"
    OVERRUN = "overrun"
    INVALID = "invalid"
    INTERRUPTED = "interrupted"


class Result(Data, frozen=True, kw_only=True):
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
    others: int = 0  # bytes of the GPU that other processes held, at the most
    held_down: float = 0.0  # share of the training in which the GPU's clock was held down (heat, power brake)
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


class Measurement(Data, frozen=True, kw_only=True):
    """One scored training of one commit under one seed."""

    commit: str
    seed: int
    val_bpb: float


class RunConfig(Data, frozen=True, kw_only=True):
    """The header of a run: what must not change while it is continued."""

    name: str
    dataset: str
    data: str  # folder of prepared data
    fingerprint: str
    device: str
    profile: str
    budget_s: float
    seq_len: int
    vocab_size: int
    eval_tokens: int
    seed: int
    slots: int
    base_commit: str
    noise_prior: float
    agent: str = "search"
    gate: Literal["auto", "ask"] = "auto"
    own_code: bool = True  # it starts from a train.py of the user's, not from one that a run kept
    compiles: bool = True  # on a GPU: torch.compile worked when it began; scores with and without it cannot be compared


class Limits(Data, frozen=True, kw_only=True):
    """When a start of the loop ends by itself. None: never."""

    max_experiments: int | None = None
    max_hours: float | None = None
    max_crashes_in_a_row: int = 20
