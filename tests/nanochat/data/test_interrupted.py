"""Ctrl-C while data is prepared: the cursor is shown again, no draft is left, one sentence, 128 plus the signal's number."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nanochat.data.prepare import Interrupted, interruptible
from tests.conftest import ROOT

HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.master, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, cwd=ROOT,
            env={**os.environ, "TERM": "xterm", **environment},
        )  # fmt: skip
        os.close(terminal)
        self.output = b""

    def read(self, words: bytes | None = None) -> None:
        """Read until these words have come; without any, to the end."""
        while words is None or words not in self.output:
            try:
                piece = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                piece = b""
            if not piece:
                assert words is None, self.output
                return
            self.output += piece

    def interrupted(self, number: signal.Signals, root: Path) -> None:
        """Send a signal twice, as a terminal and a parent do; check what is left."""
        self.process.send_signal(number)
        self.process.send_signal(number)
        self.read()
        assert self.process.wait(60) == 128 + number, self.output
        assert self.output.rfind(SHOWN) > self.output.rfind(HIDDEN), "the cursor is hidden"
        assert self.output.count(b"Interrupted.") == 1 and b"Traceback" not in self.output
        assert not [path for path in root.iterdir() if path.name != "downloads"]
        os.close(self.master)


@pytest.fixture
def hanging() -> Iterator[str]:
    """A server that begins to send a file and never goes on."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"x" * 100_000)
            self.wfile.flush()
            over.wait()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_that_is_interrupted_keeps_what_came(tmp_path: Path, hanging: str) -> None:
    program = Terminal(
        "prepare.py",
        "--dataset",
        "tinystories",
        AUTORESEARCH_DATA=str(tmp_path),
        HF_ENDPOINT=hanging,
        NO_PROXY="127.0.0.1",
    )
    program.read(HIDDEN)
    program.interrupted(signal.SIGINT, tmp_path)
    assert list((tmp_path / "downloads" / "tinystories").glob("*.part"))


def test_writing_tokens_is_interrupted_in_good_order(tmp_path: Path) -> None:
    """By way of the command line, which waits for what it has started."""
    text, root = tmp_path / "a.txt", tmp_path / "data"
    text.write_text("".join(f"word {i} and {i * i}\n" for i in range(80_000)))
    program = Terminal(
        "-m", "core.cli", "prepare", "--dataset", f"text:{text}", "--vocab", "320", AUTORESEARCH_DATA=str(root)
    )
    program.read(HIDDEN)
    program.interrupted(signal.SIGTERM, root)


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """As of a job in the background, or after nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(Interrupted), interruptible():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
