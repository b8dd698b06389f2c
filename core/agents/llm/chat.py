"""An agent that asks a language model: prompt, answer, check, again with the reason, then a simpler form. The model is behind `Chat`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec.structs import replace

from core.agents.base import AgentFailed, CharterSummary, Context
from core.agents.hooks import TextCallback, ignore
from core.agents.llm import exhausted_ideas, formats, prompt, understanding
from core.agents.llm.formats import Tier
from core.agents.llm.prompt import Message
from core.agents.llm.spent import Spent, Stage
from core.agents.llm.thinking import Setting, Thinking
from core.agents.llm.tiers import TRIES, choose, downwards, history
from core.change import edits
from core.change.edits import EditError, NotRead
from core.model import Proposal
from core.text import sanitize_line
from nanochat.contract.value import Data

FRAME_TOKENS = 2000  # role, form, task, and a second try
PAUSES_S = (0.5, 2.0)  # before the same question is asked again, when the server only stumbled
LEAST_SCALE, LONG = 0.5, 2000  # how far a count is believed, and of how many characters
SHORTER = 0.8  # of the prompt, after a part of it was dropped
LONGEST = 200_000  # characters of an answer


class Answer(Data, frozen=True, kw_only=True):
    """What a model said, and what it cost."""

    text: str
    prompt_tokens: int = 0
    tokens: int = 0
    cut: bool = False  # it ran into its limit
    thought: bool = False  # thoughts came beside the text


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds: to reach a server, for the first words, between words, for an answer, for a proposal, and
    until a model has left and its memory is free."""

    connect_s: float = 5.0
    first_s: float = 600.0
    idle_s: float = 60.0
    answer_s: float = 900.0
    proposal_s: float = 1800.0
    unload_s: float = 30.0
    freed_s: float = 8.0


class Chat(Protocol):
    """One model behind some server. Add a kind of server by writing these."""

    name: str
    start: Tier  # the form to begin with; known once `context` was asked
    thinking: Thinking  # what `ask` says of thinking; known then too

    async def context(self, least: int) -> int:
        """Tokens that prompt and answer may have together. The same all run long, but for one enlargement when `least`, which
        is what the task needs, has outgrown it."""
        ...

    async def ask(self, messages: Sequence[Message], schema: dict[str, Any] | None, on_text: TextCallback) -> Answer:
        """Stream an answer. Raises LevelRefused where the server cannot be asked with this setting of `thinking`, and AgentFailed
        with a sentence for whatever else goes wrong with it."""
        ...

    async def release(self, phase: TextCallback) -> str:
        """Give the GPU back, and return when it is free. Returns what a human should know, or nothing."""
        ...


class Truncated(AgentFailed):
    """The model saw only a part of the prompt."""


class LevelRefused(AgentFailed):
    """The server or the model does not know what a question says of thinking."""


class OnlyThoughts(AgentFailed):
    """The model thought and did not answer, however it was asked. `tokens` and `prompt_tokens` are what that took."""

    def __init__(self, message: str, tokens: int, prompt_tokens: int) -> None:
        super().__init__(message)
        self.tokens, self.prompt_tokens = tokens, prompt_tokens


class Unusable(AgentFailed):
    """The model answered, but nothing that could be used."""


class Repeated(EditError):
    """The change was tried already."""


def needs(source: str, charter: str) -> int:
    """Tokens that a proposal on this train.py takes before anything is said of the record."""
    return prompt.estimate(source + charter) + FRAME_TOKENS + prompt.ANSWER_TOKENS


