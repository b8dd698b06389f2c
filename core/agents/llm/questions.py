"""Ask a language model one question until it answers: after failures of the server, and with other settings for thinking."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from core.agents.base import AgentFailed
from core.agents.hooks import GivesNotices, ReportsPhase, Streams
from core.agents.llm import formats, prompt
from core.agents.llm.json_objects import Schema
from core.agents.llm.prompt import Message
from core.agents.llm.server import Answer, Chat, LevelRefused
from core.agents.llm.thinking import Setting

PAUSES_S = (0.5, 2.0)  # waits before the same question is asked again after a temporary failure of the server
LEAST_SCALE, LONG = 0.5, 2000  # limit of the correction by the server's count, and the characters of a prompt to use it
SHORTER = 0.8  # factor for the length of the prompt after the server dropped a part of it


class OnlyThoughts(AgentFailed):
    """The model only returned thoughts, with all settings. `tokens` and `prompt_tokens` are what that cost."""

    def __init__(self, message: str, tokens: int, prompt_tokens: int) -> None:
        super().__init__(message)
        self.tokens, self.prompt_tokens = tokens, prompt_tokens


class Listener(Streams, ReportsPhase, GivesNotices, Protocol):
    """Has the callbacks that are called while a model answers."""


class Questions:
    """Asks a model questions, and keeps what was learnt about it.

    Args:
        chat: The model.
        listener: Has the callbacks. They may be replaced at any time.

    Attributes:
        scale: Estimated tokens for each token that the server counts; at most 1, and below 1 if the estimate is too low.
    """

    def __init__(self, chat: Chat, listener: Listener) -> None:
        self._chat, self._listener = chat, listener
        self.scale = 1.0

    def shorten(self) -> None:
        """Make the next prompts shorter, after the server has dropped a part of one."""
        self.scale = max(LEAST_SCALE, SHORTER * self.scale)

    async def ask(self, talk: Sequence[Message], schema: Schema | None) -> Answer:
        """Return an answer. If there are only thoughts, try the other settings for thinking, and keep the one that works.

        Args:
            talk: The conversation.
            schema: The JSON schema of the answer, or None for text.

        Raises:
            OnlyThoughts: No setting gives an answer.
            AgentFailed: The server failed.
        """
        name, tokens, prompt_tokens = self._chat.name, 0, 0
        first, vain = self._chat.thinking.setting, ""
        while True:
            setting = self._chat.thinking.setting
            try:
                answer = await self._answer(talk, schema)
            except LevelRefused as error:
                if not self._chat.thinking.without():
                    raise OnlyThoughts(vain or str(error), tokens, prompt_tokens) from error
                continue
            tokens, prompt_tokens = tokens + answer.tokens, prompt_tokens + answer.prompt_tokens
            silent = not formats.after_thoughts(answer.text)
            thought = answer.thought or bool(answer.text.strip()) or self._chat.thinking.expected
            if silent and not thought:  # an empty answer; a simpler format may help
                return answer
            if silent or (answer.cut and answer.thought):
                vain = _vain(name, answer, setting) if silent else vain
                if self._chat.thinking.another():
                    continue
                if silent:
                    raise OnlyThoughts(vain, tokens, prompt_tokens)
            else:
                self._chat.thinking.worked()
                if setting != first:
                    self._listener.on_notice(
                        f"{name} gave no answer with {first.words}. It answered with {setting.words}, which is used from now on."
                    )
            return replace(answer, tokens=tokens, prompt_tokens=prompt_tokens)

    async def _answer(self, talk: Sequence[Message], schema: Schema | None) -> Answer:
        """Return the answer to one question. After a temporary failure of the server it is asked again."""
        for pause in (*PAUSES_S, None):
            self._listener.on_text("")
            self._listener.on_phase(f"asking {self._chat.name}")
            try:
                answer = await self._chat.ask(talk, schema, self._listener.on_text)
            except AgentFailed as error:
                if not error.again or pause is None:
                    raise
                await asyncio.sleep(pause)
                continue
            self._calibrate(sum(len(message["content"]) for message in talk), answer.prompt_tokens)
            return answer
        raise AssertionError("the last try returns or raises")

    def _calibrate(self, length: int, counted: int) -> None:
        """Correct the estimate of tokens by the server's count if that is higher. A lower count may be due to its cache."""
        if length >= LONG and counted:
            scale = length / counted / prompt.CHARACTERS_A_TOKEN
            self.scale = max(LEAST_SCALE, min(self.scale, scale))


def _vain(name: str, answer: Answer, setting: Setting) -> str:
    """Return what an answer without content consisted of, as a sentence."""
    if not answer.thought and not answer.text.strip():
        return f"{name} answered with nothing at all, last with {setting.words}."
    if answer.cut:
        used = f"all {answer.tokens} tokens" if answer.tokens else "all its tokens"
        return f"{name} used {used} for thinking and did not come to an answer, last with {setting.words}."
    return f"{name} thought and gave no answer, last with {setting.words}."
