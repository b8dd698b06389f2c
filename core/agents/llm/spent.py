"""Counts what a proposal cost a language model, by answer format: stages that tries reached, tokens and seconds."""

from __future__ import annotations

import time
from typing import Any, Literal

Stage = Literal["asked", "answered", "parsed", "applied", "passed"]
STAGES: tuple[Stage, ...] = ("asked", "answered", "parsed", "applied", "passed")


class Spent:
    """The cost of one proposal. The time counts from its creation."""

    def __init__(self, model: str) -> None:
        self.tries = self.tokens = self.prompt_tokens = 0
        self.repeats = 0  # tries that proposed a change that was tried before
        self._model, self._began, self._since = model, time.monotonic(), time.monotonic()
        self._forms: dict[str, dict[str, float]] = {}

    def reached(self, form: str, stage: Stage, tokens: int = 0, prompt_tokens: int = 0) -> None:
        """Count one try in an answer format that got as far as `stage`."""
        now = time.monotonic()
        row = self._forms.setdefault(form, dict.fromkeys((*STAGES, "tokens", "seconds"), 0))
        for name in STAGES[: STAGES.index(stage) + 1]:
            row[name] += 1
        row["tokens"] += tokens + prompt_tokens
        row["seconds"] = round(row["seconds"] + now - self._since, 2)
        self.tokens, self.prompt_tokens = self.tokens + tokens, self.prompt_tokens + prompt_tokens
        self._since, self.tries = now, self.tries + 1

    @property
    def meta(self) -> dict[str, Any]:
        """The figures that are recorded with the proposal."""
        return {
            "model": self._model,
            "seconds": round(time.monotonic() - self._began, 2),
            "tries": self.tries,
            "tokens": self.tokens,
            "prompt_tokens": self.prompt_tokens,
            "repeats": self.repeats,
            "forms": {form: dict(row) for form, row in self._forms.items()},
        }
