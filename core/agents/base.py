"""What every agent is, and what it is told. An agent sees data and returns a proposal; it never touches git or files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import field

from core.model import Proposal, Value
from core.verdicts import Verdict
from nanochat.contract.value import Data

Kind = TypeVar("Kind", bound=Data)


class PastExperiment(Data, frozen=True, kw_only=True):
    """One earlier experiment as an agent sees it."""

    number: int
    parent: str  # fingerprint of the train.py it changed
    fingerprint: str  # fingerprint (normalised AST) of the train.py it tried
    proposal: Proposal
    verdict: Verdict
    outcome: str = ""  # the verdict as a person reads it: for a discarded one worse, inconclusive or not confirmed
    crash: str = ""
    val_bpb: float | None = None
    gain: float | None = None  # paired mean improvement over its parent in bpb; positive is better
    finding: str = ""
    pairs: int = 0  # pairs of scores that `gain` is the mean of
    idea: tuple[str, ...] = ()  # the names in train.py that it touched
    constants: dict[str, tuple[Value, Value]] = field(default_factory=dict)  # those it changed: before and after
    structural: bool = False  # whether it changed anything besides constants
    facts: str = ""  # of the latest training only: its curve, speed, memory and steps against its parent's, in words


class Said(Data, frozen=True, kw_only=True):
    """What the human said: a hint, or the reason for skipping the experiment `skipped`. `number` is its own in the run."""

    number: int
    text: str
    skipped: int | None = None


class Context(Data, frozen=True, kw_only=True):
    """Everything a proposal may depend on. Deterministic agents depend on nothing else."""

    charter: str  # program.md as it stands now
    source: str  # the best train.py
    parent: str  # its fingerprint
    number: int  # the experiment this proposal would become
    seed: int
    sigma: float  # noise of one measurement, bpb
    start: float | None = None  # val_bpb of the train.py that the run began with
    best: float | None = None  # and of `source`
    params: int | None = None  # of the model that `source` makes
    past: tuple[PastExperiment, ...] = ()
    hints: tuple[str, ...] = ()  # the human's hints, newest last
    said: tuple[Said, ...] = ()  # these and the reasons for skipping, newest last
    # The changes of this train.py that are not to be proposed again: the fingerprint of each, and its experiment.
    tried: dict[str, int] = field(default_factory=dict)
    proposed: dict[str, int] = field(default_factory=dict)  # by agent: its proposals so far, repeats left out
    rejections: tuple[str, ...] = ()  # why the last tries of this very proposal were refused


class CharterSummary(Data, frozen=True, kw_only=True):
    """program.md in an agent's own words (none: it said nothing usable), and what that cost, for the ledger."""

    words: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: CharterSummary | Iterable[str]) -> CharterSummary:
        """An agent may return its words alone. Raises AgentFailed where they are none."""
        try:
            return checked(cls, given if isinstance(given, CharterSummary) else cls(words=tuple(given)))
        except TypeError as error:
            raise AgentFailed(f"What the agent returned is no restatement ({error}).") from None


class Exhausted(Exception):
    """The agent has nothing left to propose (a script at its end). The run ends well."""


class AgentFailed(Exception):
    """The agent could not propose this time; the message is a sentence for a human. The loop backs off and asks again.

    `wait_s`: how long asking is known to be in vain. `again`: the same question may well succeed the next moment.
    `meta`: what the vain tries cost.
    """

    def __init__(
        self, message: str, wait_s: float = 0.0, *, again: bool = False, meta: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.wait_s, self.again, self.meta = wait_s, again, dict(meta or {})


def checked(kind: type[Kind], given: object) -> Kind:
    """What code of anybody's making returned, each field of its type: it goes into the journal as it is. Raises AgentFailed."""
    try:
        return msgspec.json.decode(msgspec.json.encode(given), type=kind)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise AgentFailed(f"What the agent returned is no {kind.__name__} ({error}).") from None


class Agent(Protocol):
    """One method to propose, one to let go of the GPU. Add an agent by writing these two; for what it may have besides see hooks.py."""

    name: str

    async def propose(self, context: Context) -> Proposal:
        """Raise AgentFailed when nothing can be had now, Exhausted when nothing ever will."""
        ...

    async def release(self) -> None: ...
