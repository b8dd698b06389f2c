"""Runs of any length for tests of the report: events, folded into a state."""

from __future__ import annotations

import random
from collections.abc import Iterator

from core.judging import schedule
from core.model import Notes
from core.record import events as ev
from core.record.fold import fold
from core.record.state import State
from core.reporting.report import Material, Report, report
from core.verdicts import Verdict
from tests.core.run.test_active import CONFIG
from tests.events import measurement

START, SEED, SIGMA = "0" * 40, 1_000_003, 0.002


def events(count: int, keep_every: int = 0, hypothesis: str = "Change {}.") -> Iterator[ev.Event]:
    """A run of `count` experiments. Each `keep_every`-th one is kept, 0 for none; each seventh one crashes."""
    chance, best, level = random.Random(1), START, 1.0
    yield ev.Created(v=ev.SCHEMA, config=CONFIG, t=100.0)
    yield ev.StartCommit(commit=START, source_hash="", nodes=100)
    yield ev.Started(pid=1, agent="search", approval="auto", slots=1, t=100.0)
    yield measurement(role="baseline", commit=START, seed=SEED, val_bpb=level)
    for number in range(1, count + 1):
        commit, kept = f"{number:040x}", bool(keep_every) and number % keep_every == 0
        yield ev.Proposed(number=number, commit=commit, parent=best, fingerprint=str(number), agent="search", charter="",
                          hypothesis=hypothesis.format(number), topic="schedule", notes=Notes())  # fmt: skip
        if number % 7 == 6 and not kept:
            yield measurement(role="candidate", commit=commit, seed=SEED, number=number, outcome="crash", reason="boom")
            yield ev.Judged(number=number, verdict=Verdict.CRASH, finding="Crashed.", reason="boom")
            continue
        level -= 0.004 if kept else 0.0
        score = level if kept else level + abs(chance.gauss(0.0, 0.01))
        yield measurement(role="candidate", commit=commit, seed=SEED, number=number, val_bpb=score)
        gain = 0.004 if kept else level - score
        best = f"{number + 10**6:040x}" if kept else best
        yield ev.Judged(number=number, verdict=Verdict.KEEP if kept else Verdict.DISCARD, finding="", gain=gain, error=0.001,
                        pairs=2, sigma=SIGMA, commit=best if kept else "", within_noise=not kept and gain > -0.004)  # fmt: skip
    yield ev.Stopped(reason="reached --max-experiments", finished=True, t=100.0 + 60 * count)


def state_of(count: int, keep_every: int = 0, hypothesis: str = "Change {}.") -> State:
    return fold(events(count, keep_every, hypothesis), State(name="night"))  # type: ignore[arg-type]


def report_of(state: State, material: Material | None = None) -> Report:
    return report(state, schedule.noise(state), material or Material(machine=("a CPU, 2 cores",)))
