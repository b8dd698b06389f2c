"""Agents without a plan, to compare `search` with: joint TPE, and random values. Both move the knobs that matter most, together."""

from __future__ import annotations

import random
import sys
from abc import ABC, abstractmethod
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import optuna

from core.agents.base import Context
from core.agents.search.ranges import Range, range_for, senseless, with_followers
from core.change import edits, knobs
from core.change.knobs import Knob
from core.model import Notes, Proposal, Value
from core.target import TARGET

IMPORTANT = 1.5  # impact from which a knob is moved
STARTUP = 10  # random proposals of TPE before it uses its model


def important(source: str) -> dict[str, Knob]:
    """Return the knobs of a train.py that matter most."""
    return {knob.name: knob for knob in knobs.read(source) if TARGET.impacts.get(knob.name, 0.0) >= IMPORTANT}


def setting(source: str, values: dict[str, Value]) -> Proposal | None:
    """Return the proposal that sets these values; None where they do not fit each other, or change nothing."""
    every = {knob.name: knob for knob in knobs.read(source)}
    changed = with_followers({name: value for name, value in values.items() if value != every[name].value}, every)
    if not changed or senseless(changed, every):
        return None
    words = ", ".join(f"{name} = {value}" for name, value in changed.items())
    notes = Notes(own={"drawn": {**values}})
    return Proposal(hypothesis=f"{words}.", source=knobs.set_knobs(source, changed), notes=notes)


def distribution(found: Range) -> optuna.distributions.BaseDistribution:
    """Return the range as Optuna sees it."""
    if found.kind in ("float", "log"):
        return optuna.distributions.FloatDistribution(found.low, found.high, log=found.kind == "log")
    return optuna.distributions.IntDistribution(int(found.low), int(found.high))


def tpe_study(seed: int, direction: str) -> optuna.Study:
    """Return a study with joint (multivariate) TPE. `direction`: minimize or maximize."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=STARTUP)
    return optuna.create_study(direction=direction, sampler=sampler)


class Values(ABC):
    """An agent that sets the important knobs to drawn values. Their ranges lie around the values at the start of the run."""

    name = "values"

    def __init__(self) -> None:
        self._ranges: dict[str, Range] = {}

    async def propose(self, context: Context) -> Proposal:
        if not self._ranges:
            self._ranges = {name: range_for(knob) for name, knob in important(context.source).items()}
        for index in range(1000):
            values = self.draw(context, self._ranges, f"{context.seed}/{context.number}/{index}")
            found = setting(context.source, values)
            if found is not None and found.source is not None and edits.fingerprint(found.source) not in context.tried:
                return found
        raise RuntimeError("no new values in 1000 draws")

    @abstractmethod
    def draw(self, context: Context, ranges: dict[str, Range], seed: str) -> dict[str, Value]:
        """Return new values."""

    async def release(self) -> None:
        self._ranges.clear()


class Uniform(Values):
    """Uniform in the ranges."""

    name = "random"

    def draw(self, context: Context, ranges: dict[str, Range], seed: str) -> dict[str, Value]:
        dice = random.Random(seed)
        return {name: found.at(dice.random()) for name, found in ranges.items()}


class JointTPE(Values):
    """Multivariate TPE of Optuna over all of them, told the val_bpb of every experiment. Failed ones are not told."""

    name = "tpe"

    def draw(self, context: Context, ranges: dict[str, Range], seed: str) -> dict[str, Value]:
        study = tpe_study(random.Random(seed).randrange(2**31), "minimize")
        space = {name: distribution(found) for name, found in ranges.items()}
        for past in context.past:
            drawn = (past.proposal.notes.own or {}).get("drawn")
            if past.val_bpb is not None and isinstance(drawn, dict) and drawn.keys() == ranges.keys():
                params = {name: found.encode(drawn[name]) for name, found in ranges.items()}
                if all(found.contains(params[name]) for name, found in ranges.items()):
                    study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=past.val_bpb))
        trial = study.ask(space)
        return {name: found.decode(trial.params[name]) for name, found in ranges.items()}
