"""Measure agents: proposals per minute, usable proposals, distinct ideas, tokens, and the share of a run spent on training.

An idea is the set of constants and definitions that a change touches (core/change/touched.py). So proposals that move the same
constant are one idea, even if their texts differ.

The agent is told that most proposals had no effect. With --operators every third one is a near miss and every fourth one a crash,
so that a language model is also asked to improve, repair and combine. The shares of usable answers are then listed by operator.

python benchmarks/agents.py [--agent search --agent ollama:MODEL ...] [-n 50] [--operators] [--run 6 --budget 5]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.agents import registry
from core.agents.base import AgentFailed, Asked, Context, PastExperiment
from core.agents.llm import exhausted_ideas
from core.change import edits, knobs, touched
from core.change.as_edits import as_edits
from core.loop.proposals import realise
from core.machine import project
from core.model import Proposal
from core.record import events as ev
from core.record import journal
from core.verdicts import Verdict


async def measure(spec: str, count: int, *, operators: bool = False) -> str:
    """Ask an agent for `count` proposals and return lines of figures.

    Args:
        spec: The agent.
        count: The number of proposals.
        operators: Whether some are reported as near misses and crashes, so that there is something to build on.
    """
    here = project.find()
    source, charter = here.train.read_text(), here.program.read_text()
    parent, agent = edits.fingerprint(source), registry.check(spec, here.root)()
    past: tuple[PastExperiment, ...] = ()
    asked: tuple[Asked, ...] = ()
    usable, stood_in, tokens = 0, 0, 0
    began = time.perf_counter()
    for number in range(1, count + 1):
        context = Context(
            charter=charter, source=source, parent=parent, number=number, seed=1, sigma=0.005, past=past, asked=asked,
            tried={p.fingerprint: p.number for p in past},
        )  # fmt: skip
        try:
            proposal = await agent.propose(context)
            candidate = realise(source, proposal)
            edits.validate_change(source, candidate, off_limits=exhausted_ideas.off_limits(context))
        except (AgentFailed, edits.EditError) as error:
            print(f"  {number}: {error}")
            continue
        asked += _asked(context, proposal)
        stood_in += bool(proposal.notes.instead)
        usable += not proposal.notes.instead
        tokens += proposal.notes.all_tokens
        past += (_told(context, proposal, candidate, operators=operators),)
    minutes = (time.perf_counter() - began) / 60
    await agent.release()
    distinct = len({p.idea for p in past})
    return (
        f"{spec}: {count / minutes:.1f} proposals/min, {usable / count:.0%} its own and usable, {stood_in} by a stand-in, "
        f"{distinct} distinct ideas among {len(past)}, {tokens / count:.0f} tokens each" + _by_operator(asked)
    )


def _told(context: Context, proposal: Proposal, candidate: str, *, operators: bool) -> PastExperiment:
    """Return a proposal as it is reported to the agent: without effect, a near miss, or a crash."""
    idea, constants = touched.touched(context.source, candidate), knobs.moved(context.source, candidate)
    told = PastExperiment(
        number=context.number, parent=context.parent, fingerprint=edits.fingerprint(candidate), proposal=proposal, idea=idea,
        verdict=Verdict.DISCARD, gain=0.0, finding="Inconclusive: no change on one seed.", constants=constants,
        structural=bool(set(idea) - constants.keys()), change=as_edits(context.source, candidate),
    )  # fmt: skip
    if operators and context.number % 3 == 0:
        return replace(told, gain=0.004, error=0.005, finding="Inconclusive: 0.0040 better on one seed.")
    if operators and context.number % 4 == 0:
        words = "RuntimeError: out of memory"
        return replace(
            told,
            verdict=Verdict.CRASH,
            gain=None,
            crash="out-of-memory",
            traceback=words,
            finding=f"Crashed, out-of-memory: {words}",
        )
    return told


def _asked(context: Context, proposal: Proposal) -> tuple[Asked, ...]:
    """Return what a language model was asked for; empty for other agents."""
    notes = proposal.notes
    if not notes.operator:
        return ()
    usable = not notes.dropped and not notes.instead
    operator = notes.dropped or notes.operator
    return (Asked(number=context.number, parent=context.parent, operator=operator, on=notes.on or (), usable=usable),)


def _by_operator(asked: tuple[Asked, ...]) -> str:
    """Return a line for each operator."""
    lines = []
    for operator in sorted({one.operator for one in asked}):
        found = [one.usable for one in asked if one.operator == operator]
        lines.append(f"  {operator}: {sum(found)} of {len(found)} usable")
    return "".join(f"\n{line}" for line in lines)


def share(spec: str, experiments: int, budget: float) -> str:
    """Run a short real run on tiny shapes in a copy of the source tree. Returns a line with its share of training and scoring."""
    here = project.find()
    with tempfile.TemporaryDirectory(prefix="autoresearch-bench-") as name:
        root = Path(name) / "copy"
        shutil.copytree(here.root / "nanochat", root / "nanochat", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("program.md", "prepare.py"):
            shutil.copyfile(here.root / file, root / file)
        command = [
            sys.executable, "-m", "core.cli", "run", "--headless", "--profile", "tiny", "--device", "cpu", "--slots", "1", "--name", "bench",
            "--dataset", f"text:{here.root / 'core'}", "--agent", spec, "--budget", str(budget), "--max-experiments", str(experiments),
        ]  # fmt: skip
        env = {**os.environ, "PYTHONPATH": str(here.root), "AUTORESEARCH_DATA": str(Path(name) / "data")}
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
        if done.returncode:
            return f"{spec}: the run failed: {done.stdout[-300:]}{done.stderr[-300:]}"
        events = list(journal.read(root / "logs" / "bench" / journal.NAME))
    began = next(event.t for event in events if isinstance(event, ev.Launched))
    trained = sum(event.result.total_wall_s for event in events if isinstance(event, ev.Measured))
    return f"{spec}: {trained / (events[-1].t - began):.0%} of the wall time of {experiments} experiments of {budget:g} s was training and scoring"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--agent", action="append")
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("--operators", action="store_true", help="report some as near misses and crashes")
    parser.add_argument("--run", type=int, default=6, help="experiments of the real run; 0: none")
    parser.add_argument("--budget", type=float, default=5.0, help="its seconds each")
    parsed = parser.parse_args()
    for spec in parsed.agent or ["search"]:
        print(asyncio.run(measure(spec, parsed.n, operators=parsed.operators)))
        if parsed.run:
            print(share(spec, parsed.run, parsed.budget))


if __name__ == "__main__":
    main()
