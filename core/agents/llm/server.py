"""What a server of language models does for the agent: the protocol `Chat`, its answers, time limits and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from core.agents.base import AgentFailed
from core.agents.hooks import TextCallback
from core.agents.llm.formats import Tier
from core.agents.llm.json_objects import Schema
from core.agents.llm.prompt import Message
from core.agents.llm.thinking import Thinking
from nanochat.contract.value import Data

LONGEST = 200_000  # characters of an answer


class Answer(Data, frozen=True, kw_only=True):
    """A model's answer and what it cost.

    Attributes:
        text: The answer. It may contain thoughts.
        prompt_tokens: Tokens of the prompt, as the server counts them; 0 if unknown.
        tokens: Tokens of the answer, thoughts included; 0 if unknown.
        cut: Whether the answer reached its length limit.
        thought: Whether the server returned thoughts separately from the text.
    """

    text: str
    prompt_tokens: int = 0
    tokens: int = 0
    cut: bool = False
    thought: bool = False


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds."""

    connect_s: float = 5.0  # for a connection
    first_s: float = 600.0  # for the first words of an answer
    idle_s: float = 60.0  # between words
    answer_s: float = 900.0  # for an answer
    proposal_s: float = 1800.0  # for a proposal, all tries together
    unload_s: float = 30.0  # until a model is unloaded
    freed_s: float = 8.0  # until its memory is free


class Chat(Protocol):
    """A model on a server. Implement this for another kind of server.

    Attributes:
        name: The name of the agent, such as "ollama:qwen2.5-coder:7b".
        start: The answer format to begin with. Valid after the first call of `context`.
        thinking: How much the model is asked to think. Valid after the first call of `context`.
    """

    name: str
    start: Tier
    thinking: Thinking

    async def context(self, least: int) -> int:
        """Return the context length: the tokens that prompt and answer may have together.

        It stays the same during a run, except for one enlargement when the task no longer fits.

        Args:
            least: The tokens that the task needs.

        Raises:
            AgentFailed: The server cannot be asked.
        """
        ...

    async def ask(self, messages: Sequence[Message], schema: Schema | None, on_text: TextCallback) -> Answer:
        """Ask the model and stream its answer.

        Args:
            messages: The conversation.
            schema: The JSON schema of the answer, or None for text.
            on_text: Called with the text so far.

        Raises:
            LevelRefused: The server does not accept the present setting of `thinking`.
            Truncated: The model saw only a part of the prompt.
            AgentFailed: Anything else failed. `again` says that the same question may succeed at once.
        """
        ...

    async def release(self, phase: TextCallback) -> str:
        """Unload the model from the GPU. Returns once its memory is free.

        Args:
            phase: Called with what is being done, in a few words.

        Returns:
            A notice for the human; "" for none.
        """
        ...


class Truncated(AgentFailed):
    """The model saw only a part of the prompt."""


class LevelRefused(AgentFailed):
    """The server or the model does not accept the setting for thinking."""
