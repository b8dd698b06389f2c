"""A whole short night by the real command line, on a cluster that it starts itself."""

from __future__ import annotations

import contextlib
import subprocess

import psutil

from core.model import Role
from core.record import events as ev
from core.record import journal
from nanochat.contract.job import Outcome
from tests.product import BETTER, Product, harmless, slowly, until

RAY = ("--executor", "ray")


def events(product: Product) -> list[ev.AnyEvent]:
    return list(journal.read(product.logs / "r" / journal.NAME))


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """A loop and all that it has started: Ray, its actors, their harnesses."""
    loop = psutil.Process(process.pid)
    return [loop, *loop.children(recursive=True)]


def addresses(processes: list[psutil.Process]) -> set[str]:
    """The addresses on which processes wait for others."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found |= {one.laddr.ip for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN}
    assert found
    return found


def training(product: Product, number: int | None) -> bool:
    if not (product.logs / "r" / journal.NAME).exists():
        return False
    return any(launched.number == number for launched in product.state().running.values())


def test_a_short_night(product: Product) -> None:
    agent = product.script(BETTER, harmless(1), harmless(2))
    limits = ("--max-experiments", "3", "--budget", "2", "--slots", "2")
    process = product.start(*product.options(), *RAY, "--agent", agent, *limits)
    until(lambda: training(product, 1), "a training")
    started = family(process)
    assert addresses(started) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    said, _ = process.communicate(timeout=380)
    assert process.returncode == 0, said
    assert psutil.wait_procs(started, timeout=60)[1] == []
    state = product.state()
    assert state.config is not None and state.config.executor == "ray" and state.judged == 3 and state.kept
    measured = [event for event in events(product) if isinstance(event, ev.Measured)]
    assert all(event.node and event.result.outcome is Outcome.SCORED for event in measured)
    assert len({event.result.speed.reference_s for event in measured if event.result.speed is not None}) == 1
    assert not any(isinstance(event, ev.Processes) for event in events(product))
    assert (product.logs / "r" / "baseline.npy").exists()
    assert list((product.logs / "r" / "00001").glob("*/metrics.jsonl"))

    done = product("report", "r", "--seeds", "2", timeout=380)
    assert "on 2 fresh seeds" in done.stdout, done.stdout + done.stderr
    checks = [event for event in events(product) if isinstance(event, ev.Measured) and event.role is Role.FINAL]
    assert len(checks) == 4 and all(event.node and event.result.outcome is Outcome.SCORED for event in checks)
    slots = {event.slot for event in events(product) if isinstance(event, ev.Launched) and event.role is Role.FINAL}
    assert slots == {0, 1}, "it trains in all slots as well"


def test_a_loop_that_is_killed_is_continued_and_leaves_no_process(product: Product) -> None:
    agent = product.script(slowly(BETTER), harmless(1))
    process = product.start(*product.options(), *RAY, "--agent", agent, "--max-experiments", "1", "--budget", "0.5")
    until(lambda: training(product, 1), "a training")
    started = family(process)
    process.kill()
    process.wait()
    assert psutil.wait_procs(started, timeout=100)[1] == []
    done = product.run("--agent", agent, "--max-experiments", "1", timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    assert product.state().judged == 1 and not product.state().running
    jobs = [event.job for event in events(product) if isinstance(event, ev.Measured)]
    assert len(jobs) == len(set(jobs))


def test_another_executor_for_a_run_that_is_continued_is_refused(product: Product) -> None:
    agent = product.script(BETTER)
    assert product.run(*RAY, "--agent", agent, "--max-experiments", "1", "--budget", "1").returncode == 0
    refused = product.run("--executor", "local", "--max-experiments", "2")
    assert refused.returncode == 1 and "was started with executor ray" in refused.stderr
