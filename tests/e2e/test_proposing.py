"""Proposals without a run, and agents that are named wrongly or are not there yet."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.models import ideas, with_ollama
from tests.ollama_server import MODEL, Script, serving
from tests.product import Product


def test_proposals_without_training(product: Product) -> None:
    with serving(Script(ideas)) as url:
        with_ollama(product, url)
        done = product("propose", "--agent", f"ollama:{MODEL}", "-n", "2")
        told = product("propose", "--agent", f"ollama:{MODEL}", "--dry-run")
    assert done.returncode == 0 and done.stdout.count("applies;") == 2 and '"tokens"' in done.stdout
    assert "program.md: what the human wants" in told.stdout and "about" in told.stdout
    assert not (product.logs / "r").exists()


@pytest.mark.parametrize(("pulls", "answer"), [("", "y"), ("no space left on device", "y"), ("", "n")])
def test_at_a_terminal_a_missing_model_is_offered_and_pulled(product: Product, pulls: str, answer: str) -> None:
    script = Script(ideas, pulls=pulls)
    with serving(script) as url:
        with_ollama(product, url)
        code, said = at_a_terminal(product, "Pull it now?", answer, "propose", "--agent", "ollama:wanted:1b")
    if pulls:
        assert code == 1 and "no space left on device" in said and "The model was not pulled" in said
    elif answer == "y":
        assert code == 0 and "wanted:1b" in script.models and "applies;" in said and "1. ollama:wanted:1b" in said
    else:
        assert code == 0 and "wanted:1b" not in script.models and "1. search" in said


def at_a_terminal(product: Product, question: str, answer: str, *arguments: str) -> tuple[int, str]:
    """Exit code and words of a command that somebody types at a terminal, and answers."""
    master, slave = pty.openpty()
    env = {**product.env, "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        product.command(*arguments), cwd=product.root, env=env, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    said, answered = "", False
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.1)[0]:
            continue
        try:  # until the other end is closed, which is when the process has ended
            said += os.read(master, 4096).decode("utf-8", "replace")
        except OSError:
            break
        if question in said and not answered:
            answered = os.write(master, answer.encode() + b"\n") > 0
    os.close(master)
    return process.wait(100), said


def test_proposals_without_training_keep_to_what_is_off_limits(product: Product) -> None:
    (product.root / "program.md").write_text("---\noff_limits: DECAY\n---\n# Aim\n\nLow val_bpb.\n")
    script = product.script({"hypothesis": "h", "edits": [{"search": "DECAY = 0.0 ", "replace": "DECAY = 0.5 "}]})
    assert "does not apply: DECAY is off limits" in product("propose", "--agent", script).stdout
    with serving(Script(ideas, models=("tiny:135m",), parameters="135M", context=4096)) as url:
        with_ollama(product, url)
        told = product("propose", "--agent", "ollama:tiny:135m", "--dry-run").stdout
    assert (
        "form of answer knob, operator draft, context of 4096 tokens" in told
        and "- LR = 0.01" in told
        and "- DECAY" not in told
    )
    assert "asks no model" in product("propose", "--agent", "search", "--dry-run").stdout


AGENT = """
from core.agents.base import AgentFailed
from core.model import Edit, Proposal

class Colourful:
    name = "colourful"
    left = {left}

    async def propose(self, context):
        if not self.left:
            raise AgentFailed("\\x1b[2Jnothing")
        change = self.left.pop()
        return Proposal(hypothesis="\\x1b[31mred\\x07", edits=(Edit(search="LR = 0.01", replace=change),))

    async def release(self):
        pass

def make():
    return Colourful()
"""


@pytest.mark.parametrize(
    ("left", "code", "words"),
    [
        ("[]", 1, "1. no proposal: [2Jnothing"),
        ("['LR = 0.02  # \\x1b]0;title\\x07']", 0, "+LR = 0.02  # ]0;title"),
        ("['LR = = \\x1b[2J']", 0, "does not apply"),
    ],
)
def test_an_agent_writes_no_escape_sequences_and_its_failure_is_one(
    product: Product, left: str, code: int, words: str
) -> None:
    path = product.root.parent / "colourful.py"
    path.write_text(AGENT.replace("{left}", left))
    done = product("propose", "--agent", f"python:{path}")
    assert done.returncode == code and words in done.stdout, done.stdout + done.stderr
    assert not {"\x1b", "\x07"} & set(done.stdout)


@pytest.mark.parametrize("spec", ["nonsense", "ollama:", "claude:x", "search,nonsense"])
def test_unknown_agents_are_said(product: Product, spec: str) -> None:
    done = product.run("--agent", spec)
    assert done.returncode == 1 and "There is no agent" in done.stderr and not Path(product.logs / "r").exists()
