"""The protocol of agents, and the data they get. An agent returns a proposal; it never touches git or files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, TypeVar

import msgspec
from msgspec import field

from core.model import NO_COST, Cost, Edit, Effect, Proposal, Value
from core.verdicts import Verdict
from nanochat.contract.value import Data

Kind = TypeVar("Kind", bound=Data)
GIVEN = 5  # ideas of the backlog that a language model is shown
MOST_LATER = 2  # ideas for the backlog that a proposal may add


class SeenExperiment(Data, frozen=True, kw_only=True):
    """An experiment, as agents see it."""

    number: int
    parent: str  # fingerprint of the train.py it changed
    fingerprint: str  # fingerprint (normalised AST) of the train.py it tried
    proposal: Proposal
    idea: tuple[str, ...] = ()  # the names in train.py that it touched
    constants: dict[str, tuple[Value, Value]] = field(default_factory=dict)  # that it changed: values before and after
    structural: bool = False  # whether it changed anything besides constants
    gain: float | None = None  # paired mean improvement over its parent in bpb; positive is better. None without a pair
    error: float | None = None  # standard error of `gain`
    seeds: tuple[int, ...] = ()  # of the pairs of scores that `gain` is the mean of


class OpenExperiment(SeenExperiment, frozen=True, kw_only=True):
    """An experiment without a verdict: it waits for approval or a slot, runs, or is measured again. `gain` is that so far."""


class PastExperiment(SeenExperiment, frozen=True, kw_only=True):
    """An experiment with a verdict."""

    verdict: Verdict
    by: Literal["", "human"] = ""  # "human" if the human gave the verdict
    outcome: str = ""  # the verdict as text; for a discarded change: worse, inconclusive or not confirmed
    crash: str = ""
    val_bpb: float | None = None
    finding: str = ""
    seconds: float = 0.0  # wall time of proposing it and of its trainings
    change: tuple[Edit, ...] = ()  # as edits of its parent; only for those that may be built on, and if it is short
    traceback: str = ""  # of its failed training; the last lines
    facts: str = ""  # for the latest training only: its loss, speed, memory and steps compared with its parent's


class Hint(Data, frozen=True, kw_only=True):
    """What the human said, numbered in the run: a hint, or the reason for skipping the experiment `skipped`."""

    number: int
    text: str
    skipped: int | None = None
    at: int = 0  # the number of the next experiment when it was said


class Asked(Data, frozen=True, kw_only=True):
    """What a language model was asked for in an earlier proposal of the run, with or without a verdict."""

    number: int
    parent: str  # fingerprint of the train.py that it changed
    operator: str  # what was asked for first, see `Operator` in core/model.py
    on: tuple[int, ...] = ()  # the experiments that it was asked to build on
    usable: bool = True  # False: no answer could be used, so a draft or another agent's proposal came instead


class Context(Data, frozen=True, kw_only=True):
    """Everything that a proposal may depend on. Deterministic agents depend on nothing else.

    Attributes:
        charter: The present text of program.md.
        source: The train.py of the incumbent, which the proposal changes.
        parent: The fingerprint of `source`.
        number: The number of the experiment that this proposal would become.
        seed: The seed of the run.
        sigma: Noise of one measurement, in bpb.
        start: Mean val_bpb of the train.py that the run started from; None before it was measured.
        best: Mean val_bpb of `source`; None before it was measured.
        params: Number of parameters of the model that `source` makes; None before it was trained.
        grown: How many AST nodes `source` has more than the train.py that the run started from.
        past: All experiments with a verdict, oldest first.
        open: The experiments without a verdict, oldest first.
        asked: What language models were asked for in this run, oldest first.
        earlier: What experiments of earlier runs have gained. They began with other versions of train.py, perhaps.
        hints: The human's hints, newest last.
        all_hints: The hints and the reasons for skipping, newest last.
        backlog: The ideas of the backlog that were not tried, the most urgent first.
        own_ideas: Those of `backlog` that agents have added in this run, in the same order.
        lessons: What the run has taught so far, in the words of a language model.
        tried: Changes of `source` that must not be proposed again, as fingerprint -> experiment.
        proposed: Agent -> the number of its proposals so far, without repeats of interrupted ones.
        rejections: Why the previous tries of this proposal were rejected.
    """

    charter: str
    source: str
    parent: str
    number: int
    seed: int
    sigma: float
    start: float | None = None
    best: float | None = None
    params: int | None = None
    grown: int = 0
    past: tuple[PastExperiment, ...] = ()
    open: tuple[OpenExperiment, ...] = ()
    asked: tuple[Asked, ...] = ()
    earlier: tuple[Effect, ...] = ()
    hints: tuple[str, ...] = ()
    all_hints: tuple[Hint, ...] = ()
    backlog: tuple[str, ...] = ()
    own_ideas: tuple[str, ...] = ()
    lessons: tuple[str, ...] = ()
    tried: dict[str, int] = field(default_factory=dict)
    proposed: dict[str, int] = field(default_factory=dict)
    rejections: tuple[str, ...] = ()


class CharterSummary(Data, frozen=True, kw_only=True, omit_defaults=True):
    """program.md in an agent's own words, and what that cost. `words` is empty if the agent said nothing usable."""

    words: tuple[str, ...] = ()
    cost: Cost = NO_COST

    @classmethod
    def of(cls, given: CharterSummary | Iterable[str]) -> CharterSummary:
        """Convert what `understand` returned: a summary, or only its words. Raises AgentFailed for anything else."""
        try:
            return checked(cls, given if isinstance(given, CharterSummary) else cls(words=tuple(given)))
        except TypeError as error:
            raise AgentFailed(f"What the agent returned is not a restatement ({error}).") from None


class LessonsLearned(Data, frozen=True, kw_only=True):
    """What an agent has learned from a run, as lines, and what writing it cost. No lines if it said nothing usable.

    `order`: ideas that agents have added to the backlog, the most urgent first, if they should be in another order. Any others are ignored.
    """

    lines: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    cost: Cost = NO_COST


class Exhausted(Exception):
    """The agent has nothing left to propose, for example at the end of a script. The run is then finished."""


class AgentFailed(Exception):
    """The agent could not make a proposal now. The loop waits and asks again.

    Args:
        message: A sentence for the human.
        wait_s: Seconds in which asking again cannot succeed.
        again: Whether asking the same again at once may succeed.
        cost: What the failed tries cost. Checked, because it is written to the journal.
    """

    def __init__(self, message: str, wait_s: float = 0.0, *, again: bool = False, cost: Cost = NO_COST) -> None:
        super().__init__(message)
        self.wait_s, self.again = wait_s, again
        self.cost = cost if cost is NO_COST else checked(Cost, cost)


def checked(kind: type[Kind], given: object) -> Kind:
    """Return an object from a foreign agent, with the types of all fields checked. Raises AgentFailed.

    The check is needed because the object is written to the journal.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(given), type=kind)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise AgentFailed(f"What the agent returned is not a {kind.__name__} ({error}).") from None


class Agent(Protocol):
    """Makes proposals. For optional methods and attributes see hooks.py.

    Attributes:
        name: The name that is recorded with its proposals.
    """

    name: str

    async def propose(self, context: Context) -> Proposal:
        """Return one change to `context.source`.

        The loop checks the proposal. If it is rejected, the agent is asked again with the reason in `context.rejections`, at
        most twice.

        Raises:
            AgentFailed: No proposal is possible now. The loop waits and asks again.
            Exhausted: No further proposal is possible. The run ends.
        """
        ...

    async def release(self) -> None:
        """Free the GPU and other resources. `propose` may be called again afterwards."""
        ...
