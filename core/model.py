"""The data types that the loop, the agents and the journal share. Frozen; no I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from nanochat.contract.value import Data

Value = bool | int | float | str  # of a knob of train.py
ApprovalMode = Literal["auto", "ask"]  # whether proposals wait for the human


class Role(StrEnum):
    """What a training is for."""

    BASELINE = "baseline"  # the train.py that the run starts from, first
    CANDIDATE = "candidate"  # a proposal, on its first seed
    REPLICATE = "confirm"  # a proposal, on a further seed
    INCUMBENT = "best"  # the incumbent, on a further seed or beside a candidate
    RERUN = "rerun"  # an experiment that the human wants measured again
    FINAL = "final check"  # the start or the incumbent, on a fresh seed, scored on the test split

    @property
    def own_folder(self) -> bool:
        """Whether the files of the training lie in the experiment's folder. For other roles they lie under 00000."""
        return self in (Role.CANDIDATE, Role.REPLICATE, Role.RERUN)


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


class RunConfig(Data, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The settings of a run, recorded in its header. They stay the same when the run is continued."""

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
    approval: ApprovalMode = "auto"
    own_code: bool = True  # it starts from the user's train.py, not from one that another run kept
    executor: str = "local"  # where trainings run; for others see core/execution/registry.py
    compiles: bool = True  # on a GPU: whether torch.compile works; scores with and without it cannot be compared

    @property
    def computed(self) -> bool:
        """Whether scores come from a table instead of a training."""
        return self.executor.startswith("deterministic:")


class Limits(Data, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """Limits at which the loop stops by itself. None means no limit."""

    max_experiments: int | None = None  # verdicts of the whole run, without interrupted experiments
    max_hours: float | None = None  # since this start of the loop
    max_crashes_in_a_row: int = 20


class CharterLimits(Data, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """Limits from the front matter of program.md. The loop enforces them for every agent.

    Attributes:
        max_params: Largest number of parameters of a model, None for no limit.
        max_memory_gb: Most memory of a training, in GB of 10**9 bytes, None for no limit.
        off_limits: Names of train.py that no experiment may change.
    """

    max_params: int | None = None
    max_memory_gb: float | None = None
    off_limits: tuple[str, ...] = ()

    def words(self) -> tuple[str, ...]:
        """Return a phrase for each limit that is set."""
        names = ", ".join(self.off_limits)
        found = (("max_params", self.max_params), ("max_memory_gb", self.max_memory_gb), ("off_limits", names))
        return tuple(
            f"{name} {f'{value:g}' if isinstance(value, float) else value} (enforced)" for name, value in found if value
        )
