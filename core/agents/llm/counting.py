"""Detects whether a server dropped a part of the prompt, by its token count. Some servers do so without an error. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from core.agents.llm.prompt import CHARACTERS_A_TOKEN, Message

# Shares of the expected tokens below which a part is missing: by estimate, and once the ratio was measured.
DOUBTFUL, MISSING = 0.5, 0.8


class Counting:
    """Checks the token counts of one server for one model.

    Some servers do not count tokens in their cache. So a low count only matters for a prompt with a new beginning, or if the
    server is known to count all tokens.
    """

    def __init__(self) -> None:
        self._ratio = 0.0  # measured characters per token
        self._head = ""  # the beginning of the last prompt
        self._counts_all = False

    def cut(self, messages: Sequence[Message], counted: int, context: int, *, warm: bool = False) -> bool:
        """Return whether a part of the prompt was dropped.

        Args:
            messages: The prompt.
            counted: Tokens of the prompt, as the server counted them; 0 if unknown.
            context: The context length in tokens.
            warm: Whether other clients may have filled the cache.
        """
        if counted >= context - 1:
            return True
        head = messages[0]["content"]
        known, self._head = warm or head == self._head, head
        if counted <= 0:
            return False
        length = sum(len(message["content"]) for message in messages)
        expected = MISSING * length / self._ratio if self._ratio else DOUBTFUL * length / CHARACTERS_A_TOKEN
        if counted < expected:
            return self._counts_all or not known
        self._counts_all = self._counts_all or known
        self._ratio = self._ratio or length / counted
        return False
