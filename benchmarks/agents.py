"""Agents without training: proposals a minute, how many are usable and distinct, what they cost.

python benchmarks/agents.py [--agent search --agent ollama:MODEL ...] [-n 50]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core import edits, project
from core.agents import registry
from core.agents.base import AgentFailed, Context, Past
from core.model import Verdict
from core.proposer import realise


async def measure(spec: str, count: int) -> str:
    """One line of figures. Every proposal is told to the agent as tried, without effect."""
    here = project.find()
    source, charter = here.train.read_text(), here.program.read_text()
    parent, agent = edits.fingerprint(source), registry.check(spec, here.root)()
    past: tuple[Past, ...] = ()
    usable, stood_in, tokens = 0, 0, 0
    began = time.perf_counter()
    for number in range(1, count + 1):
        context = Context(charter=charter, source=source, parent=parent, number=number, seed=1, sigma=0.005, past=past)
        try:
            proposal = await agent.propose(context)
            candidate = realise(source, proposal)
            edits.gate(source, candidate)
        except (AgentFailed, edits.EditError) as error:
            print(f"  {number}: {error}")
            continue
        stood_in += bool(proposal.meta.get("instead"))
        usable += not proposal.meta.get("instead")
        tokens += int(proposal.meta.get("tokens", 0)) + int(proposal.meta.get("prompt_tokens", 0))
        fields = {
            "number": number,
            "parent": parent,
            "fingerprint": edits.fingerprint(candidate),
            "verdict": Verdict.DISCARD,
        }
        past += (Past(proposal=proposal, gain=0.0, finding="It made no difference.", **fields),)
    minutes = (time.perf_counter() - began) / 60
    await agent.release()
    distinct = len({p.fingerprint for p in past}) / max(1, len(past))
    return (
        f"{spec}: {count / minutes:.1f} proposals/min, {usable / count:.0%} its own and usable, {stood_in} by a stand-in, "
        f"{distinct:.0%} distinct, {tokens / count:.0f} tokens each"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--agent", action="append")
    parser.add_argument("-n", type=int, default=50)
    parsed = parser.parse_args()
    for spec in parsed.agent or ["search"]:
        print(asyncio.run(measure(spec, parsed.n)))


if __name__ == "__main__":
    main()
