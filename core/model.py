"""The data types that the loop, the agents and the journal share. Frozen; no I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self, get_args

import msgspec

from nanochat.contract.value import Data

Value = bool | int | float | str  # of a knob of train.py
Own = Value | None | list[Value | None] | dict[str, Value | None]  # what an agent can note under a name of its own
Stage = Literal["asked", "answered", "parsed", "applied", "passed"]  # how far an answer of a language model came
STAGES: tuple[Stage, ...] = get_args(Stage)
Operator = Literal["draft", "improve", "repair", "combine", "simplify", "ablate"]  # what a language model is asked for
OPERATORS: tuple[Operator, ...] = get_args(Operator)
ApprovalMode = Literal["auto", "ask"]  # whether proposals wait for the human
Tenancy = Literal["auto", "unload", "coresident", "cpu", "remote"]  # where a local language model runs


class Role(StrEnum):
    """What a training is for."""

    BASELINE = "baseline"  # the train.py that the run starts from, first
    CANDIDATE = "candidate"  # a proposal, on its first seed
    REPLICATE = "confirm"  # a proposal, on a further seed
    INCUMBENT = "best"  # the incumbent, on a further seed or beside a candidate
    RERUN = "rerun"  # an experiment that the human wants measured again
    FINAL = "final check"  # the start, the incumbent or a kept change, on a fresh seed, scored on the test split
    LONGER = "longer check"  # the start or the incumbent, likewise with a longer budget

    @property
    def own_folder(self) -> bool:
        """Whether the files of the training lie in the experiment's folder. For other roles they lie under 00000."""
        return self.of_candidate or self is Role.RERUN

    @property
    def of_candidate(self) -> bool:
        """Whether a proposal without a verdict is trained."""
        return self in (Role.CANDIDATE, Role.REPLICATE)

    @property
    def is_check(self) -> bool:
        """Whether the training is scored on the test split, so that no verdict may depend on it."""
        return self in (Role.FINAL, Role.LONGER)


class Edit(Data, frozen=True, kw_only=True):
    """Replace `search`, which must occur exactly once in train.py, by `replace`."""

    search: str
    replace: str


