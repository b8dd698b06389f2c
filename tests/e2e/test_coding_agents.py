"""Coding agents in a whole run, by their command line. Scores are computed, since agents are the subject."""

from __future__ import annotations

import re
import sys
import threading
from typing import Any

import pytest

from core.execution.deterministic import World
from core.verdicts import Verdict
from tests.e2e.models import SPEED
from tests.product import Product


@pytest.fixture(autouse=True)
def computed(product: Product) -> None:
    product.compute(World(noise=0.005, seconds=0.1))


AGENT = """
import re, sys
from pathlib import Path
task = sys.stdin.read()
assert "experiment" in task and Path("TASK.md").read_text() == task and Path("program.md").exists()
path = Path("nanochat/train.py")
text = path.read_text()
value = float(re.search(r"DECAY = ([0-9.]+)", text)[1])
path.write_text(re.sub(r"DECAY = [0-9.]+", f"DECAY = {{value + 0.01 * int(re.search('experiment ([0-9]+)', task)[1]):.3f}}", text))
{more}
print("thinking ...")
print("A little decay should help.")
"""


def coder(product: Product, more: str = "") -> str:
    path = product.root.parent / "coder.py"
    path.write_text(AGENT.format(more=more))
    return f"command:{sys.executable} {path}"


def test_a_coding_agents_change_is_the_proposal(product: Product) -> None:
    done = product.run("--agent", coder(product), *SPEED, "--max-experiments", "2")
    assert done.returncode == 0, done.stderr
    first = product.state().experiments[1]
    assert first.hypothesis == "A little decay should help." and first.agent.startswith(sys.executable[:10])
    assert first.verdict is not None and "DECAY = 0.010" in (product.logs / "r" / "00001" / "train.py").read_text()
    assert product.git("status", "--porcelain") == "", "the user's tree is not touched"


def test_changes_elsewhere_are_refused_and_reported(product: Product) -> None:
    process = product.start(
        *product.options(), "--agent", coder(product, "Path('prepare.py').write_text('gone')"), *SPEED
    )
    said = lines(process, "changed prepare.py; only nanochat/train.py may be changed")
    product("stop", "r", "--now")
    process.wait(100)
    assert said and not product.state().experiments and "gone" not in (product.root / "prepare.py").read_text()


def test_a_usage_limit_is_said_and_waited_for(product: Product) -> None:
    more = "print('You have hit your usage limit. Try again in 2 hours.'); sys.exit(1)"
    process = product.start(*product.options(), "--agent", coder(product, more), *SPEED)
    said = lines(process, "asked again")
    clock = r"(\d\d:\d\d|\w{3} \d\d \w{3} \d\d:\d\d)"
    assert re.search(rf"has reached its usage limit until {clock}: .*The agent is asked again at \d\d:\d\d", said), said
    product("stop", "r", "--now")
    process.wait(100)


def lines(process: Any, words: str) -> str:
    """The line with these words; the loop goes on."""
    watchdog = threading.Timer(200, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if words in line:
                return str(line)
    finally:
        watchdog.cancel()
    raise AssertionError(f"never said: {words}")


def test_a_coding_agent_that_repeats_itself_leads_on(product: Product) -> None:
    more = "import re; path.write_text(re.sub('DECAY = .*', 'DECAY = 0.1', text))"  # also where chance has kept it
    done = product.run("--agent", coder(product, more), *SPEED, "--max-experiments", "3")
    assert done.returncode == 0, done.stderr
    found = list(product.state().experiments.values())
    assert len(found) == 3 and found[-1].verdict in (Verdict.INVALID, Verdict.KEEP, Verdict.DISCARD)
    assert any(e.verdict is Verdict.INVALID and "tried before" in e.reason for e in found)
