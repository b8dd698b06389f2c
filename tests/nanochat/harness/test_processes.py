"""The trainer's processes seen from outside: all CPU time counts, and none survives."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from nanochat.harness import processes
from nanochat.harness.processes import Descendants, Usage
from nanochat.harness.trainer_process import SPARE, Failed, TrainerProcess

BURN = """
import os, signal, sys, threading, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
"""
ENOUGH_S = 0.9
WAYS = {
    "itself": "burn(30)",
    "a child that is waited for": "if os.fork() == 0:\n    burn(30); os._exit(0)\nos.wait()",
    "a child that is reaped by itself": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork() == 0:\n    burn(30); os._exit(0)",
    "a child of another thread": "def work():\n    if os.fork() == 0:\n        burn(30); time.sleep(600)\n    time.sleep(600)\n"
    "threading.Thread(target=work, daemon=True).start()",
    "a child of one of many threads": "for _ in range(99):\n    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    "if os.fork() == 0:\n    burn(30); time.sleep(600)",
    "a grandchild that moved away": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        burn(30); os._exit(0)\n"
    "    sys.stdin.read(); os._exit(0)",  # once the test has seen all three
}  # fmt: skip


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BURN + code + "\nprint('done', flush=True)\ntime.sleep(600)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the processes that moved away")
@pytest.mark.parametrize("listed", [processes.LISTED, False])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_burning_is_counted(way: str, listed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LISTED", listed)
    began = time.monotonic()
    with start(WAYS[way]) as process:
        assert process.stdin is not None
        tree = Descendants(process.pid)
        used, enough = 0.0, ENOUGH_S
        while used < enough and time.monotonic() < began + 100:
            used = tree.poll().cpu_s
            if len(tree.pids) == 3 and not process.stdin.closed:
                process.stdin.close()
                enough = used + ENOUGH_S
            time.sleep(0.02)
        lasted = time.monotonic() - began
        tree.kill_all()
    assert enough <= used < lasted + 0.2, "one thread at a time burns: nothing is missed, nothing counts twice"


@pytest.mark.parametrize("listed", [processes.LISTED, False])
def test_the_tree_is_measured_and_ended(listed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LISTED", listed)
    process = start("block = bytearray(80_000_000)\nfor _ in range(3):\n    if os.fork() == 0: time.sleep(600)")
    assert process.stdout is not None and process.stdout.readline() == "done\n"
    tree = Descendants(process.pid)
    usage = tree.poll()
    assert usage.count == 4 and usage.rss > 80_000_000
    children = psutil.Process(process.pid).children(recursive=True)
    assert tree.kill_all()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let psutil see a system clock that was set, as a time server does after the machine woke up."""
    linux = psutil._pslinux  # type: ignore[attr-defined]
    boot_time = linux.boot_time
    monkeypatch.setattr(linux, "boot_time", lambda: boot_time() + seconds)


