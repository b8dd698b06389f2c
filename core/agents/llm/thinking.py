"""How much a model is asked to think before it answers, and what is tried when all it gives are thoughts. Pure.

What works depends on the model and on the server: gpt-oss knows levels and cannot stop thinking, others know on and off, and
some servers put an answer that follows a schema where the thoughts belong. So it is found out, once a run: that costs a few
questions, while a record kept across runs would be wrong after an update of the model or the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.agents.llm.prompt import ANSWER_TOKENS

Level = bool | str | None  # on, off, a level's name, or None: nothing is said of it
SOME, MUCH = 4 * ANSWER_TOKENS, 8 * ANSWER_TOKENS  # tokens of thoughts and answer together


@dataclass(frozen=True)
class Setting:
    """What a question says of thinking, and the tokens that thoughts and answer may have together."""

    level: Level
    tokens: int

    @property
    def words(self) -> str:
        level = {None: "thinking as it likes", True: "thinking on", False: "thinking off"}
        name = level[self.level] if not isinstance(self.level, str) else f"thinking at level {self.level}"
        return f"{name} and {self.tokens} tokens"


BY_LEVEL = (Setting("low", SOME), Setting("medium", MUCH), Setting(None, MUCH), Setting(False, MUCH))
ON_AND_OFF = (Setting(False, ANSWER_TOKENS), Setting("low", SOME), Setting(None, MUCH), Setting(True, MUCH))
UNKNOWN = (Setting(None, ANSWER_TOKENS), Setting(False, SOME), Setting("low", SOME), Setting(None, MUCH))

# Of an endpoint nothing is known: first as it is set up there, then by the levels of OpenAI, then by the switch of open models.
ENDPOINT = (Setting(None, ANSWER_TOKENS), Setting("low", SOME), Setting(False, SOME), Setting(None, MUCH))


def for_ollama(name: str, architecture: str, capabilities: Sequence[str]) -> tuple[Setting, ...]:
    """Return what is tried in turn with a model of Ollama, by what the server says of it."""
    if any("gptoss" in text.lower().replace("-", "").replace("_", "") for text in (name, architecture)):
        return BY_LEVEL
    return ON_AND_OFF if "thinking" in capabilities else UNKNOWN


class Thinking:
    """The setting that is used now, and what is known of the others."""

    def __init__(self, settings: tuple[Setting, ...] = UNKNOWN) -> None:
        self.expected = settings in (BY_LEVEL, ON_AND_OFF)  # the server says that the model thinks
        self._settings, self._at = list(settings), 0
        self._worked: Setting | None = None

    @property
    def setting(self) -> Setting:
        return self._settings[self._at]

    def worked(self) -> None:
        """An answer came with the present setting."""
        self._worked = self.setting

    def another(self) -> bool:
        """Choose the next setting, since this one brought no answer. Returns False when none is left.

        Then the one that worked before comes back, else the last stays: a model with which nothing works is asked once a proposal.
        """
        if self._at + 1 < len(self._settings):
            self._at += 1
            return True
        if self._worked is not None:
            self._at = self._settings.index(self._worked)
        return False

    def without(self) -> bool:
        """The same, for a setting that the server refuses: it is not tried again."""
        refused, found = self.setting, self.another()
        rest = [setting for setting in self._settings if setting != refused] or [refused]
        self._worked = None if self._worked == refused else self._worked
        self._at = rest.index(self.setting) if self.setting in rest else len(rest) - 1
        self._settings = rest
        return found
