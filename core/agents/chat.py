"""An agent that asks a language model: prompt, answer, check, again with the reason, then a simpler form. The model is behind `Chat`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from core import edits
from core.agents import bans, formats, prompt
from core.agents.base import AgentFailed, Context, Past, Understood
from core.agents.formats import TIERS, Tier
from core.agents.prompt import Message
from core.agents.spent import Spent, Stage
from core.edits import EditError, NotRead
from core.model import Data, Proposal
from core.plain import clean

TRIES = 3  # with one form of answer
DOWN_AFTER, UP_AFTER = 2, 5  # proposals in a row that failed, or fitted at once, before the form changes

Hear = Callable[[str], None]


class Answer(Data):
    """What a model said, and what it cost."""

    text: str
    prompt_tokens: int = 0
    tokens: int = 0
    cut: bool = False  # it ran into its limit


class Chat(Protocol):
    """One model behind some server. Add a kind of server by writing these."""

    name: str
    start: Tier  # the form to begin with

    async def context(self, least: int) -> int:
        """Tokens that prompt and answer may have together; the same all run long. `least` is what this task needs."""
        ...

    async def ask(self, messages: Sequence[Message], schema: dict[str, Any] | None, hear: Hear) -> Answer:
        """Stream an answer. Raises AgentFailed with a sentence for whatever goes wrong with the server."""
        ...

    async def release(self) -> None:
        """Give the GPU back, and return when it is free."""
        ...


class LanguageModel:
    """Proposes what its model says, once that applies, parses, keeps the contract and is new."""

    def __init__(self, chat: Chat, *, exclusive: bool = False) -> None:
        """`exclusive`: the model lives on the training GPU, so nothing trains while it thinks."""
        self.name = chat.name
        self.exclusive = exclusive
        self.hear: Hear = lambda text: None
        self._chat = chat

    async def propose(self, context: Context) -> Proposal:
        """Raises AgentFailed when the server fails or no form of answer could be used."""
        tier, spent = choose(_history(context.past, self.name), self._chat.start), Spent(self.name)
        reason = ""
        for form in _downwards(tier):
            try:
                proposal, reason = await self._with_form(form, context, spent)
            except prompt.TooSmall as error:
                raise AgentFailed(str(error)) from error
            if proposal is not None:
                meta = {**proposal.meta, **spent.meta, "format": form}
                return proposal.model_copy(update={"agent": self.name, "meta": meta})
        raise Unusable(
            f"{self.name} gave no usable proposal in {spent.tries} tries: {clean(reason, 200)}",
            {**spent.meta, "format": tier},
        )

    async def _with_form(self, form: Tier, context: Context, spent: Spent) -> tuple[Proposal | None, str]:
        """A checked proposal in this form, or why there is none."""
        least = prompt.estimate(context.source + context.charter) + prompt.ANSWER_TOKENS
        tokens = await self._chat.context(least)
        talk = prompt.messages(context, form, tokens)
        schema = formats.schema(form, context.source, bans.knobs_left_out(context))
        reason = ""
        for _ in range(TRIES):
            self.hear("")
            try:
                answer = await self._chat.ask(talk, schema, self.hear)
            except AgentFailed as error:
                spent.reached(form, "asked")
                error.meta = {**spent.meta, "format": form}
                raise
            stage: Stage = "answered"
            try:
                proposal = formats.parse(form, answer.text, context.source)
                stage = "applied"
                check(context, proposal)
                stage = "passed"
                return proposal, ""
            except EditError as error:
                reason = str(error)
                if stage == "answered" and not isinstance(error, NotRead):
                    stage = "parsed"
                if answer.cut:
                    reason = f"The answer was too long and was cut off. {reason}"
            finally:
                spent.reached(form, stage, answer.tokens, answer.prompt_tokens)
            talk = prompt.again(context, form, tokens, answer.text, reason)
        return None, reason

    async def told(self, context: Context) -> tuple[list[Message], str]:
        """What the model would be told for this context, and in a few words how; it is asked nothing. Raises AgentFailed."""
        form = choose(_history(context.past, self.name), self._chat.start)
        tokens = await self._chat.context(prompt.needs(context, form))
        try:
            talk = prompt.messages(context, form, tokens)
        except prompt.TooSmall as error:
            raise AgentFailed(str(error)) from error
        return talk, f"{self.name}, form of answer {form}, context of {tokens} tokens"

    async def understand(self, charter: str) -> Understood:
        """program.md in the model's own words, so that a human sees what it made of it; no words when it says nothing usable."""
        spent = Spent(self.name)
        await self._chat.context(prompt.estimate(charter) + prompt.ANSWER_TOKENS)
        answer = await self._chat.ask(prompt.restate(charter), formats.UNDERSTANDING, self.hear)
        words = formats.understanding(answer.text, charter)
        spent.reached("understanding", "passed" if words else "answered", answer.tokens, answer.prompt_tokens)
        return Understood(words=words, meta=spent.meta)

    async def release(self) -> None:
        await self._chat.release()


class Unusable(AgentFailed):
    """The model answered, but nothing that could be used; `meta` says what that cost."""

    def __init__(self, message: str, meta: dict[str, Any]) -> None:
        super().__init__(message)
        self.meta = meta


def check(context: Context, proposal: Proposal) -> None:
    """What every proposal must pass before it costs any training. Raises EditError, written for the model."""
    candidate = proposal.source if proposal.source is not None else edits.apply(context.source, proposal.edits)
    edits.gate(context.source, candidate, off_limits=bans.off_limits(context))
    fingerprint = edits.fingerprint(candidate)
    same = next(
        (past for past in context.past if past.parent == context.parent and past.fingerprint == fingerprint), None
    )
    if same is not None:
        raise EditError(
            f"This very change was tried as experiment {same.number} ({same.verdict.words}). Propose another."
        )
    if fingerprint in context.pending:
        raise EditError("This very change is being tried just now. Propose another.")
    if reason := bans.refusal(context, candidate):
        raise EditError(reason)


def _history(past: Sequence[Past], name: str) -> list[tuple[Tier, bool]]:
    """This model's proposals: the form, and whether it worked at once. From the record alone, so a resumed run remembers."""
    found: list[tuple[Tier, bool]] = []
    for p in past:
        meta = p.proposal.meta
        if meta.get("model") == name and meta.get("format") in TIERS:
            found.append((meta["format"], not meta.get("instead") and meta.get("tries", 1) == 1))
    return found


def choose(history: Sequence[tuple[Tier, bool]], start: Tier) -> Tier:
    """The form for the next proposal: down after failures in a row, up again (not beyond the start) after successes."""
    level, highest = TIERS.index(start), TIERS.index(start)
    wins = losses = 0
    for tier, fitted in history:
        if TIERS.index(tier) != level and fitted:
            losses += 1  # it came out only in a simpler form
            wins = 0
        elif fitted:
            wins, losses = wins + 1, 0
        else:
            wins, losses = 0, losses + 1
        if losses >= DOWN_AFTER and level > 0:
            level, losses = level - 1, 0
        elif wins >= UP_AFTER and level < highest:
            level, wins = level + 1, 0
    return TIERS[level]


def _downwards(tier: Tier) -> list[Tier]:
    return list(reversed(TIERS[: TIERS.index(tier) + 1]))
