"""The agent of docs/agents.md, as a reader would try it."""

from __future__ import annotations

import re

from core.execution.deterministic import World
from core.verdicts import Verdict
from tests.product import ROOT, Product


def test_the_agent_of_the_documents_works_in_forty_lines(product: Product) -> None:
    text = (ROOT / "docs" / "agents.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 40
    path = product.root.parent / "my_agent.py"
    path.write_text(code)
    tried = product("propose", "--agent", f"python:{path}")
    assert tried.returncode == 0 and "rates" in tried.stdout and "applies" in tried.stdout, tried.stderr
    product.compute(World(seeds=0.01, noise=0.002))
    done = product.run("--agent", f"python:{path}", "--budget", "0.5", "--max-experiments", "5")
    assert done.returncode == 0, done.stderr
    experiments = list(product.state().experiments.values())
    assert 2 <= len(experiments) <= 5 and all(e.agent == "rates" and e.verdict is not None for e in experiments)
    assert any(e.verdict in (Verdict.KEEP, Verdict.DISCARD) for e in experiments)


def test_an_agent_that_cannot_be_made_is_said(product: Product) -> None:
    path = product.root.parent / "broken.py"
    path.write_text("def make(:\n")
    done = product.run("--agent", f"python:{path}")
    assert done.returncode == 1 and "cannot be made (SyntaxError" in done.stderr
