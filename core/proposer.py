"""From an agent's idea to a recorded proposal: context, gate, at most three tries, a commit."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass

from core import edits
from core import events as ev
from core.agents.base import Agent, AgentFailed, Context, Past
from core.laboratory import Laboratory
from core.model import CrashClass, Proposal, Verdict
from core.state import Experiment, State

TRIES = 3
SOURCE_LIMIT = 200_000  # characters of a train.py; anything longer is no page a human would read


@dataclass
class Proposer:
    """Asks one agent and turns its answer into a commit and a Proposed event."""

    agent: Agent
    _restated: str = ""  # the program.md that the agent has put into its own words

    async def propose(self, lab: Laboratory) -> None:
        """Record one new proposal. Raises AgentFailed or Exhausted as the agent does.

        A proposal that is still refused after three tries is recorded as well, with its reason, and never trained.
        """
        began = time.monotonic()
        rejections: list[str] = []
        for _ in range(TRIES):
            lab.watch_charter()
            await self._restate(lab)
            parent = lab.state.best
            source = lab.source(parent)
            proposal = await self.agent.propose(self._context(lab, source, tuple(rejections)))
            proposal = proposal.model_copy(update={"agent": proposal.agent or self.agent.name})
            candidate = source
            crash = ""
            try:
                candidate = realise(source, proposal)
                edits.gate(source, candidate, off_limits=lab.charter.off_limits)
                self._check_new(lab.state, edits.fingerprint(source), edits.fingerprint(candidate))
                break
            except edits.EditError as error:
                rejections.append(str(error))
                crash = error.crash or ""
        lab.propose(proposal, parent, source, candidate, seconds=time.monotonic() - began)
        if len(rejections) == TRIES:
            number = max(lab.state.experiments)
            verdict = Verdict.CRASH if crash else Verdict.INVALID
            lab.judge(ev.Judged(number=number, verdict=verdict, crash=crash, reason=rejections[-1], finding=""))

    async def _restate(self, lab: Laboratory) -> None:
        """Let a language model say once what it understood of each program.md. Failing at that is no reason not to propose."""
        sha = lab.state.charter.sha if lab.state.charter else ""
        restate = getattr(self.agent, "understand", None)
        if restate is None or sha == self._restated:
            return
        self._restated = sha
        with contextlib.suppress(AgentFailed):
            lab.restated(await restate(lab.charter_text))

    def _check_new(self, state: State, parent: str, fingerprint: str) -> None:
        number = state.fingerprints.get((state.best, fingerprint))
        if number is not None and not getattr(self.agent, "repeats", False):
            raise edits.EditError(f"This very change was tried before on the same train.py, as experiment {number}.")

    def _context(self, lab: Laboratory, source: str, rejections: tuple[str, ...]) -> Context:
        state = lab.state
        assert state.config is not None
        return Context(
            charter=lab.charter_text,
            source=source,
            parent=edits.fingerprint(source),
            number=state.next_number,
            seed=state.config.seed,
            sigma=lab.sigma,
            past=tuple(past(lab, number) for number, e in state.experiments.items() if e.verdict is not None),
            hints=tuple(state.hints),
            pending=tuple(e.fingerprint for e in state.open.values()),
            proposed=Counter(e.agent for e in state.experiments.values() if e.again is None),
            rejections=rejections,
        )


def realise(source: str, proposal: Proposal) -> str:
    """The new train.py of a proposal. Raises EditError when its edits do not apply or it is not a page of code."""
    candidate = proposal.source if proposal.source is not None else edits.apply(source, proposal.edits)
    if len(candidate) > SOURCE_LIMIT:
        raise edits.EditError(
            f"The new train.py has {len(candidate):,} characters; keep it under {SOURCE_LIMIT:,}.", CrashClass.CONTRACT
        )
    return candidate


def past(lab: Laboratory, number: int) -> Past:
    """One judged experiment as an agent sees it."""
    experiment = lab.state.experiments[number]
    assert experiment.verdict is not None
    return Past(
        number=number,
        parent=lab.fingerprint(experiment.parent),
        fingerprint=experiment.fingerprint,
        proposal=Proposal(
            hypothesis=experiment.hypothesis, agent=experiment.agent, topic=experiment.topic, meta=experiment.meta
        ),
        verdict=experiment.verdict,
        crash=experiment.crash,
        val_bpb=experiment.val_bpb,
        gain=experiment.gain,
        finding=experiment.finding,
        facts=_facts(experiment, lab.state.experiments.get(number - 1)),
    )


def _facts(e: Experiment, before: Experiment | None) -> str:
    """What a training was like: a slower step or a larger memory is half of many explanations."""
    if not e.steps:
        return ""
    words = f"{e.steps} steps, {e.tokens_per_s:.0f} tokens/s, {e.peak_memory / 1e6:.0f} MB"
    if e.final_loss is not None:
        words += f", last training loss {e.final_loss:.3f}"
    if before is not None and before.steps:
        words += f" (the one before: {before.steps} steps, {before.tokens_per_s:.0f} tokens/s)"
    return words
