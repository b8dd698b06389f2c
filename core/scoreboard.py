"""Which agent did how well: a pure sum over the experiments of a run. Drives nothing, hides nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from core.model import Verdict
from core.state import State

CRASHES = (Verdict.CRASH, Verdict.TIMEOUT, Verdict.OVERRUN, Verdict.INVALID)
RECENT, MOST = 10, 0.5  # a banner appears when more than this share of the last proposals came from a stand-in


@dataclass
class Score:
    """One agent. `gain` is the sum of its kept improvements in bpb, `seconds` what proposing took, `wasted_s` training without a score."""

    agent: str
    proposed: int = 0
    stood_in: int = 0  # of those, in place of another
    tried: int = 0  # with a verdict that says something about the idea
    scored: int = 0
    kept: int = 0
    gain: float = 0.0
    seconds: float = 0.0
    tokens: int = 0
    tries: int = 0
    wasted_s: float = 0.0
    formats: dict[str, int] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        return asdict(self)


def scores(state: State) -> list[Score]:
    """One for each agent that proposed, the one with the most keeps first."""
    found: dict[str, Score] = {}
    for e in state.experiments.values():
        if e.again is not None:
            continue
        score = found.setdefault(e.agent, Score(e.agent))
        score.proposed += 1
        score.seconds += e.proposing_s
        if e.meta.get("instead"):
            score.stood_in += 1
        score.tokens += int(e.meta.get("tokens", 0)) + int(e.meta.get("prompt_tokens", 0))
        score.tries += int(e.meta.get("tries", 1))
        if form := e.meta.get("format"):
            score.formats[form] = score.formats.get(form, 0) + 1
        if e.verdict is None or e.verdict in (Verdict.SKIPPED, Verdict.INTERRUPTED):
            continue
        score.tried += 1
        score.scored += e.val_bpb is not None
        if e.verdict in CRASHES:
            score.wasted_s += e.seconds
        if e.verdict.kept:
            score.kept += 1
            score.gain += e.gain or 0.0
    return sorted(found.values(), key=lambda score: (-score.kept, -score.gain, score.agent))


def lines(state: State) -> list[str]:
    """For people; nothing when there was only one agent without a model behind it."""
    found = scores(state)
    if len(found) < 2 and not any(score.tokens for score in found):
        return []
    return [
        f"{score.agent}: {score.kept} kept of {score.tried} tried, gain {score.gain:.4f}, {score.seconds / max(1, score.proposed):.1f} s "
        f"a proposal" + (f", {score.tokens / 1000:.0f}k tokens" if score.tokens else "")
        for score in found
    ]


def banner(state: State) -> str:
    """A warning when most of the last proposals came from a stand-in."""
    last = [e for e in state.experiments.values() if e.again is None][-RECENT:]
    instead = [e for e in last if e.meta.get("instead")]
    if len(last) < 4 or len(instead) <= MOST * len(last):
        return ""
    return (
        f"{instead[-1].agent} proposed {len(instead)} of the last {len(last)} instead of {instead[-1].meta['instead']}"
    )
