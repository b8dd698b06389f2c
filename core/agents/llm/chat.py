"""The agent that asks a language model. An answer that fails the checks is returned with the reason, then in a simpler form.

The model is accessed through the protocol `Chat` of server.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from core.agents.base import AgentFailed, CharterSummary, Context, LessonsLearned
from core.agents.hooks import TextCallback, ignore
from core.agents.llm import backlog, exhausted_ideas, formats, lessons, operators, prompt, understanding
from core.agents.llm.checks import Repeated, check
from core.agents.llm.cost_counter import CostCounter
from core.agents.llm.formats import Tier
from core.agents.llm.json_objects import Schema
from core.agents.llm.material import DRAFT, Plan
from core.agents.llm.operators import Task
from core.agents.llm.prompt import Message
from core.agents.llm.questions import OnlyThoughts, Questions
from core.agents.llm.server import Answer, Chat, Timeouts, Truncated
from core.agents.llm.thinking import Setting
from core.agents.llm.tiers import TRIES, choose, downwards, history
from core.change.edits import EditError, NotRead
from core.model import Cost, Proposal, Stage
from core.text import sanitize_line

Found = TypeVar("Found")
FRAME_TOKENS = 2000  # tokens for role, answer format, task and a second try


class Unusable(AgentFailed):
    """The model's answers could not be used."""


def needs(source: str, charter: str) -> int:
    """Return the tokens that a proposal on this train.py needs without the record."""
    return prompt.estimate(source + charter) + FRAME_TOKENS + prompt.ANSWER_TOKENS


