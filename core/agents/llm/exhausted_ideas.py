"""Exhausted ideas: an idea that failed three times on the present train.py is not tried again. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from core.agents.base import Context, PastExperiment
from core.change import knobs, touched
from core.charter import CharterError, binding
from core.verdicts import Verdict

LOSSES = 3  # failures of an idea on one train.py after which it is exhausted; small models repeated one idea 55 times


@dataclass(frozen=True)
class Group:
    """The failed tries of one idea. An idea is the names that a change touches."""

    idea: tuple[str, ...]
    tries: tuple[PastExperiment, ...]

    @property
    def words(self) -> str:
        return touched.words(self.idea)

    @property
    def reasons(self) -> str:
        """How often they ended in which way, such as "2 x worse, 1 x crash out-of-memory"."""
        counts: dict[str, int] = defaultdict(int)
        for past in self.tries:
            counts[_ending(past)] += 1
        return ", ".join(f"{count} x {words}" for words, count in counts.items())

    @property
    def numbers(self) -> str:
        return ", ".join(f"#{past.number}" for past in self.tries[-6:])


def _ending(past: PastExperiment) -> str:
    if past.verdict is not Verdict.DISCARD:
        return f"{past.verdict.words} {past.crash}".strip()
    return past.outcome or ("worse" if past.gain is not None and past.gain < 0 else "inconclusive")


def groups(past: Iterable[PastExperiment]) -> list[Group]:
    """Group failed tries by idea, the most frequent first. Experiments that the machine or a human ended do not count."""
    by_idea: dict[tuple[str, ...], list[PastExperiment]] = defaultdict(list)
    for p in past:
        if p.verdict.lost and p.idea:
            by_idea[p.idea].append(p)
    made = [Group(idea, tuple(tries)) for idea, tries in by_idea.items()]
    return sorted(made, key=lambda group: (-len(group.tries), group.idea))


def exhausted(context: Context) -> list[Group]:
    """Return the exhausted ideas on this train.py. Once all constants are exhausted, each gets LOSSES further tries."""
    lost = groups(p for p in context.past if p.parent == context.parent)
    off = off_limits(context)
    open_to = [knob.name for knob in knobs.read(context.source) if knob.name not in off]
    tries = {group.idea: len(group.tries) for group in lost}
    rounds = min((tries.get((name,), 0) // LOSSES for name in open_to), default=0)
    return [group for group in lost if len(group.tries) >= LOSSES * (rounds + 1)]


def knobs_left_out(context: Context) -> tuple[str, ...]:
    """Return the constants that are not offered: off limits, or exhausted."""
    return (*off_limits(context), *(group.idea[0] for group in exhausted(context) if len(group.idea) == 1))


def refusal(context: Context, candidate: str) -> str:
    """Return why a change is refused, as a message for the model, or "" if its idea is not exhausted."""
    idea = touched.touched(context.source, candidate)
    group = next((group for group in exhausted(context) if group.idea == idea), None)
    if group is None:
        return ""
    return f"Changes of {group.words} did not help {len(group.tries)} times on this train.py ({group.numbers}). Change something else."


def off_limits(context: Context) -> tuple[str, ...]:
    """Return the names that the front matter of program.md puts off limits."""
    try:
        return binding(context.charter).off_limits
    except CharterError:
        return ()
