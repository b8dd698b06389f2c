"""Ideas that are used up: what did not help three times on the present train.py is not tried a fourth time. Pure, from the record alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from core.agents.base import Context, PastExperiment
from core.change import knobs, touched
from core.charter import CharterError, binding
from core.verdicts import Verdict

LOSSES = 3  # of one idea on one train.py; small models repeated one idea 55 times
LOST = (
    Verdict.DISCARD,
    Verdict.CRASH,
    Verdict.TIMEOUT,
    Verdict.OVERRUN,
    Verdict.INVALID,
)  # all else says nothing of the idea


@dataclass(frozen=True)
class Group:
    """The losing tries of one idea: the names that they touched."""

    idea: tuple[str, ...]
    tries: tuple[PastExperiment, ...]

    @property
    def words(self) -> str:
        return touched.words(self.idea)

    @property
    def reasons(self) -> str:
        """How they ended, counted: 2 x worse, 1 x crash out-of-memory."""
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
    """Losing tries by idea, the most frequent first. What the machine or a human ended is blamed on nobody."""
    found: dict[tuple[str, ...], list[PastExperiment]] = defaultdict(list)
    for p in past:
        if p.verdict in LOST and p.idea:
            found[p.idea].append(p)
    made = [Group(idea, tuple(tries)) for idea, tries in found.items()]
    return sorted(made, key=lambda group: (-len(group.tries), group.idea))


def exhausted(context: Context) -> list[Group]:
    """Ideas that did not help so often on this very train.py. Once every constant did, each has as many tries again."""
    lost = groups(p for p in context.past if p.parent == context.parent)
    off = off_limits(context)
    open_to = [knob.name for knob in knobs.read(context.source) if knob.name not in off]
    tries = {group.idea: len(group.tries) for group in lost}
    rounds = min((tries.get((name,), 0) // LOSSES for name in open_to), default=0)
    return [group for group in lost if len(group.tries) >= LOSSES * (rounds + 1)]


def knobs_left_out(context: Context) -> tuple[str, ...]:
    """Constants that are not offered: off limits, or used up."""
    return (*off_limits(context), *(group.idea[0] for group in exhausted(context) if len(group.idea) == 1))


def refusal(context: Context, candidate: str) -> str:
    """Why this change is not tried, for the model; empty when nothing speaks against it."""
    idea = touched.touched(context.source, candidate)
    group = next((group for group in exhausted(context) if group.idea == idea), None)
    if group is None:
        return ""
    return f"Changes of {group.words} did not help {len(group.tries)} times on this train.py ({group.numbers}). Change something else."


def off_limits(context: Context) -> tuple[str, ...]:
    """The names that the front matter of program.md puts off limits."""
    try:
        return binding(context.charter).off_limits
    except CharterError:
        return ()
