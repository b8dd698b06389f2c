"""Settings for how much a model thinks before it answers, and which one is tried next if it only returns thoughts. Pure.

The right setting depends on the model and the server. gpt-oss has levels and cannot stop thinking; other models have on and
off. Some servers return an answer with a schema as thoughts. So each run finds a working setting, which costs a few questions.
It is not stored across runs, since an update of the model or the server may change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.agents.llm.prompt import ANSWER_TOKENS

Level = bool | str | None  # on, off, the name of a level, or None to leave it to the model
SOME, MUCH = 4 * ANSWER_TOKENS, 8 * ANSWER_TOKENS  # tokens of thoughts and answer together


@dataclass(frozen=True)
class Setting:
    """A level of thinking, and the most tokens of thoughts and answer together."""

    level: Level
    tokens: int

    @property
    def words(self) -> str:
        level = {None: "default thinking", True: "thinking on", False: "thinking off"}
        name = level[self.level] if not isinstance(self.level, str) else f"thinking at level {self.level}"
        return f"{name} and {self.tokens} tokens"


BY_LEVEL = (Setting("low", SOME), Setting("medium", MUCH), Setting(None, MUCH), Setting(False, MUCH))
ON_AND_OFF = (Setting(False, ANSWER_TOKENS), Setting("low", SOME), Setting(None, MUCH), Setting(True, MUCH))
UNKNOWN = (Setting(None, ANSWER_TOKENS), Setting(False, SOME), Setting("low", SOME), Setting(None, MUCH))

# Nothing is known about an endpoint: try its default first, then a level as for OpenAI, then the switch of open models.
ENDPOINT = (Setting(None, ANSWER_TOKENS), Setting("low", SOME), Setting(False, SOME), Setting(None, MUCH))


def for_ollama(name: str, architecture: str, capabilities: Sequence[str]) -> tuple[Setting, ...]:
    """Return the settings to try for a model of Ollama, from what the server says about it."""
    if any("gptoss" in text.lower().replace("-", "").replace("_", "") for text in (name, architecture)):
        return BY_LEVEL
    return ON_AND_OFF if "thinking" in capabilities else UNKNOWN


class Thinking:
    """The present setting, and which ones have worked."""

    def __init__(self, settings: tuple[Setting, ...] = UNKNOWN) -> None:
        self.expected = settings in (BY_LEVEL, ON_AND_OFF)  # the server says that the model thinks
        self._settings, self._at = list(settings), 0
        self._worked: Setting | None = None

    @property
    def setting(self) -> Setting:
        return self._settings[self._at]

    def worked(self) -> None:
        """Note that the present setting gave an answer."""
        self._worked = self.setting

    def another(self) -> bool:
        """Choose the next setting, since this one gave no answer. Returns False if none is left.

        Then the setting that worked before is used again. Without one the last setting stays, so that a model that never answers
        is only asked once for each proposal.
        """
        if self._at + 1 < len(self._settings):
            self._at += 1
            return True
        if self._worked is not None:
            self._at = self._settings.index(self._worked)
        return False

    def without(self) -> bool:
        """Choose the next setting, since the server refuses this one. It is not tried again. Returns False if none is left."""
        refused, is_other = self.setting, self.another()
        rest = [setting for setting in self._settings if setting != refused] or [refused]
        self._worked = None if self._worked == refused else self._worked
        self._at = rest.index(self.setting) if self.setting in rest else len(rest) - 1
        self._settings = rest
        return is_other
