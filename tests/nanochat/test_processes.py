"""The trainer's processes seen from outside: all CPU time counts, and none survives."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from nanochat import processes
from nanochat.processes import Descendants

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
