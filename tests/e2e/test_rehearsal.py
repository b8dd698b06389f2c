"""A rehearsal: the command line, git and journal for real, scores from a table."""

from __future__ import annotations

import json
import time

from core.execution.deterministic import World
from core.record import journal
from core.record.events import Notice
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


def test_a_run_writes_its_report_at_its_end(product: Product) -> None:
    product.compute(World(effects={"LR = 0.03": -0.1}, noise=0.002))
    agent = product.script(edit("A larger step.", ("LR = 0.01", "LR = 0.03")), harmless(1))
    done = product.run("--agent", agent, "--report")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Report: logs/r/report.html, and report.png to share." in done.stdout
    text = (product.logs / "r" / "report.html").read_text(encoding="utf-8")
    assert (
        "1 change kept: val_bpb" in text
        and "fresh seeds and the test split" in text
        and (product.logs / "r" / "report.png").exists()
    )
    (product.logs / "r" / "report.html").unlink()
    jobs = product.state().jobs
    assert product("report", "--html").returncode == 0 and product.state().jobs == jobs
    assert (product.logs / "r" / "report.html").exists()
    both = product("report", "--html", "--seeds", "2")
    assert both.returncode == 1 and "Give one of them" in both.stderr


def test_a_report_that_cannot_be_written_is_one_notice(product: Product) -> None:
    product.compute(World(noise=0.002))
    (product.logs / "r" / "report.html").mkdir(parents=True)
    done = product.run("--agent", product.script(harmless(1)), "--report")
    assert done.returncode == 0, done.stdout + done.stderr
    notices = [event.text for event in journal.read(product.logs / "r" / journal.NAME) if isinstance(event, Notice)]
    assert len([text for text in notices if "report.html could not be written" in text]) == 1
    assert done.stdout.count("report.html could not be written") == 1 and "Report: logs" not in done.stdout
    assert product.state().finished


def test_the_user_is_notified_of_a_new_best_and_of_the_end(product: Product) -> None:
    product.compute(World(effects={"LR = 0.03": -0.1}, noise=0.002))
    agent = product.script(edit("A larger step.", ("LR = 0.01", "LR = 0.03")), harmless(1))
    out = product.root / "told.jsonl"
    done = product.run("--agent", agent, "--notify", f"cat >> {out}; echo >> {out}")
    assert done.returncode == 0, done.stdout + done.stderr
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["moment"] for one in told] == ["best", "ended"]
    assert told[0]["text"].startswith("New best: #1 A larger step (-0.1") and "1 of 2 kept" in told[1]["text"]
    refused = product.run("--name", "x", "--notify", "slack:")
    assert refused.returncode == 1 and "needs a target" in refused.stderr and not (product.logs / "x").exists()
