"""Statistics by agent: how well it did, and what each model cost in each answer format. Pure.

The costs come from the notes (`meta`) of each proposal. They count for the model that was asked, even if another agent proposed
instead. `core.agents.llm.tiers.choose` uses the same notes to choose the next answer format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from core.record.experiment import Experiment
from core.record.state import State

RECENT, MOST = 10, 0.5  # the banner appears if more than this share of the last proposals came from a stand-in
STAGES = ("asked", "answered", "parsed", "applied", "passed")


@dataclass
class Form:
    """Statistics of a model in one answer format. The counts from `asked` to `passed` are answers."""

    asked: int = 0
    answered: int = 0
    parsed: int = 0
    applied: int = 0
    passed: int = 0  # answers that passed all checks
    trained: int = 0  # proposals
    kept: int = 0  # proposals
    tokens: int = 0
    seconds: float = 0.0
    wasted_s: float = 0.0  # trainings that failed


@dataclass
class Score:
    """Statistics of an agent."""

    agent: str
    proposed: int = 0
    failed: int = 0  # how often it was asked and had no proposal
    stood_in: int = 0  # proposals instead of another agent's
    tried: int = 0  # experiments that were tried, see `Verdict.tried`
    scored: int = 0
    kept: int = 0
    gain: float = 0.0  # sum of its kept improvements, in bpb
    seconds: float = 0.0  # time that proposing took
    tokens: int = 0
    tries: int = 0
    wasted_s: float = 0.0  # trainings that failed
    formats: dict[str, Form] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        return asdict(self)


def scores(state: State) -> list[Score]:
    """Return the statistics of each agent that was asked, the one with the most kept experiments first."""
    found: dict[str, Score] = {}

    def of(agent: str) -> Score:
        return found.setdefault(agent, Score(agent))

    for e in state.experiments.values():
        if e.retry_of is None:
            instead = str(e.meta.get("instead", ""))
            elsewhere_s = _book(of(str(e.meta.get("model") or instead or e.agent)), e.meta)
            of(e.agent).proposed += 1
            of(e.agent).seconds += max(0.0, e.proposing_s - elsewhere_s)
            if instead:
                of(instead).failed += 1
                of(e.agent).stood_in += 1
        _judge(of(e.agent), e)
    for meta in state.restatings:
        if model := str(meta.get("model", "")):
            _book(of(model), meta)
    for agent, count in state.refusals.items():
        of(agent).failed += count
    return sorted(found.values(), key=lambda score: (-score.kept, -score.gain, score.agent))


def _book(score: Score, meta: Mapping[str, Any]) -> float:
    """Add the cost of a proposal or a restatement of program.md, from its notes. Returns the seconds."""
    tokens = _number(meta, "tokens") + _number(meta, "prompt_tokens")
    seconds = float(_number(meta, "seconds"))
    score.tokens += int(tokens)
    score.tries += int(_number(meta, "tries"))
    score.seconds += seconds
    forms = meta.get("forms")
    if isinstance(forms, dict) and forms:
        for name, row in forms.items():
            _add(score.formats.setdefault(str(name), Form()), row if isinstance(row, dict) else {})
    elif form := meta.get("format"):  # a journal of an earlier version
        tries = int(_number(meta, "tries")) or 1
        row = {
            "asked": tries,
            "answered": tries,
            "passed": 0 if meta.get("instead") else 1,
            "tokens": tokens,
            "seconds": seconds,
        }
        _add(score.formats.setdefault(str(form), Form()), row)
    return seconds


def _add(form: Form, row: Mapping[str, Any]) -> None:
    for name in (*STAGES, "tokens"):
        setattr(form, name, getattr(form, name) + int(_number(row, name)))
    form.seconds += float(_number(row, "seconds"))


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name, 0)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _judge(score: Score, e: Experiment) -> None:
    """Count the result of a proposal. For an interrupted proposal its repeat has the verdict."""
    form = score.formats.get(str(e.meta.get("format", ""))) if not e.meta.get("instead") else None
    if e.retry_of is None and e.launched and form is not None:
        form.trained += 1
    if e.verdict is None or not e.verdict.tried:
        return
    score.tried += 1
    score.scored += e.val_bpb is not None
    wasted = e.seconds if e.verdict.failed else 0.0
    score.wasted_s += wasted
    if form is not None:
        form.wasted_s += wasted
        form.kept += e.verdict.kept
    if e.verdict.kept:
        score.kept += 1
        score.gain += e.gain or 0.0


def lines(found: Sequence[Score]) -> list[str]:
    """Return the statistics as lines. Empty if there is only one agent and it uses no model."""
    if len(found) < 2 and not any(score.tokens for score in found):
        return []
    told = []
    for score in found:
        told.append(
            f"{score.agent}: {score.kept} kept of {score.tried} tried, gain {score.gain:.4f}, "
            f"{score.seconds / max(1, score.proposed + score.failed):.1f} s a proposal"
            + (f", {score.tokens / 1000:.0f}k tokens" if score.tokens else "")
            + (f", {score.failed} times without a proposal" if score.failed else "")
        )
        told += [f"  {name}: {_steps(form)}" for name, form in score.formats.items()]
    return told


def _steps(form: Form) -> str:
    words = (
        f"{form.asked} answers asked for, {form.parsed} read, {form.applied} applied, {form.passed} passed the checks"
    )
    return f"{words}, {form.trained} trained, {form.kept} kept" if form.passed else words


def banner(state: State, upto: int | None = None) -> str:
    """Return a warning if most of the last proposals (up to the number `upto`) came from a stand-in, else ""."""
    newest = reversed(state.experiments.values())
    last = [*islice((e for e in newest if e.retry_of is None and (upto is None or e.number <= upto)), RECENT)][::-1]
    instead = [e for e in last if e.meta.get("instead")]
    if len(last) < 4 or len(instead) <= MOST * len(last):
        return ""
    return (
        f"{instead[-1].agent} proposed {len(instead)} of the last {len(last)} instead of {instead[-1].meta['instead']}"
    )
