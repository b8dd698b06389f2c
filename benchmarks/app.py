"""Measure the app in a real tmux: first useful paint, memory, CPU load, bytes written, and the latency of keys.

python benchmarks/app.py [--experiments 10000] [--seconds 30]

`peer` is `htop -d 10` in a window of the same size at the same time, if it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
ROOT = Path(__file__).resolve().parent.parent

import psutil

from benchmarks.journal import write
from core.record import journal, run_lock
from core.run import commands

WIDTH, HEIGHT = 120, 40


class Terminal:
    """A window of a separate tmux server. A pipe counts the bytes written to it."""

    def __init__(self, command: str, folder: Path) -> None:
        self.name, self.bytes = f"bench-{os.getpid()}-{time.monotonic_ns()}", folder / f"bytes-{time.monotonic_ns()}"
        self.tmux("-f", os.devnull, "new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), "sleep 1000")
        self.tmux("set", "-g", "remain-on-exit", "on")
        self.began = time.perf_counter()
        # as for users: Python writes compiled modules
        self.tmux("respawn-pane", "-k", f"cd {ROOT} && exec env -u PYTHONDONTWRITEBYTECODE {command}")
        self.tmux("pipe-pane", "-o", f"cat > {self.bytes}")
        self.process = psutil.Process(int(self.tmux("display", "-p", "#{pane_pid}")))

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-L", self.name, *arguments], capture_output=True, text=True)
        return done.stdout.strip("\n")

    def shown(self) -> str:
        return self.tmux("capture-pane", "-p", "-e")

    def until(self, *words: str, seconds: float = 30.0) -> float:
        """Wait for words on the screen. Returns the seconds since the program started."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            shown = re.sub("\x1b\\[[0-9;]*m", "", self.shown())
            if all(word in shown for word in words):
                return time.perf_counter() - self.began
            time.sleep(0.005)
        raise SystemExit(f"not within {seconds} s: {words}\n{self.shown()}")

    def key(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def change(self, key: str, seconds: float = 5.0) -> float:
        """Return the seconds from a key to a changed screen. Waits first until the previous change is complete."""
        before = self._settled()
        began = time.perf_counter()
        self.key(key)
        while time.perf_counter() - began < seconds:
            if self.shown() != before:
                return time.perf_counter() - began
        raise SystemExit(f"{key} changed nothing")

    def _settled(self, still_s: float = 0.1) -> str:
        """Wait until the screen has not changed for `still_s` seconds, and return it."""
        shown = self.shown()
        while True:
            time.sleep(still_s)
            shown, before = self.shown(), shown
            if shown == before:
                return shown

    def load(self, seconds: float) -> tuple[float, float]:
        """Return the CPU load in percent of one core, and the bytes written per second."""
        before, began = self._cpu(), time.perf_counter()
        written = self.bytes.stat().st_size
        time.sleep(seconds)
        elapsed = time.perf_counter() - began
        return 100 * (self._cpu() - before) / elapsed, (self.bytes.stat().st_size - written) / elapsed

    def _cpu(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    def close(self) -> None:
        self.tmux("kill-server")


def large(folder: Path, experiments: int) -> None:
    """Measure the first paint, the memory and the scrolling of a run with many experiments."""
    run = folder / "large"
    run.mkdir()
    write(run / journal.NAME, experiments)
    lock = run_lock.Lock(run)  # as if a loop ran; without one, the summary opens
    terminal = Terminal(f"{sys.executable} -m tui {run}", folder)
    seen = (f" {experiments} ", "1 program.md", "6 progress")
    paint = terminal.until(*seen)
    time.sleep(4)  # until the table is complete
    memory = terminal.process.memory_info().rss / 1e6
    pages = [terminal.change("PageDown") for _ in range(20)]
    print(f"{experiments} experiments: first useful paint {paint:.2f} s (aim 1.0), memory {memory:.0f} MB (aim 150)")
    attached = Terminal(f"{sys.executable} -m core.cli attach large --logs {folder}", folder)
    print(f"  by `autoresearch attach`, the command line's own start included: {attached.until(*seen):.2f} s")
    attached.close()
    lock.release()
    morning = Terminal(f"{sys.executable} -m tui {run}", folder)
    print(f"  of the summary, without a loop: {morning.until('8 summary', 'result', 'tried'):.2f} s")
    morning.close()
    print(f"  a page of scrolling: median {1000 * statistics.median(pages):.0f} ms, with tmux's own part (aim 50)")
    terminal.close()


def live(folder: Path, seconds: float) -> None:
    """Measure load and output of the app on a simulated run with ten loss points per second."""
    run = folder / "live"
    run.mkdir()
    write(run / journal.NAME, 40)
    stop = threading.Event()
    thread = threading.Thread(target=_feed, args=(run, stop))
    thread.start()
    lock = run_lock.Lock(run)
    try:
        app = Terminal(f"{sys.executable} -m tui {run}", folder)
        peer = Terminal("htop -d 10", folder) if shutil.which("htop") else None
        app.until("#41 training")
        time.sleep(4)
        box: list[tuple[float, float]] = []
        other = threading.Thread(target=lambda: box.append(peer.load(seconds) if peer else (float("nan"),) * 2))
        other.start()
        cpu, written = app.load(seconds)
        other.join()
        print(
            f"live, {WIDTH}x{HEIGHT}, 10 loss points a second: {cpu:.1f}% of a core (aim 3), {written / 1000:.1f} KB/s (aim 3)"
        )
        told = f"{box[0][0]:.1f}% of a core, {box[0][1] / 1000:.1f} KB/s" if peer else "htop is not installed"
        print(f"  peer, htop -d 10: {told}")
        app.close()
        if peer:
            peer.close()
    finally:
        stop.set()
        thread.join()
        lock.release()


def _feed(run: Path, stop: threading.Event) -> None:
    out = run / "00041" / "j000041"
    out.mkdir(parents=True)
    with (run / journal.NAME).open("a") as file:
        now = time.time()
        first = {
            "number": 41,
            "commit": "a" * 40,
            "parent": "b" * 40,
            "fingerprint": "x",
            "hypothesis": "Live.",
            "agent": "search",
        }
        file.write(json.dumps({"type": "proposed", "t": now, "charter": "", **first}) + "\n")
        file.write(json.dumps({"type": "approved", "t": now, "number": 41, "by": "auto"}) + "\n")
        job = {"job": "j000041", "role": "candidate", "commit": "a" * 40, "seed": 1, "slot": 0, "number": 41}
        file.write(json.dumps({"type": "launched", "t": now, **job}) + "\n")
    step = 0
    while not stop.wait(0.1):
        step += 1
        progress = min(1.0, step / 3000)
        loss = 3 + 4 / (1 + step / 50) + 0.1 * (step % 7)
        with (out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "progress": progress, "loss": loss}) + "\n")
        if step % 5 == 0:
            slot = {
                "slot": 0,
                "number": 41,
                "role": "candidate",
                "job": "j000041",
                "phase": "training",
                "step": step,
                "loss": loss,
            }
            slot |= {"progress": progress, "charged_s": step / 10, "wall_s": step / 10, "tokens_per_s": 17000.0}
            content = {"t": time.time(), "waiting": None, "proposing": False, "slots": [slot]}
            (run / "live.new").write_text(json.dumps(content))
            os.replace(run / "live.new", run / "live.json")


def keys(folder: Path, busy: bool) -> None:
    """Measure the latency of keys and commands on a real loop of tiny experiments. `busy`: while all cores are busy."""
    run = folder / "logs" / "keys"
    tree = folder / "tree"  # a clone, so that this repository gets no refs of the run
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
    options = [
        "--profile",
        "tiny",
        "--dataset",
        f"text:{ROOT / 'core'}",
        "--name",
        "keys",
        "--logs",
        str(folder / "logs"),
    ]
    loop = subprocess.Popen(
        [sys.executable, "-m", "core.cli", "run", "--headless", "--agent", "search", "--budget", "5", *options],
        stdout=subprocess.DEVNULL, cwd=tree,
    )  # fmt: skip
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1) if busy]
    try:
        app = Terminal(f"{sys.executable} -m tui {run}", folder)
        app.until("1 program.md", "training", seconds=120)
        moves = [app.change(key) for key in ("1", "2", "5", "3", "7", "5") * 8]
        zooms = [app.change("z") for _ in range(20)]
        acks = []
        for _ in range(20):
            began = time.perf_counter()
            commands.send(run, commands.Hold(number=10**6, on=True))
            acks.append(time.perf_counter() - began)
        app.close()
    finally:
        for burner in burners:
            burner.kill()
        loop.terminate()
        loop.wait()
    name = f"with {len(burners)} more busy processes" if busy else "beside one trainer"
    print(f"{name}, p95: key to changed screen {1000 * _p95(moves):.0f} ms (aim 100), zoom {1000 * _p95(zooms):.0f} ms")
    print(f"  command to its acknowledgement {1000 * _p95(acks):.0f} ms (aim 200)")


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large(folder, parsed.experiments)
        live(folder, parsed.seconds)
    for busy in (False, True):
        with tempfile.TemporaryDirectory() as name:
            keys(Path(name), busy)


if __name__ == "__main__":
    main()