class LanguageModel:
    """Proposes what its model says, once that applies, parses, keeps the contract and is new."""

    def __init__(self, chat: Chat, *, exclusive: bool = False, proposal_s: float = Timeouts.proposal_s) -> None:
        """`exclusive`: the model lives on the training GPU, so nothing trains while it thinks. `proposal_s`: all tries together."""
        self.name = chat.name
        self.exclusive = exclusive
        self.on_text: TextCallback = ignore
        self.on_phase: TextCallback = ignore
        self.on_notice: TextCallback = ignore
        self._chat, self._proposal_s = chat, proposal_s
        self._expected = 0
        self._tokens = 0  # the context it is given
        self._scale = 1.0  # below 1 where the server counts more tokens than the estimate

    def expect(self, source: str, charter: str) -> None:
        """What the context is for; the restating of program.md alone would choose too small a one."""
        self._expected = needs(source, charter)

    async def propose(self, context: Context) -> Proposal:
        """Raises AgentFailed when the server fails or no form of answer could be used."""
        spent = Spent(self.name)
        try:
            async with asyncio.timeout(self._proposal_s):
                proposal = await self._proposal(context, spent)
        except TimeoutError:
            words = f"{self.name} gave no proposal within {_minutes(self._proposal_s)}."
            raise AgentFailed(words, meta=spent.meta) from None
        except AgentFailed as error:
            error.meta = {**error.meta, **spent.meta}
            raise
        finally:
            self.on_phase("")
        setting = self._chat.thinking.setting
        told = {"thinking": setting.words} if setting != Setting(None, prompt.ANSWER_TOKENS) else {}
        return replace(proposal, agent=self.name, meta={**proposal.meta, **spent.meta, **told})

    async def _proposal(self, context: Context, spent: Spent) -> Proposal:
        await self._fit(needs(context.source, context.charter))
        tier = choose(history(context.past, self.name), self._chat.start)
        reason, failed = "", AgentFailed
        for form in downwards(tier):
            try:
                return await self._with_form(form, context, spent)
            except EditError as error:
                reason, failed = str(error), Unusable
            except (prompt.TooSmall, Truncated) as error:  # a simpler form needs less of train.py
                reason, failed = str(error), AgentFailed
        if failed is AgentFailed:
            raise AgentFailed(reason)
        words = f"{self.name} gave no usable proposal in {spent.tries} tries: {sanitize_line(reason, 200)}"
        raise Unusable(words, meta={"format": tier})

    async def _with_form(self, form: Tier, context: Context, spent: Spent) -> Proposal:
        """A checked proposal in this form. Raises EditError with the last reason when there is none."""
        talk = await self._talk(form, context)
        schema = formats.schema(form, context.source, exhausted_ideas.knobs_left_out(context))
        for last in range(TRIES - 1, -1, -1):
            answer, talk = await self._answer(form, context, talk, schema, spent)
            stage: Stage = "answered"
            try:
                proposal = formats.parse(form, answer.text, context.source)
                stage = "applied"
                check(context, proposal)
                stage = "passed"
                return replace(proposal, meta={**proposal.meta, "format": form})
            except EditError as error:
                if stage == "answered" and not isinstance(error, NotRead):
                    stage = "parsed"
                spent.repeats += isinstance(error, Repeated)
                reason = f"The answer was too long and was cut off. {error}" if answer.cut else str(error)
                if not last:
                    raise EditError(reason) from error
            finally:
                spent.reached(form, stage, answer.tokens, answer.prompt_tokens)
            said = formats.after_thoughts(answer.text) or "(nothing)"  # the package leaves out an empty turn
            talk = prompt.again(context, form, int(self._tokens * self._scale), said, reason)
        raise AssertionError("the last try returns or raises")

    async def _answer(
        self, form: Tier, context: Context, talk: list[Message], schema: dict[str, Any] | None, spent: Spent
    ) -> tuple[Answer, list[Message]]:
        """An answer, and the prompt that it is to: a shorter one, with more room, where the server had dropped a part."""
        try:
            try:
                return await self._ask(talk, schema), talk
            except Truncated:
                self._scale = max(LEAST_SCALE, SHORTER * self._scale)
                await self._enlarged()
                talk = await self._talk(form, context)
                return await self._ask(talk, schema), talk
        except OnlyThoughts as error:
            spent.reached(form, "answered", error.tokens, error.prompt_tokens)
            raise
        except AgentFailed:
            spent.reached(form, "asked")
            raise

    async def prompt_for(self, context: Context) -> tuple[list[Message], str]:
        """What the model would be told for this context, and in a few words how; it is asked nothing. Raises AgentFailed."""
        await self._fit(needs(context.source, context.charter))
        form = choose(history(context.past, self.name), self._chat.start)
        try:
            talk = await self._talk(form, context)
        except prompt.TooSmall as error:
            raise AgentFailed(str(error)) from error
        return talk, f"{self.name}, form of answer {form}, context of {self._tokens} tokens"

    async def _talk(self, form: Tier, context: Context) -> list[Message]:
        """The prompt, in a context that is enlarged when train.py has outgrown it. Raises TooSmall."""
        try:
            return prompt.messages(context, form, int(self._tokens * self._scale))
        except prompt.TooSmall:
            if not await self._enlarged():
                raise
            return prompt.messages(context, form, int(self._tokens * self._scale))

    async def _fit(self, least: int) -> None:
        before, self._tokens = self._tokens, await self._chat.context(int(least / self._scale))
        if 0 < before < self._tokens:
            self.on_notice(
                f"train.py has outgrown the context of {before} tokens; {self.name} is given {self._tokens} from now on."
            )

    async def _enlarged(self) -> bool:
        before = self._tokens
        await self._fit(before + 1)
        return self._tokens > before

    async def _ask(self, talk: Sequence[Message], schema: dict[str, Any] | None) -> Answer:
        """An answer. A model that gave nothing but thoughts is asked in other ways, and for the rest of the run in the one that worked.

        Raises OnlyThoughts where none does.
        """
        tokens = prompt_tokens = 0
        first, vain = self._chat.thinking.setting, ""
        while True:
            setting = self._chat.thinking.setting
            try:
                answer = await self._asked(talk, schema)
            except LevelRefused as error:
                if not self._chat.thinking.without():
                    raise OnlyThoughts(vain or str(error), tokens, prompt_tokens) from error
                continue
            tokens, prompt_tokens = tokens + answer.tokens, prompt_tokens + answer.prompt_tokens
            silent = not formats.after_thoughts(answer.text)
            thought = answer.thought or bool(answer.text.strip()) or self._chat.thinking.expected
            if silent and not thought:  # it just says nothing, which a simpler form may change
                return answer
            if silent or (answer.cut and answer.thought):
                vain = self._vain(answer, setting) if silent else vain
                if self._chat.thinking.another():
                    continue
                if silent:
                    raise OnlyThoughts(vain, tokens, prompt_tokens)
            else:
                self._chat.thinking.worked()
                if setting != first:
                    self.on_notice(
                        f"{self.name} gave no answer with {first.words}. With {setting.words} it does, and is asked so from now on."
                    )
            return replace(answer, tokens=tokens, prompt_tokens=prompt_tokens)

    def _vain(self, answer: Answer, setting: Setting) -> str:
        if not answer.thought and not answer.text.strip():
            return f"{self.name} answered with nothing at all, last with {setting.words}."
        if answer.cut:
            used = f"all {answer.tokens} tokens" if answer.tokens else "all its tokens"
            return f"{self.name} used {used} for thinking and did not come to an answer, last with {setting.words}."
        return f"{self.name} thought and gave no answer, last with {setting.words}."

    async def _asked(self, talk: Sequence[Message], schema: dict[str, Any] | None) -> Answer:
        """What came to one question; a server that only stumbled is asked again at once."""
        for pause in (*PAUSES_S, None):
            self.on_text("")
            self.on_phase(f"asking {self.name}")
            try:
                answer = await self._chat.ask(talk, schema, self.on_text)
            except AgentFailed as error:
                if not error.again or pause is None:
                    raise
                await asyncio.sleep(pause)
                continue
            self._calibrate(sum(len(message["content"]) for message in talk), answer.prompt_tokens)
            return answer
        raise AssertionError("the last pause is none")

    def _calibrate(self, length: int, counted: int) -> None:
        """Trust the server's count where it is higher than the estimate, never where it is lower: that may be its cache."""
        if length >= LONG and counted:
            scale = length / counted / prompt.CHARACTERS_A_TOKEN
            self._scale = max(LEAST_SCALE, min(self._scale, scale))

    async def understand(self, charter: str) -> CharterSummary:
        """program.md in the model's own words, so that a human sees what it made of it; no words when it says nothing usable."""
        spent = Spent(self.name)
        try:
            async with asyncio.timeout(self._proposal_s):
                await self._fit(max(self._expected, needs("", charter)))
                answer = await self._ask(prompt.restate(charter), understanding.SCHEMA)
        except OnlyThoughts as error:
            spent.reached("understanding", "answered", error.tokens, error.prompt_tokens)
            error.meta = spent.meta
            raise
        except TimeoutError:
            raise AgentFailed(f"{self.name} did not restate program.md within {_minutes(self._proposal_s)}.") from None
        finally:
            self.on_phase("")
        words = understanding.restated_lines(answer.text, charter)
        spent.reached("understanding", "passed" if words else "answered", answer.tokens, answer.prompt_tokens)
        return CharterSummary(words=words, meta=spent.meta)

    async def release(self) -> None:
        try:
            if words := await self._chat.release(self.on_phase):
                self.on_notice(words)
        finally:
            self.on_phase("")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"


def check(context: Context, proposal: Proposal) -> None:
    """What every proposal must pass before it costs any training. Raises EditError, written for the model."""
    candidate = proposal.source if proposal.source is not None else edits.apply(context.source, proposal.edits)
    edits.validate_change(context.source, candidate, off_limits=exhausted_ideas.off_limits(context))
    fingerprint = edits.fingerprint(candidate)
    if number := context.tried.get(fingerprint):
        verdict = next((past.verdict.words for past in context.past if past.number == number), "")
        raise Repeated(
            f"This very change was tried as experiment {number}; its verdict was: {verdict}. Propose another."
            if verdict
            else f"This very change is being tried just now, as experiment {number}. Propose another."
        )
    if reason := exhausted_ideas.refusal(context, candidate):
        raise EditError(reason)
