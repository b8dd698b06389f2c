"""Whether a server saw the whole prompt. A server with too small a context answers all the same, so its count is looked at. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from core.agents.llm.prompt import CHARACTERS_A_TOKEN, Message

DOUBTFUL, MISSING = 0.5, 0.8  # of the tokens that are expected: by the estimate, and once the ratio was measured


class Counting:
    """The tokens that one server counts for one model.

    Some servers leave out what they have in their cache, so a low count means something only for a prompt that begins afresh,
    or of a server that is known to count everything.
    """

    def __init__(self) -> None:
        self._ratio = 0.0  # characters a token, as measured
        self._head = ""  # how the last prompt began
        self._counts_all = False

    def cut(self, messages: Sequence[Message], counted: int, context: int, *, warm: bool = False) -> bool:
        """Whether part of this prompt was dropped. `warm`: others may have filled the cache."""
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
