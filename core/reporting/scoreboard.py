"""Statistics by agent: how well it did, what each model cost in each answer format, and what each operator found. Pure.

The costs come from the notes of each proposal. They count for the model that was asked, even if another agent proposed instead.
`core.agents.llm.tiers.choose` uses the same notes to choose the next answer format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from msgspec.structs import replace

from core.judging.gain import Scale
from core.model import OPERATORS, Cost, FormCost
from core.record.experiment import Experiment
from core.record.state import State
from core.reporting import phrases
from nanochat.contract.value import Data

RECENT, MOST = 10, 0.5  # the banner appears if more than this share of the last proposals came from a stand-in


class Form(FormCost, frozen=True, kw_only=True):
    """Statistics of a model in one answer format: the cost of its answers, and what became of them."""

    trained: int = 0  # proposals
    kept: int = 0  # proposals
    wasted_s: float = 0.0  # trainings that failed

    def plus(self, cost: FormCost) -> Form:
        """Return the statistics with further answers."""
        sums = {name: getattr(self, name) + getattr(cost, name) for name in FormCost.__struct_fields__}
        return replace(self, **sums)


class Operated(Data, frozen=True, kw_only=True):
    """Statistics of what a model was asked for, see `Operator` in core/model.py."""

    asked: int = 0  # proposals
    usable: int = 0  # of these, proposals that followed it
    kept: int = 0  # of these
    change: float = 0.0  # sum of their changes of the score in bpb; a minus is better


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
    change: float = 0.0  # sum of its kept changes in bpb on the scale of `core.judging.gain`; a minus is better
    seconds: float = 0.0  # time that proposing took
    tokens: int = 0
    tries: int = 0
    wasted_s: float = 0.0  # trainings that failed
    formats: dict[str, Form] = field(default_factory=dict)
    operators: dict[str, Operated] = field(default_factory=dict)


def scores(state: State) -> list[Score]:
    """Return the statistics of each agent that was asked, the one with the most kept experiments first."""
    by_agent: dict[str, Score] = {}
    scale = Scale(state)

    def of(agent: str) -> Score:
        return by_agent.setdefault(agent, Score(agent))

    for e in state.experiments.values():
        agent = e.agent
        if e.retry_of is None:
            instead = e.notes.instead
            asked = of(e.notes.model or instead or agent)
            elsewhere_s = _book(asked, e.notes, failed=bool(instead))
            _count_operators(asked, e.notes, failed=bool(instead))
            own = of(agent)
            own.proposed += 1
            own.seconds += max(0.0, e.proposing_s - elsewhere_s)
            if instead:
                of(instead).failed += 1
                own.stood_in += 1
        _judge(of(agent), e, scale)
    for cost in (*state.restatings, *state.reflections):
        if cost.model:
            _book(of(cost.model), cost)
    for agent, count in state.refusals.items():
        of(agent).failed += count
    return sorted(by_agent.values(), key=lambda score: (-score.kept, score.change, score.agent))


def _book(score: Score, cost: Cost, *, failed: bool = False) -> float:
    """Add the cost of a proposal or a restatement of program.md. Returns the seconds.

    `failed`: nothing that was asked for could be used.
    """
    seconds = cost.seconds or 0.0
    score.tokens += cost.all_tokens
    score.tries += cost.tries or 0
    score.seconds += seconds
    forms = cost.forms or {}
    if not forms and cost.format:  # a journal of an earlier version
        tries = cost.tries or 1
        passed = 0 if failed else 1
        forms = {
            cost.format: FormCost(asked=tries, answered=tries, passed=passed, tokens=cost.all_tokens, seconds=seconds)
        }
    for name, row in forms.items():
        score.formats[name] = score.formats.get(name, Form()).plus(row)
    return seconds


def _count_operators(score: Score, cost: Cost, *, failed: bool) -> None:
    """Count what a proposal was asked for. `failed`: nothing that was asked for could be used."""
    for operator, usable in ((cost.dropped, False), (cost.operator, not failed)):
        if operator:
            before = score.operators.get(operator, Operated())
            score.operators[operator] = replace(before, asked=before.asked + 1, usable=before.usable + usable)


def _judge(score: Score, e: Experiment, scale: Scale) -> None:
    """Count the result of a proposal. For an interrupted proposal its repeat has the verdict."""
    verdict = e.verdict if e.verdict is not None and e.verdict.tried else None
    kept = verdict is not None and verdict.kept
    wasted_s = e.seconds if verdict is not None and verdict.failed else 0.0
    form = score.formats.get(e.notes.format)
    if form is not None and not e.notes.instead:
        trained = form.trained + (e.retry_of is None and e.launched)
        changed = replace(form, trained=trained, kept=form.kept + kept, wasted_s=form.wasted_s + wasted_s)
        score.formats[e.notes.format] = changed
    if verdict is None:
        return
    score.tried += 1
    score.scored += e.val_bpb is not None
    score.wasted_s += wasted_s
    if kept:
        score.kept += 1
        change = scale.change(e) or 0.0
        score.change += change
        row = score.operators.get(e.notes.operator)
        if row is not None and not e.notes.instead:
            score.operators[e.notes.operator] = replace(row, kept=row.kept + 1, change=row.change + change)


def lines(scores: Sequence[Score]) -> list[str]:
    """Return the statistics as lines. Empty if there is only one agent and it uses no model."""
    if len(scores) < 2 and not any(score.tokens for score in scores):
        return []
    rows = []
    for score in scores:
        rows.append(
            f"{score.agent}: {score.kept} kept of {score.tried} tried, change {phrases.change(score.change)}, "
            f"{score.seconds / max(1, score.proposed + score.failed):.1f} s a proposal"
            + (f", {score.tokens / 1000:.0f}k tokens" if score.tokens else "")
            + (f", {score.failed} times without a proposal" if score.failed else "")
        )
        rows += [f"  {name}: {_steps(form)}" for name, form in score.formats.items()]
        rows += [f"  {name}: {_found(row)}" for name, row in sorted(score.operators.items(), key=_rank)]
    return rows


def _steps(form: Form) -> str:
    words = (
        f"{form.asked} answers asked for, {form.parsed} read, {form.applied} applied, {form.passed} passed the checks"
    )
    return f"{words}, {form.trained} trained, {form.kept} kept" if form.passed else words


def _rank(row: tuple[str, Operated]) -> int:
    """Return the place of an operator in the order of `Operator`; one of a later version comes last."""
    return [*OPERATORS, row[0]].index(row[0])


def _found(row: Operated) -> str:
    change = f", change {phrases.change(row.change)}" if row.kept else ""
    return f"{row.asked} asked for, {row.usable} usable, {row.kept} kept{change}"


def banner(state: State, upto: int | None = None) -> str:
    """Return a warning if most of the last proposals (up to the number `upto`) came from a stand-in, else ""."""
    newest = reversed(state.experiments.values())
    last = [*islice((e for e in newest if e.retry_of is None and (upto is None or e.number <= upto)), RECENT)][::-1]
    instead = [e for e in last if e.notes.instead]
    if len(last) < 4 or len(instead) <= MOST * len(last):
        return ""
    latest = instead[-1]
    return f"{latest.agent} proposed {len(instead)} of the last {len(last)} instead of {latest.notes.instead}"