class FormCost(Data, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """How far the answers in one answer format came, and what they cost. An answer counts for each stage that it reached.

    Attributes:
        asked: Answers that were asked for.
        answered: Answers that came.
        parsed: Answers that had the right form.
        applied: Answers whose change applied to train.py.
        passed: Answers that passed all checks.
        tokens: Tokens of prompts and answers.
        seconds: Wall time.
    """

    asked: int = 0
    answered: int = 0
    parsed: int = 0
    applied: int = 0
    passed: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Cost(Data, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked of a language model or coding agent, and what that cost.

    None and "" mean that nothing was noted. Such fields are not written; a count of 0 is.

    Attributes:
        format: The answer format of the proposal. If no answer could be used, the format that was tried first.
        model: The agent that was asked, such as "ollama:qwen2.5-coder:7b".
        seconds: Wall time of all tries.
        tries: Answers that were asked for.
        tokens: Tokens of the answers, thoughts included; 0 if the server does not count them.
        prompt_tokens: Tokens of the prompts; 0 likewise.
        repeats: Tries that proposed a change that was tried before.
        forms: The cost by answer format. A restatement of program.md counts as the format "understanding".
        thinking: The setting for thinking, as a phrase, if it is not the model's usual one.
        operator: What a language model was asked for, see `Operator`. Any text, since later versions may have others.
        on: The experiments that it was asked to build on.
        dropped: The operator whose answers could not be used, so that a draft was asked for instead.
    """

    format: str = ""
    model: str = ""
    seconds: float | None = None
    tries: int | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None
    repeats: int | None = None
    forms: dict[str, FormCost] | None = None
    thinking: str = ""
    operator: str = ""
    on: tuple[int, ...] | None = None
    dropped: str = ""

    @property
    def all_tokens(self) -> int:
        """Tokens of prompts and answers."""
        return (self.tokens or 0) + (self.prompt_tokens or 0)

    def updated(self, cost: Cost) -> Self:
        """Return a copy with all that `cost` notes."""
        noted = {name: value for name in Cost.__struct_fields__ if (value := getattr(cost, name)) not in (None, "")}
        return msgspec.structs.replace(self, **noted)


class Part(Data, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """One change of a combination.

    Attributes:
        name: Its name.
        gain: The gain of it alone that a model expects, in bpb.
        error: The standard deviation of that.
        knobs: The change: constants of train.py and their new values. Earlier versions did not note it.
        edits: The change: names of ideas of the book.
    """

    name: str
    gain: float
    error: float
    knobs: dict[str, Value] = msgspec.field(default_factory=dict)
    edits: tuple[str, ...] = ()


class Notes(Cost, frozen=True, kw_only=True, omit_defaults=True):
    """What an agent notes with its proposal, for the record and for its own later proposals.

    Attributes:
        knobs: The change: constants of train.py and their new values.
        edits: The change: names of ideas of the book.
        before: The values that `knobs` had before ("from" in JSON).
        expected: The gain of a combination by the model of `search`, and the standard deviation of that, in bpb.
        parts: The changes of a combination, in order.
        without: What an ablation takes out: the number of a kept experiment, and one of its parts, or 0 for the whole.
        step: The knob of a single step and its direction, such as "DEPTH up".
        said: The wish of the human that it follows, such as "2: WIDTH up". Earlier versions noted the number alone.
        aside: The wishes that were ignored because they left nothing to try, as a phrase.
        instead: The agent that failed, so that another one proposed.
        why: Why that agent failed, as a sentence.
        line: The line of a script.
        given: The ideas of the backlog that the agent was given, from the top. The loop notes them.
        follows: The idea of the backlog that the change follows.
        later: Ideas of the agent for the backlog.
        idea: The names in train.py that the change touches. The loop notes them; none for a proposal that it refused.
        own: Anything else that an agent of your own wants to find again.
    """

    knobs: dict[str, Value] | None = None
    edits: tuple[str, ...] | None = None
    before: dict[str, Value] | None = msgspec.field(default=None, name="from")
    expected: tuple[float, float] | None = None
    parts: tuple[Part, ...] | None = None
    without: tuple[int, int] | None = None
    step: str = ""
    said: str | int | None = None
    aside: str = ""
    instead: str = ""
    why: str = ""
    line: int | None = None
    given: tuple[str, ...] | None = None
    follows: str = ""
    later: tuple[str, ...] | None = None
    idea: tuple[str, ...] | None = None
    own: dict[str, Own] | None = None


NO_COST, NO_NOTES = Cost(), Notes()


class Proposal(Data, frozen=True, kw_only=True):
    """One idea: either `edits` on the parent's train.py, or a whole new `source`. In JSON, `notes` is called "meta"."""

    hypothesis: str
    edits: tuple[Edit, ...] = ()
    source: str | None = None
    agent: str = ""
    topic: str = ""
    notes: Notes = msgspec.field(default=NO_NOTES, name="meta")


class Effect(Data, frozen=True, kw_only=True, omit_defaults=True):
    """What a change has gained in experiments of earlier runs.

    Attributes:
        gain: Its paired mean improvement over the train.py it changed, in bpb; positive is better. The mean if there were several.
        edits: Names of ideas of the book that it added.
        before: The values of the constants that it changed, before.
        after: The same after.
        step: The knob of a single step and its direction, such as "DEPTH up"; "" for other changes.
        noise: Noise of one score there, in bpb, if it was measured with another dataset, device, profile or budget. The gain then says
            little more than which ideas to try first. None if it was measured in comparable runs.
        times: The number of experiments.
    """

    gain: float
    edits: tuple[str, ...] = ()
    step: str = ""
    before: dict[str, Value] = msgspec.field(default_factory=dict)
    after: dict[str, Value] = msgspec.field(default_factory=dict)
    noise: float | None = None
    times: int = 1


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
    ray_address: str = ""  # of the cluster of the executor `ray`; "": one that is started on this machine
    compiles: bool = True  # on a GPU: whether torch.compile works; scores with and without it cannot be compared

    @property
    def computed(self) -> bool:
        """Whether scores come from a table instead of a training."""
        return self.executor.startswith("deterministic:")


class Limits(Data, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """Limits at which the loop stops by itself. None means no limit."""

    max_experiments: int | None = (
        None  # experiments of the whole run with a verdict, without skipped and interrupted ones
    )
    max_hours: float | None = None  # of work, since the start of the loop for which it was given
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
        limits = (("max_params", self.max_params), ("max_memory_gb", self.max_memory_gb), ("off_limits", names))
        return tuple(
            f"{name} {f'{value:g}' if isinstance(value, float) else value} (enforced)"
            for name, value in limits
            if value
        )
