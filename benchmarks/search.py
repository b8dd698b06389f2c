"""Compare the agent `search` with random knobs: same budget, same number of experiments, same keep rule.

    python benchmarks/search.py [--experiments 10] [--budget 20] [--seed 1]

Both run in the real loop. Prints the val_bpb of the baseline and of the best for each.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.agents.base import Context
from core.agents.search.ranges import range_for, senseless
from core.change import knobs
from core.judging import schedule
from core.model import Proposal
from core.record import journal
from core.record.fold import fold
from core.record.state import State


class RandomKnobs:
    """An agent that draws every knob uniformly from its range."""

    name = "random"

    async def propose(self, context: Context) -> Proposal:
        chance = random.Random(f"{context.seed}/{context.number}")
        known = {knob.name: knob for knob in knobs.read(context.source)}
        while True:
            values = {}
            for name, knob in known.items():
                found = range_for(knob)
                whole = found.kind in ("int", "power", "choice")
                drawn = (
                    chance.randint(int(found.low), int(found.high)) if whole else chance.uniform(found.low, found.high)
                )
                values[name] = found.decode(drawn)
            if not senseless(values, known):
                return Proposal(hypothesis="Random knobs.", source=knobs.set_knobs(context.source, values))

    async def release(self) -> None:
        pass


def run(agent: str, options: argparse.Namespace, logs: str) -> State:
    """Run a whole run in a separate process, and return its state."""
    subprocess.run(
        [sys.executable, __file__, "--worker", agent, "--logs", logs, "--experiments", str(options.experiments),
         "--budget", str(options.budget), "--seed", str(options.seed)],
        cwd=Path(logs) / "tree", check=True,
    )  # fmt: skip
    return fold(journal.read(Path(logs) / agent / journal.NAME))


def worker(options: argparse.Namespace) -> None:
    """Run the command line in this process, with RandomKnobs as an additional agent."""
    from core.agents import registry
    from core.cli import main as command

    if options.worker == "random":
        registry.check = lambda *_: RandomKnobs  # type: ignore[assignment]
    command(["run", "--headless", "--name", options.worker, "--logs", options.logs, "--seed", str(options.seed), "--agent",
             "search" if options.worker == "search" else "random", "--budget", str(options.budget), "--slots", "1",
             "--max-experiments", str(options.experiments), "--max-crashes", "1000"])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=10)
    parser.add_argument("--budget", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--logs", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options)
        return
    with tempfile.TemporaryDirectory() as logs:
        tree = Path(logs) / "tree"  # a clone, so that this repository gets no refs of the runs
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
        states = {agent: run(agent, options, logs) for agent in ("search", "random")}
    for agent, state in states.items():
        assert state.start_commit is not None
        base, best = state.mean(state.start_commit.commit), state.mean(state.incumbent)
        assert base is not None and best is not None
        print(f"{agent:<7} baseline {base:.4f}  best {best:.4f}  ({best - base:+.4f})  kept {len(state.kept)} of {state.judged}"
              f"  noise {schedule.noise(state).sigma:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
