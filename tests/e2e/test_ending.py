"""How a loop ends from outside: killed, by a signal, by a command, or by itself. It is continued as if nothing had been."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import signal
from functools import partial

import msgspec
import pytest
from msgspec.structs import replace

from core.execution.deterministic import World
from core.model import Role
from core.record import events as ev
from core.record import journal, run_lock
from core.verdicts import Verdict
from tests.product import TRAIN, Product, edit, harmless, until

WORLD = World(noise=0.002, seconds=0.3)
LONG = replace(WORLD, seconds=600.0)


@pytest.fixture
def computed(product: Product) -> Product:
    """For tests whose subject is not the training."""
    product.compute(WORLD)
    return product


def endless(count: int) -> list[dict[str, object]]:
    """Harmless ideas, each a different learning rate."""
    return [
        {"hypothesis": f"Learning rate {i}.", "source": TRAIN.replace("LR = 0.01", f"LR = {0.02 + i / 1000:.3f}")}
        for i in range(count)
    ]


def test_killed_while_it_trains_no_process_outlives_it_and_nothing_is_lost(product: Product) -> None:
    """In the baseline, and in an experiment. Every other moment: tests/core/loop/test_killed.py."""
    agent = product.script(*map(harmless, range(1, 40)))
    path = product.logs / "r" / "events.jsonl"
    recorded = b""
    for role in (Role.BASELINE, Role.CANDIDATE):
        loop = product.start(*product.options(), "--agent", agent)
        until(partial(trains, product, role), f"a trainer of the {role} is there")
        loop.kill()
        loop.communicate()
        assert path.read_bytes().startswith(recorded), "a recorded event vanished"
        recorded = path.read_bytes()
    until(lambda: not product.strays(), "no process outlives its loop", within=60)
    target = product.state().judged + 1
    done = product.run("--agent", agent, "--max-experiments", str(target))
    assert done.returncode == 0, done.stdout + done.stderr
    assert path.read_bytes().startswith(recorded)
    state = product.state()
    assert state.judged >= target
    interrupted = [e for e in state.experiments.values() if e.verdict is Verdict.INTERRUPTED]
    repeated = {e.retry_of for e in state.experiments.values()}
    assert interrupted and all(e.number in repeated for e in interrupted)
    assert product.git("fsck", "--no-dangling") == ""
    refs = dict(
        line.split()[::-1] for line in product.git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    )
    for experiment in state.experiments.values():
        assert refs[f"refs/autoresearch/r/{experiment.id}"] == experiment.attempts[0]


def trains(product: Product, role: Role) -> bool:
    """Whether a process trains for this role now."""
    if not (product.logs / "r" / journal.NAME).exists():
        return False
    state = product.state()
    return any(launched.role is role and state.processes.get(job) for job, launched in state.running.items())


def test_killed_before_it_had_written_down_its_start(computed: Product) -> None:
    assert computed.run("--agent", computed.script(*endless(1))).returncode == 0
    path = computed.logs / "r" / "events.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    done = computed.run("--agent", computed.script(*endless(1)))
    assert done.returncode == 0, done.stderr
    state = computed.state()
    assert state.judged == 1 and computed.git("show", f"{state.start_commits[0]}:nanochat/train.py") == TRAIN.strip()


def test_killed_between_two_lines(computed: Product) -> None:
    """What was about to be refused is refused, and what was interrupted is queued once more."""
    (computed.root / "program.md").write_text("---\noff_limits: BATCH\n---\n# Aim\n\nLow.\n")
    agent = computed.script(edit("Touch it.", ("BATCH = 8", "BATCH = 9")), *endless(1))
    assert computed.run("--agent", agent).returncode == 0
    path = computed.logs / "r" / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    before = computed.state()
    assert before.experiments[1].verdict is Verdict.INVALID and before.experiments[2].verdict is not None
    first = next(i for i, line in enumerate(lines) if b'"type":"proposed"' in line)
    path.write_bytes(b"".join(lines[: first + 1]))
    assert computed.run("--agent", agent).returncode == 0
    refused = computed.state().experiments[1]
    assert refused.verdict is Verdict.INVALID and not refused.launched and "rejected after a restart" in refused.reason
    second = next(i for i, line in enumerate(lines) if b'"type":"proposed"' in line and i > first)
    cut = ev.Judged(number=2, verdict=Verdict.INTERRUPTED, finding="f")
    path.write_bytes(b"".join(lines[: second + 1]) + msgspec.json.encode(cut) + b"\n")
    assert computed.run("--agent", agent).returncode == 0
    again = [e for e in computed.state().experiments.values() if e.retry_of == 2]
    assert len(again) == 1 and again[0].launched and again[0].verdict not in (None, Verdict.INTERRUPTED)


def test_a_hang_up_does_not_end_what_was_started_to_outlive_the_terminal(product: Product) -> None:
    """`nohup ... &` in a terminal that closes: SIGHUP and SIGINT were ignored at the start, by nohup and by the shell."""
    product.compute(LONG)
    options = [*product.options(), "--agent", product.script(*endless(5))]
    shell, terminal = pty.fork()
    if not shell:
        os.chdir(product.root)
        line = f"nohup {shlex.join(product.command(*options))} & wait"
        os.execvpe("bash", ["bash", "-c", line], product.env)
    until(lambda: product.logs.joinpath("r/events.jsonl").exists() and product.state().running, "it trains")
    pid = run_lock.alive(product.logs / "r")
    assert pid is not None
    os.close(terminal)
    os.waitpid(shell, 0)
    for number in (signal.SIGHUP, signal.SIGINT):
        os.kill(pid, number)
    asked = product("stop", "r", "--now")
    assert "stopping now" in asked.stdout, asked.stdout + asked.stderr
    state = product.state()
    assert state.stopped is not None and state.stopped.reason == "stop requested"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(product: Product, number: signal.Signals) -> None:
    product.compute(LONG)
    loop = product.start(*product.options(), "--agent", product.script(*endless(5)))
    assert loop.stdout is not None
    for line in loop.stdout:
        if "baseline: training" in line:
            break
    loop.send_signal(number)
    output, _ = loop.communicate(timeout=100)
    assert loop.returncode == 0, output
    assert f"stop requested by {number.name}" in output
    state = product.state()
    assert state.stopped is not None and not state.running


def disturb(product: Product, run: str) -> None:
    """What cleaners, editors and file managers do meanwhile."""
    shutil.rmtree(product.env["TMPDIR"])
    folder = product.logs / run
    for place in (folder / "harness", folder / "harness" / "nanochat", folder / "data"):
        for name in (".DS_Store", "4913", ".scorer.py.swp", "json.py", "scorer.so"):
            (place / name).write_text("foreign")
    shutil.rmtree(folder / "loop")
    shutil.rmtree(folder / "scratch", ignore_errors=True)  # in which somebody works


@pytest.mark.parametrize("now", [False, True], ids=["stop", "stop --now"])
def test_stop_finishes_the_experiment_and_stop_now_does_not(product: Product, now: bool) -> None:
    """Whatever else happens to files beside the run's own. Only the training that is finished is a real one."""
    product.env["TMPDIR"] = str(product.root.parent / ("t" * 84))
    if now:
        product.compute(LONG)
    os.makedirs(product.env["TMPDIR"])
    loop = product.start(*product.options(), "--agent", product.script(*map(harmless, range(1, 50))))
    assert loop.stdout is not None
    for line in loop.stdout:
        if ("baseline: training" if now else "#1 training") in line:
            break
    disturb(product, "r")
    asked = product("stop", "r", *(["--now"] if now else []))
    assert asked.returncode == 0, asked.stderr
    output, _ = loop.communicate(timeout=200)
    assert loop.returncode == 0, output
    state = product.state()
    assert not state.running and state.stopped is not None
    if now:
        assert state.judged == 0 and state.baseline is None
    else:
        assert state.experiments[1].verdict not in (None, Verdict.INTERRUPTED)
    assert product.strays() == []


def test_a_second_loop_is_refused_and_a_run_whose_copies_were_altered_ends(product: Product) -> None:
    product.compute(replace(WORLD, seconds=3.0))
    loop = product.start(*product.options(), "--agent", product.script(*endless(5)))
    assert loop.stdout is not None
    for line in loop.stdout:
        if "baseline: training" in line:
            break
    second = product.run("--agent", "search")
    assert second.returncode == 1 and "already has a loop" in second.stderr
    assert f"process {loop.pid}" in second.stderr
    altered = product.logs / "r" / "harness" / "nanochat" / "harness" / "scorer.py"  # and every end has its reason
    altered.write_text(altered.read_text() + "# altered\n")
    output, _ = loop.communicate(timeout=100)
    assert loop.returncode == 1 and "was altered" in output
    assert f"own copy {altered} was altered" in product("status", "r").stdout
    third = product.run("--agent", "search")
    assert third.returncode == 1 and "was altered" in third.stderr and "--from r" in third.stderr
