"""Proposals without training, to try out an agent: what it proposes, whether that applies, and what it costs."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator

import msgspec

from core.agents import registry
from core.agents.base import Agent, AgentFailed, Context, Exhausted, PastExperiment
from core.agents.default import default_agent, offer_missing
from core.agents.hooks import ShowsPrompt
from core.agents.llm import exhausted_ideas, prompt
from core.change import edits, knobs, touched
from core.config import files
from core.config.files import Config
from core.judging import policy
from core.loop.proposals import realise
from core.machine.project import Project, UsageError
from core.model import Proposal
from core.run import background
from core.run.background import say
from core.verdicts import Verdict

SIGMA = 0.005  # a made-up noise, since nothing is measured


def _context(project: Project, seed: int, past: tuple[PastExperiment, ...] = ()) -> Context:
    try:
        source = project.train.read_text(encoding="utf-8-sig")
        charter = project.program.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"train.py or program.md cannot be read ({error}).") from error
    parent = edits.fingerprint(source)
    return Context(
        charter=charter,
        source=source,
        parent=parent,
        number=len(past) + 1,
        seed=seed,
        sigma=SIGMA,
        past=past,
        tried={one.fingerprint: one.number for one in past},
        proposed=Counter(one.proposal.agent for one in past),
    )


def propose(
    project: Project,
    config: Config,
    agent: str | None,
    count: int,
    seed: int,
    context: int | None,
    *,
    dry_run: bool = False,
) -> None:
    """Print proposals of an agent on the present train.py, without training. Raises UserError.

    Args:
        config: The config files, for an agent and a context that are not given.
        agent: The name of the agent; None for the default.
        count: Number of proposals.
        seed: As the seed of a run.
        context: Context of a language model in tokens; None to fit the task.
        dry_run: Only print what a model would be told.
    """
    settings, attended = files.without_overridden(config.settings, os.environ), background.can_show_app()
    agent, context = agent or settings.agent, context or settings.context
    if agent is None:
        agent, why = default_agent(project, context, attended)
        say(why)
    else:
        registry.check_settings(agent)
    maker = registry.check(agent, project.root, context=context)
    if dry_run:
        say(shown_prompt(project, maker(), seed))
        return
    if attended:
        offer_missing(agent)
    for words in proposals(project, maker(), count, seed):
        say(words)


async def _shown_prompt(agent: Agent, context: Context) -> tuple[list[prompt.Message], str] | None:
    return await agent.prompt_for(context) if isinstance(agent, ShowsPrompt) else None


def shown_prompt(project: Project, agent: Agent, seed: int) -> str:
    """Return the prompt that the agent's model would get, or the task for a command-line agent. Raises UsageError."""
    context = _context(project, seed)
    try:
        found = asyncio.run(_shown_prompt(agent, context))
    except AgentFailed as error:
        raise UsageError(str(error)) from error
    if found is None:
        words = prompt.record(context)
        how = f"{agent.name} asks no model by itself; a command line is given this task and the files"
    else:
        talk, how = found
        words = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in talk)
    return f"{words}\n\n[{how}; about {prompt.estimate(words)} tokens]"


def proposals(project: Project, agent: Agent, count: int, seed: int) -> Iterator[str]:
    """Yield a text for each proposal. The agent is told that the earlier ones were tried without effect."""
    past: tuple[PastExperiment, ...] = ()
    with asyncio.Runner() as runner:
        for number in range(1, count + 1):
            context, began = _context(project, seed, past), time.monotonic()
            try:
                proposal = runner.run(agent.propose(context))
            except (AgentFailed, Exhausted) as error:
                yield f"{number}. no proposal: {error or 'the agent has nothing left'}"
                return
            seconds = time.monotonic() - began
            words, candidate = _words(context, proposal)
            yield f"{number}. {proposal.agent or agent.name}, {seconds:.1f} s: {proposal.hypothesis}\n{words}"
            past += (_tried(context, proposal, candidate),)
        runner.run(agent.release())


def _words(context: Context, proposal: Proposal) -> tuple[str, str]:
    cost = {
        key: value
        for key, value in msgspec.to_builtins(proposal.notes).items()
        if key in ("format", "tries", "tokens", "prompt_tokens", "why")
    }
    try:
        candidate = realise(context.source, proposal)
        edits.validate_change(context.source, candidate, off_limits=exhausted_ideas.off_limits(context))
    except edits.EditError as error:
        return f"   does not apply: {error}", context.source
    diff = "\n".join(f"   {line}" for line in edits.unified(context.source, candidate).split("\n")[2:])
    return f"   applies; {json.dumps(cost) if cost else 'at no cost'}\n{diff}", candidate


def _tried(context: Context, proposal: Proposal, candidate: str) -> PastExperiment:
    idea, constants = touched.touched(context.source, candidate), knobs.moved(context.source, candidate)
    return PastExperiment(
        number=context.number,
        parent=context.parent,
        fingerprint=edits.fingerprint(candidate),
        proposal=proposal,
        verdict=Verdict.DISCARD,
        gain=0.0,
        finding="Inconclusive: no change on one seed.",
        seeds=(policy.seed(context.seed, 0),),
        idea=idea,
        constants=constants,
        structural=bool(set(idea) - constants.keys()),
    )
