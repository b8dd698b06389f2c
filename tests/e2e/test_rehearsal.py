"""A rehearsal: the command line, git and journal for real, scores from a table."""

from __future__ import annotations

import json
import time

from tests.product import Product, edit, harmless


def test_a_rehearsal_says_that_it_is_one_and_takes_seconds(product: Product) -> None:
    table = product.root / "world.json"
    table.write_text(json.dumps({"effects": {"LR = 0.03": -0.1, "LR = 0.001": 0.1}, "noise": 0.002}))
    better, worse = edit("A larger step.", ("LR = 0.01", "LR = 0.03")), edit("Tiny steps.", ("LR = 0.03", "LR = 0.001"))
    agent = product.script(better, *(harmless(i) for i in range(1, 6)), worse)
    began = time.monotonic()
    done = product.run("--agent", agent, "--executor", f"deterministic:{table}", "--budget", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is trained" in done.stdout and time.monotonic() - began < 60, (
        "six minutes of training by the budget"
    )
    state = product.state()
    assert state.kept == [1] and state.judged == 7 and state.config is not None and state.config.computed
    again = product("run", "--headless", "--name", "r", "--executor", "local")
    assert again.returncode == 1 and "was started with executor deterministic:" in again.stderr


def test_a_table_that_is_none_starts_nothing(product: Product) -> None:
    done = product.run("--executor", f"deterministic:{product.root / 'missing.json'}")
    assert done.returncode == 1 and "is not a table of scores" in done.stderr and not (product.logs / "r").exists()