@pytest.mark.skipif(sys.platform != "linux", reason="the start of a process is computed from the clock only on Linux")
@pytest.mark.parametrize("listed", [processes.LISTED, False])
def test_no_process_counts_twice_after_the_clock_was_set(listed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LISTED", listed)
    process = start("if os.fork() == 0:\n    burn(0.3); print('burnt', flush=True); time.sleep(600)")
    assert process.stdout is not None and {process.stdout.readline() for _ in range(2)} == {"done\n", "burnt\n"}
    tree = Descendants(process.pid)
    before = tree.poll()
    created = psutil.Process(process.pid).create_time()
    set_clock(monkeypatch, 2.0)
    assert psutil.Process(process.pid).create_time() - created == pytest.approx(2.0)
    after = tree.poll()
    assert (after.count, len(tree.pids)) == (2, 2) and after.cpu_s < before.cpu_s + 0.1
    assert tree.kill_all()
    process.communicate()


@pytest.mark.skipif(not processes.LISTED, reason="only Linux lists the children of a process")
def test_who_has_the_number_of_an_ended_process_is_left_alone() -> None:
    process = start("if os.fork() == 0: time.sleep(600)")
    assert process.stdout is not None and process.stdout.readline() == "done\n"
    known = psutil.Process(process.pid)
    assert len(processes._children(known)) == 1
    known._ident = (known.pid, 1.0)  # as if it had started at another time
    known._create_time = 1.0
    assert processes._children(known) == []
    assert Descendants(process.pid).kill_all()
    process.communicate()


# -- on a GPU: compilers that share their memory, and a clock that needs no process to be looked at ---------------------

SHARED = 100_000_000
FAMILY = f"block = bytearray({SHARED})\nfor _ in range(5):\n    if os.fork() == 0: time.sleep(600)"
needs_shares = pytest.mark.skipif(
    not os.path.exists("/proc/self/smaps_rollup"), reason="only Linux tells who shares memory"
)


@needs_shares
def test_shared_memory_is_counted_once() -> None:
    process = start(FAMILY)
    assert process.stdout is not None and process.stdout.readline() == "done\n"
    tree = Descendants(process.pid)
    resident, shares = tree.poll().rss, tree.proportional()
    assert resident > 6 * SHARED and SHARED < shares < 2 * SHARED
    assert tree.kill_all()
    process.communicate()


def test_where_the_kernel_does_not_tell_shares_the_resident_size_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_proportional", lambda pid: None)
    process = start("block = bytearray(80_000_000)")
    assert process.stdout is not None and process.stdout.readline() == "done\n"
    tree = Descendants(process.pid)
    assert tree.proportional() > 80_000_000
    assert tree.kill_all()
    process.communicate()


class Counted(Descendants):
    """Counts how often the tree is looked at."""

    looks = shares = 0

    def poll(self) -> Usage:
        self.looks += 1
        return super().poll()

    def proportional(self) -> int:
        self.shares += 1
        return super().proportional()


def watching(tree: Descendants, *, wall: bool, limit: int | None) -> TrainerProcess:
    """The part of a watch that looks at processes, on a tree that it has not started."""
    watch = object.__new__(TrainerProcess)
    watch._tree, watch._wall, watch._limit = tree, wall, limit
    watch._began, watch._polled, watch._usage, watch.peak_rss = time.monotonic(), 0.0, Usage(0.0, 0, 1), 0
    return watch


@needs_shares
@pytest.mark.parametrize(("wall", "limit", "fits"), [(True, 2, True), (True, 0.5, False), (False, 2, False)])
def test_a_limit_of_memory_counts_what_is_shared_once_on_a_gpu(wall: bool, limit: float, fits: bool) -> None:
    """Three processes share 1 GB; the limit is in units of 0.5 GB. On a CPU sizes are summed: a trainer has no children."""
    code = f"block = bytearray({2 * SPARE})\nfor _ in range(2):\n    if os.fork() == 0: time.sleep(600)"
    process = start(code)
    assert process.stdout is not None and process.stdout.readline() == "done\n"
    tree = Counted(process.pid)
    watch = watching(tree, wall=wall, limit=int(limit * SPARE))
    try:
        if fits:
            watch.used()
            assert 2 * SPARE < watch.peak_rss < 3 * SPARE
        else:
            with pytest.raises(Failed, match="memory") as error:
                watch.used()
            assert error.value.crash == "out-of-memory"
        assert tree.shares == wall
    finally:
        tree.kill_all()
        process.communicate()


@pytest.mark.parametrize(("wall", "fresh"), [(True, False), (True, True), (False, False), (False, True)])
def test_processes_are_looked_at_twice_a_second_where_the_clock_is_on_the_wall(wall: bool, fresh: bool) -> None:
    process = start("")
    tree = Counted(process.pid)
    watch = watching(tree, wall=wall, limit=None)
    asked, until = 0, time.monotonic() + 0.3
    while time.monotonic() < until:
        watch.used(fresh=fresh)
        asked += 1
        time.sleep(0.02)
    lasted = time.monotonic() - watch._began
    if wall:
        assert 1 <= tree.looks <= 1 + lasted / 0.5 and watch.used() >= lasted
        assert tree.looks < asked or lasted / asked > 0.5
    else:
        assert tree.looks == asked if fresh else tree.looks > 2
    assert tree.shares == 0 and tree.kill_all()
    process.communicate()
