"""A whole short night by the real command line, on a cluster that it starts itself."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil

from core.record import events as ev
from core.record import journal
from nanochat.contract.job import Outcome
from tests.product import BETTER, Product, harmless, slowly, until

RAY = ("--executor", "ray")


def events(product: Product) -> list[ev.AnyEvent]:
    return list(journal.read(product.logs / "r" / journal.NAME))


def ours(product: Product) -> list[psutil.Process]:
    """The processes of Ray and of harnesses that the product has started."""
    found = []
    for process in psutil.process_iter(["environ", "status"]):
        environment = process.info["environ"] or {}
        if environment.get("HOME") == product.env["HOME"] and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found + [
        one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] and _inside(one.info["cwd"], product)
    ]


def _inside(cwd: str, product: Product) -> bool:
    return Path(cwd).is_relative_to(product.env["AUTORESEARCH_CLUSTER"])


def test_a_short_night(product: Product) -> None:
    agent = product.script(BETTER, harmless(1), harmless(2))
    done = product.run(*RAY, "--agent", agent, "--max-experiments", "3", "--budget", "2", timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    state = product.state()
    assert state.config is not None and state.config.executor == "ray" and state.judged == 3 and state.kept
    measured = [event for event in events(product) if isinstance(event, ev.Measured)]
    assert all(event.node and event.result.outcome is Outcome.SCORED for event in measured)
    references = {event.result.speed.reference_s for event in measured if event.result.speed is not None}
    assert len(references) == 1
    assert (product.logs / "r" / "baseline.npy").exists()
    assert list((product.logs / "r" / "00001").glob("*/metrics.jsonl"))
    until(lambda: not ours(product), "all processes have ended", 60)


def test_a_loop_that_is_killed_is_continued_and_leaves_no_process(product: Product) -> None:
    agent = product.script(slowly(BETTER), harmless(1))
    options = (*RAY, "--agent", agent, "--max-experiments", "1", "--budget", "2")
    process = product.start(*product.options(), *options)
    until(lambda: (product.logs / "r" / journal.NAME).exists() and product.state().baseline is not None, "the baseline")
    until(lambda: any(launched.number == 1 for launched in product.state().running.values()), "a training")
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not ours(product), "all processes have ended", 60)
    done = product.run("--agent", agent, "--max-experiments", "1", timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    assert product.state().judged == 1
    jobs = [event.job for event in events(product) if isinstance(event, ev.Measured)]
    assert len(jobs) == len(set(jobs)) and not product.state().running
    until(lambda: not ours(product), "all processes have ended", 60)


def test_another_executor_for_a_run_that_is_continued_is_refused(product: Product) -> None:
    agent = product.script(BETTER)
    assert product.run(*RAY, "--agent", agent, "--max-experiments", "1", "--budget", "1").returncode == 0
    refused = product.run("--executor", "local", "--max-experiments", "2")
    assert refused.returncode == 1 and "was started with executor ray" in refused.stderr
