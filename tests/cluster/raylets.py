"""A cluster that is started as the documentation says, by `ray start`, so that its head can end and come back on its port."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

HOST = "127.0.0.1"
STORE = str(80 << 20)  # bytes of an object store
START_S = 120.0


class Raylets:
    """A head with one place for trainings, on this machine.

    Args:
        cache: The cache folder of its nodes.

    Attributes:
        port: The port of the head.
        client: The port for `ray://`.
    """

    def __init__(self, cache: Path) -> None:
        self.port, self.client = free_port(), free_port()
        self._env = {**os.environ, "AUTORESEARCH_CLUSTER": str(cache), "RAY_USAGE_STATS_ENABLED": "0"}
        self._env["RAY_memory_monitor_refresh_ms"] = "0"
        self._folder = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))  # paths of sockets must be short
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Start the head, and wait until it answers."""
        log = (self._folder / "start.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address", HOST,
                 "--port", str(self.port), "--ray-client-server-port", str(self.client), "--num-cpus", "1",
                 "--object-store-memory", STORE, "--temp-dir", str(self._folder), "--include-dashboard", "false",
                 "--disable-usage-stats"],
                env=self._env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        for port in (self.port, self.client):
            self._await(port)

    def _await(self, port: int) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, port), 1).close()
                return
            assert self._process is not None and self._process.poll() is None, (self._folder / "start.log").read_text()
            assert time.monotonic() < deadline, (self._folder / "start.log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the head and all that it has started, the workers too."""
        if self._process is None:
            return
        found = psutil.Process(self._process.pid)
        family = [found, *found.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(family, 30)
        self._process = None

    def end(self) -> None:
        """Kill it, and remove its files."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])
