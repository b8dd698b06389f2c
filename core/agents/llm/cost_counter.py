"""Counts what a proposal cost a language model, by answer format: stages that tries reached, tokens and seconds."""

from __future__ import annotations

import time

from msgspec.structs import replace

from core.model import STAGES, Cost, FormCost, Stage


class CostCounter:
    """The cost of one proposal. The time counts from its creation."""

    def __init__(self, model: str) -> None:
        self.tries = self.tokens = self.prompt_tokens = 0
        self.repeats = 0  # tries that proposed a change that was tried before
        self._model, self._began, self._since = model, time.monotonic(), time.monotonic()
        self._forms: dict[str, FormCost] = {}

    def count_attempt(self, form: str, stage: Stage, tokens: int = 0, prompt_tokens: int = 0) -> None:
        """Count one try in an answer format that got as far as `stage`."""
        now = time.monotonic()
        before = self._forms.get(form, FormCost())
        self._forms[form] = replace(
            before,
            **{name: getattr(before, name) + 1 for name in STAGES[: STAGES.index(stage) + 1]},
            tokens=before.tokens + tokens + prompt_tokens,
            seconds=round(before.seconds + now - self._since, 2),
        )
        self.tokens, self.prompt_tokens = self.tokens + tokens, self.prompt_tokens + prompt_tokens
        self._since, self.tries = now, self.tries + 1

    @property
    def cost(self) -> Cost:
        """The figures that are recorded with the proposal."""
        return Cost(
            model=self._model,
            seconds=round(time.monotonic() - self._began, 2),
            tries=self.tries,
            tokens=self.tokens,
            prompt_tokens=self.prompt_tokens,
            repeats=self.repeats,
            forms=dict(self._forms),
        )
