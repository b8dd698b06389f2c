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
from core.run.json_output import say_json, words_on_stderr
from core.text import sanitize_line, sanitize_text
from core.verdicts import Verdict
from nanochat.contract.value import Data

COSTS = ("format", "tries", "tokens", "prompt_tokens", "why")  # notes of a proposal that say what it cost
SIGMA = 0.005  # a made-up noise, since nothing is measured


class Tried(Data, frozen=True, kw_only=True):
    """A proposal, and whether it can be used.

    Attributes:
        number: Its place, from 1.
        agent: Who proposed it.
        seconds: Wall time of the proposal.
        hypothesis: What it tries.
        applies: Whether it applies to train.py and passes the checks.
        problem: Why it does not; "" if it does.
        diff: The change of train.py as a unified diff; "" if it does not apply.
        cost: What it cost a language model: the answer format, tries, tokens, and why another agent proposed.
    """

    number: int
    agent: str
    seconds: float
    hypothesis: str
    applies: bool
    problem: str
    diff: str
    cost: dict[str, str | int]

    @property
    def text(self) -> str:
        """All of this as text, without the escape sequences that an agent may write."""
        head = f"{self.number}. {sanitize_line(self.agent)}, {self.seconds:.1f} s: {sanitize_line(self.hypothesis)}"
        if not self.applies:
            return f"{head}\n   does not apply: {sanitize_line(self.problem)}"
        lines = sanitize_text(self.diff, len(self.diff)).split("\n")
        diff = "\n".join(f"   {line}" for line in lines[2:])  # without the names of the files
        return f"{head}\n   applies; {json.dumps(self.cost) if self.cost else 'at no cost'}\n{diff}"


class Proposed(Data, frozen=True, kw_only=True):
    """What `propose --json` prints.

    Attributes:
        agent: The agent that was asked, as `--agent` takes it.
        proposals: Its proposals.
        ended: Why there are fewer than were asked for; "" if there are not.
        prompt: With --dry-run, what a language model would be told; "" otherwise.
    """

    agent: str
    proposals: tuple[Tried, ...] = ()
    ended: str = ""
    prompt: str = ""


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
        tried={experiment.fingerprint: experiment.number for experiment in past},
        proposed=Counter(experiment.proposal.agent for experiment in past),
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
    as_json: bool = False,
) -> bool:
    """Print proposals of an agent on the present train.py, without training. Raises UserError.

    Args:
        config: The config files, for an agent and a context that are not given.
        agent: The name of the agent; None for the default.
        count: Number of proposals.
        seed: As the seed of a run.
        context: Context of a language model in tokens; None to fit the task.
        dry_run: Only print what a model would be told.
        as_json: Print all as one JSON object.

    Returns:
        Whether the agent has proposed anything. True for `dry_run`.
    """
    settings, attended = files.without_overridden(config.settings, os.environ), background.can_show_app()
    agent, context = agent or settings.agent, context or settings.context
    if agent is None:
        agent, why = default_agent(project, context, attended and not as_json)
        with words_on_stderr(on=as_json):
            say(why)
    else:
        registry.check_settings(agent)
    maker = registry.check(agent, project.root, context=context)
    if dry_run:
        prompt_text = shown_prompt(project, maker(), seed)
        if as_json:
            say_json(Proposed(agent=agent, prompt=prompt_text))
        else:
            say(prompt_text)
        return True
    if attended and not as_json:
        offer_missing(agent)
    tried, ended = list[Tried](), ""
    for result in proposals(project, maker(), count, seed):
        if isinstance(result, Tried):
            tried.append(result)
        else:
            ended = result
        if not as_json:
            say(result.text if isinstance(result, Tried) else f"{len(tried) + 1}. no proposal: {sanitize_line(result)}")
    if as_json:
        say_json(Proposed(agent=agent, proposals=tuple(tried), ended=ended))
    return bool(tried)


async def _shown_prompt(agent: Agent, context: Context) -> tuple[list[prompt.Message], str] | None:
    return await agent.prompt_for(context) if isinstance(agent, ShowsPrompt) else None


def shown_prompt(project: Project, agent: Agent, seed: int) -> str:
    """Return the prompt that the agent's model would get, or the task for a command-line agent. Raises UsageError."""
    context = _context(project, seed)
    try:
        shown = asyncio.run(_shown_prompt(agent, context))
    except AgentFailed as error:
        raise UsageError(str(error)) from error
    if shown is None:
        text = prompt.record(context)
        how = f"{agent.name} asks no model by itself; a command line is given this task and the files"
    else:
        talk, how = shown
        text = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in talk)
    return f"{text}\n\n[{how}; about {prompt.estimate(text)} tokens]"


def proposals(project: Project, agent: Agent, count: int, seed: int) -> Iterator[Tried | str]:
    """Yield the proposals, and at the end the reason if there are too few. The agent sees the earlier ones as without effect."""
    past: tuple[PastExperiment, ...] = ()
    with asyncio.Runner() as runner:
        for _ in range(count):
            context, began = _context(project, seed, past), time.monotonic()
            try:
                proposal = runner.run(agent.propose(context))
            except (AgentFailed, Exhausted) as error:
                yield str(error) or "the agent has nothing left"
                return
            tried, candidate = _examined(context, proposal, agent.name, time.monotonic() - began)
            yield tried
            past += (_tried(context, proposal, candidate),)
        runner.run(agent.release())


def _examined(context: Context, proposal: Proposal, name: str, seconds: float) -> tuple[Tried, str]:
    """Return the checked proposal and the train.py that it leads to."""
    notes = msgspec.to_builtins(proposal.notes)
    candidate, problem = context.source, ""
    try:
        candidate = realise(context.source, proposal)
        edits.validate_change(context.source, candidate, off_limits=exhausted_ideas.off_limits(context))
    except edits.EditError as error:
        candidate, problem = context.source, str(error)
    tried = Tried(
        number=context.number,
        agent=proposal.agent or name,
        seconds=round(seconds, 3),
        hypothesis=proposal.hypothesis,
        applies=not problem,
        problem=problem,
        diff=edits.unified(context.source, candidate) if not problem else "",
        cost={key: value for key, value in notes.items() if key in COSTS},
    )
    return tried, candidate


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