class LanguageModel:
    """Proposes a model's answer once it applies, parses, keeps the training contract and is new.

    Args:
        chat: The model.
        exclusive: Whether the model uses the GPU that trains, so that nothing trains while it proposes.
        proposal_s: Seconds for a proposal, all tries together.
    """

    def __init__(self, chat: Chat, *, exclusive: bool = False, proposal_s: float = Timeouts.proposal_s) -> None:
        self.name = chat.name
        self.exclusive = exclusive
        self.on_text: TextCallback = ignore
        self.on_phase: TextCallback = ignore
        self.on_notice: TextCallback = ignore
        self._chat, self._proposal_s = chat, proposal_s
        self._expected = 0
        self._tokens = 0  # the context length
        self._questions = Questions(chat, self)

    @property
    def _room(self) -> int:
        """Tokens of the context, as estimated: fewer than it has if the server counts more than the estimate."""
        return int(self._tokens * self._questions.scale)

    def expect(self, source: str, charter: str) -> None:
        """Note the texts of the next prompt. The first request may be a restatement, which alone needs too small a context."""
        self._expected = needs(source, charter)

    async def propose(self, context: Context) -> Proposal:
        """Ask the model for a change, in simpler and simpler answer formats.

        Raises:
            AgentFailed: The server failed, or no answer could be used.
        """
        counter = CostCounter(self.name)
        try:
            async with asyncio.timeout(self._proposal_s):
                proposal = await self._proposal(context, counter)
        except TimeoutError:
            problem = f"{self.name} gave no proposal within {_minutes(self._proposal_s)}."
            raise AgentFailed(problem, cost=counter.cost) from None
        except AgentFailed as error:
            error.cost = error.cost.updated(counter.cost)
            raise
        finally:
            self.on_phase("")
        setting = self._chat.thinking.setting
        thinking = setting.words if setting != Setting(None, prompt.ANSWER_TOKENS) else ""
        notes = proposal.notes.updated(replace(counter.cost, thinking=thinking))
        return replace(proposal, agent=self.name, notes=notes)

    async def _proposal(self, context: Context, counter: CostCounter) -> Proposal:
        await self._fit(needs(context.source, context.charter))
        tier = choose(history(context.past, self.name), self._chat.start)
        task = Task(self._plan(context, tier))
        reason, failed = "", AgentFailed
        for form in downwards(tier):
            try:
                return await self._with_form(form, context, counter, task)
            except EditError as error:
                reason, failed = str(error), Unusable
            except (prompt.TooSmall, Truncated) as error:  # a simpler format shows less of train.py
                reason, failed = str(error), AgentFailed
            task.give_up()
        if failed is AgentFailed:
            raise AgentFailed(reason)
        problem = f"{self.name} gave no usable proposal in {counter.tries} tries: {sanitize_line(reason, 200)}"
        raise Unusable(problem, cost=task.noted(Cost(format=tier)))

    def _plan(self, context: Context, tier: Tier) -> Plan:
        plan = operators.choose(context, tier)
        return plan if prompt.fits(context, tier, self._room, plan) else DRAFT

    async def _with_form(self, form: Tier, context: Context, counter: CostCounter, task: Task) -> Proposal:
        """Return a checked proposal in this answer format.

        The last try is for a draft, so that an operator costs no proposal.

        Raises:
            EditError: TRIES tries failed. It has the last reason.
        """
        talk = await self._talk(form, context, task.plan)
        left_out = exhausted_ideas.knobs_left_out(context)
        for last in range(TRIES - 1, -1, -1):
            schema = formats.schema(form, context.source, left_out, (task.plan.knob, task.plan.moves))
            answer, talk = await self._answer(form, context, talk, schema, counter, task.plan)
            stage: Stage = "answered"
            try:
                proposal = backlog.parsed(form, answer.text, context)
                stage = "applied"
                check(context, proposal)
                stage = "passed"
                return replace(proposal, notes=task.noted(replace(proposal.notes, format=form)))
            except EditError as error:
                if stage == "answered" and not isinstance(error, NotRead):
                    stage = "parsed"
                counter.repeats += isinstance(error, Repeated)
                reason = f"The answer was too long and was cut off. {error}" if answer.cut else str(error)
                if not last:
                    raise EditError(reason) from error
            finally:
                counter.count_attempt(form, stage, answer.tokens, answer.prompt_tokens)
            if last == 1:
                task.give_up()
            reply = formats.after_thoughts(answer.text) or "(nothing)"  # the client library drops empty messages
            talk = prompt.again(context, form, self._room, reply, reason, task.plan)
        raise AssertionError("the last try returns or raises")

    async def _answer(
        self, form: Tier, context: Context, talk: list[Message], schema: Schema | None, counter: CostCounter, plan: Plan
    ) -> tuple[Answer, list[Message]]:
        """Return an answer and its prompt. If the server dropped a part of the prompt, ask again with a shorter one."""
        try:
            try:
                return await self._questions.ask(talk, schema), talk
            except Truncated:
                self._questions.shorten()
                await self._enlarged()
                talk = await self._talk(form, context, plan)
                return await self._questions.ask(talk, schema), talk
        except OnlyThoughts as error:
            counter.count_attempt(form, "answered", error.tokens, error.prompt_tokens)
            raise
        except AgentFailed:
            counter.count_attempt(form, "asked")
            raise

    async def prompt_for(self, context: Context) -> tuple[list[Message], str]:
        """Return the prompt for this context and a phrase about the answer format. Does not ask the model. Raises AgentFailed."""
        await self._fit(needs(context.source, context.charter))
        form = choose(history(context.past, self.name), self._chat.start)
        try:
            plan = self._plan(context, form)
            talk = await self._talk(form, context, plan)
        except prompt.TooSmall as error:
            raise AgentFailed(str(error)) from error
        return talk, f"{self.name}, form of answer {form}, operator {plan.operator}, context of {self._tokens} tokens"

    async def _talk(self, form: Tier, context: Context, plan: Plan) -> list[Message]:
        """Return the prompt. If train.py no longer fits, the context is enlarged first. Raises TooSmall."""
        try:
            return prompt.messages(context, form, self._room, plan)
        except prompt.TooSmall:
            if not await self._enlarged():
                raise
            return prompt.messages(context, form, self._room, plan)

    async def _fit(self, least: int) -> None:
        before, self._tokens = self._tokens, await self._chat.context(int(least / self._questions.scale))
        if 0 < before < self._tokens:
            self.on_notice(
                f"train.py has outgrown the context of {before} tokens; {self.name} is given {self._tokens} from now on."
            )

    async def _enlarged(self) -> bool:
        before = self._tokens
        await self._fit(before + 1)
        return self._tokens > before

    async def understand(self, charter: str) -> CharterSummary:
        """Return program.md in the model's own words, for the human. Without words if the answer is not usable."""
        least, read = max(self._expected, needs("", charter)), partial(understanding.restated_lines, charter=charter)
        talk = prompt.restate(charter)
        sentences, cost = await self._asked("understanding", least, lambda _: talk, understanding.SCHEMA, read)
        return CharterSummary(words=sentences, cost=cost)

    async def reflect(self, context: Context) -> LessonsLearned:
        """Return what the experiments so far have taught. Without lines if the answer is not usable."""
        least = max(self._expected, needs(context.source, context.charter))
        talk = partial(lessons.messages, context)
        read = partial(lessons.learned, context=context)
        learned, cost = await self._asked("lessons", least, talk, lessons.schema(context), read)
        return replace(learned or LessonsLearned(), cost=cost)

    async def _asked(
        self,
        form: str,
        least: int,
        talk: Callable[[int], list[Message]],
        schema: Schema,
        read: Callable[[str], Found],
    ) -> tuple[Found, Cost]:
        """Ask a single question in a context of at least so many tokens. Returns what was read, and the cost.

        `read` returns nothing, such as None or (), if the answer is not usable.
        """
        counter = CostCounter(self.name)
        try:
            async with asyncio.timeout(self._proposal_s):
                await self._fit(least)
                answer = await self._questions.ask(talk(self._room), schema)
        except OnlyThoughts as error:
            counter.count_attempt(form, "answered", error.tokens, error.prompt_tokens)
            error.cost = counter.cost
            raise
        except TimeoutError:
            raise AgentFailed(f"{self.name} gave no answer ({form}) within {_minutes(self._proposal_s)}.") from None
        finally:
            self.on_phase("")
        found = read(answer.text)
        counter.count_attempt(form, "passed" if found else "answered", answer.tokens, answer.prompt_tokens)
        return found, counter.cost

    async def release(self) -> None:
        try:
            if problem := await self._chat.release(self.on_phase):
                self.on_notice(problem)
        finally:
            self.on_phase("")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"
