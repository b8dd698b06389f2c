"""Notifications: real commands, a real server, and never a loop that waits for them."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.loop.approval import Approval
from core.machine.project import UsageError
from core.record import events as ev
from core.record.fold import apply
from core.record.state import State
from core.run import notify
from core.run.active import ActiveRun
from core.run.notify import Notifier, moment
from tests.core.reporting.reports import START, state_of
from tests.core.run.test_active import active as active


def proposed(number: int, **more: Any) -> ev.Proposed:
    return ev.Proposed(number=number, commit=f"c{number}", parent=START, fingerprint=str(number), agent="search", charter="",
                       hypothesis="Try it.", **more)  # fmt: skip


def played(state: State, *events: ev.AnyEvent) -> list[object]:
    """The moments of these events, each folded into the state first."""
    found = []
    for event in events:
        apply(state, event)
        found.append(moment(event, state))
    return found


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A server that answers 200, and 500 to /broken."""
    heard: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listener = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}", heard
    listener.shutdown()
    thread.join()
    listener.server_close()


def test_the_moments_are_few() -> None:
    state = state_of(7, keep_every=7)
    kept = ev.Judged(number=7, verdict=state.experiments[7].verdict, finding="", gain=0.004)  # type: ignore[arg-type]
    assert moment(kept, state) == ("best", "New best: #7 Change 7 (-0.0040 bpb).", 7)
    asked = played(
        state, ev.ApprovalChanged(mode="ask"), proposed(9), ev.Paused(), ev.Paused(reason="the disk is full"),
        ev.Notice(text="Something else."), ev.Notice(text="No training was possible for 5 min.", stalled=True),
    )  # fmt: skip
    assert asked == [
        None, None, None, ("paused", "The run is paused: the disk is full", None), None,
        ("stalled", "The run is stalled: No training was possible for 5 min.", None),
    ]  # fmt: skip


def test_only_a_waiting_proposal_is_notified(active: ActiveRun, tmp_path: Path) -> None:
    """In a run that asks, nothing waits while no app is open."""
    active.record(ev.ApprovalChanged(mode="ask"))
    out = tmp_path / "out.jsonl"
    notifier = notify.attached(active, f"cat >> {out}; echo >> {out}")
    watched = [False]
    approval = Approval(active, lambda: watched[0], 60.0)
    for number in (1, 2):
        active.record(proposed(number))
        approval.step()
        watched[0] = True
    approval.step()
    notifier.close()
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(one["moment"], one["experiment"], one["text"]) for one in told] == [
        ("waiting", 2, "#2 waits for your answer: Try it.")
    ]


def test_a_full_disk_does_not_keep_the_news(tmp_path: Path) -> None:
    (tmp_path / notify.LOG).mkdir()  # the log cannot be written
    state, told = state_of(5), list[str]()
    notifier = Notifier(f'printf "$AUTORESEARCH_MOMENT" > {tmp_path}/out', tmp_path, told.append)
    notifier.send("paused", "The disk is full.", None, state)
    notifier.close()
    assert (tmp_path / "out").read_text() == "paused" and told == []


def test_a_command_gets_the_facts_as_json_and_the_news_in_its_environment(tmp_path: Path) -> None:
    state, told = state_of(10, keep_every=5), list[str]()
    out = tmp_path / "out"
    notifier = Notifier(
        f'cat > {out}.json; printf "%s|%s" "$AUTORESEARCH_MOMENT" "$AUTORESEARCH_TEXT" > {out}.txt',
        tmp_path,
        told.append,
    )
    notifier.send("ended", notify.ended(state), None, state)
    notifier.close()
    facts = json.loads((tmp_path / "out.json").read_text())
    assert (facts["moment"], facts["run"], facts["kept"], facts["tried"]) == ("ended", "night", 2, 10)
    assert facts["gain"]["change"] == pytest.approx(-0.008) and facts["final_check"] is None
    assert (tmp_path / "out.txt").read_text() == (
        "ended|Run night has ended (reached --max-experiments): 2 of 10 kept, val_bpb 1.0000 -> 0.9920 (-0.0080 ± 0.0141)."
    )
    assert told == []


def test_a_command_that_fails_is_reported_once_and_its_output_kept(tmp_path: Path) -> None:
    state, told = state_of(5), list[str]()
    notifier = Notifier("echo no such thing >&2; exit 3", tmp_path, told.append)
    for _ in range(3):
        notifier.send("ended", "over", None, state)
    notifier.close()
    assert len(told) == 1 and "exit code 3. The run goes on" in told[0]
    assert "no such thing" in (tmp_path / notify.LOG).read_text()


def test_the_loop_does_not_wait_for_a_command_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "END_S", 0.3)
    state, told = state_of(5), list[str]()
    notifier = Notifier("sleep 600 & sleep 600", tmp_path, told.append)
    began = time.monotonic()
    notifier.send("ended", "over", None, state)
    assert time.monotonic() - began < 0.25, "it does not wait for it to start either"
    notifier.close()
    assert time.monotonic() - began < 5 and "it took longer" in told[0]


def test_presets_send_the_news(tmp_path: Path, server: tuple[str, list[tuple[str, dict[str, str], bytes]]]) -> None:
    address, heard = server
    state, told = state_of(10, keep_every=5), list[str]()
    for target in (
        f"ntfy:{address}/topic",
        f"slack:{address}/hook",
        f"discord:{address}/hook",
        f"ntfy:{address}/broken",
    ):
        notifier = Notifier(target, tmp_path, told.append)
        notifier.send("best", "New best: #5 Größer.", 5, state)
        notifier.close()
    (topic, headers, body), (_, _, slack), (_, _, discord), _ = heard
    assert topic == "/topic" and headers["Title"] == "AutoResearch: night" and body.decode() == "New best: #5 Größer."
    assert json.loads(slack) == {"text": "AutoResearch: night\nNew best: #5 Größer."} and "content" in json.loads(
        discord
    )
    assert len(told) == 1 and "HTTPStatusError" in (tmp_path / notify.LOG).read_text(), "the last one was refused"


def test_a_secret_address_is_in_no_list_of_processes_and_in_no_log(tmp_path: Path) -> None:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.extend(" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True))
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    listener = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    told: list[str] = []
    try:
        for target in (f"slack:http://127.0.0.1:{listener.server_port}/SECRET", "discord:http://127.0.0.1:SECRET"):
            notifier = Notifier(target, tmp_path, told.append)
            notifier.send("best", "New best.", 5, state_of(5))
            notifier.close()
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()
    assert any("core.run.notify_send" in line for line in seen) and "SECRET" not in "".join(seen)
    log = (tmp_path / notify.LOG).read_text()
    assert log == "slack: HTTPStatusError, status code 404\ndiscord: InvalidURL\n" and "SECRET" not in "".join(told)


def test_a_command_is_in_no_list_of_processes(tmp_path: Path) -> None:
    shown = f'{sys.executable} -c "import os, psutil; print(psutil.Process(os.getppid()).cmdline())"'
    told: list[str] = []
    notifier = Notifier(f": SECRET; {shown} > out; env > environ; echo $0 $# >> out", tmp_path, told.append)
    notifier.send("best", "New best.", 5, state_of(5))
    notifier.close()
    line, arguments = (tmp_path / "out").read_text().splitlines()
    assert told == [] and "/bin/sh" in line and "SECRET" not in line and arguments == "/bin/sh 0"
    environ = (tmp_path / "environ").read_text()
    assert "AUTORESEARCH_TEXT=New best." in environ and "SECRET" not in environ


def test_the_user_chooses_the_moments(active: ActiveRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    notifier = notify.attached(active, f'echo "$AUTORESEARCH_MOMENT" >> {out}', "stalled, ended")
    active.record(ev.Paused(reason="the disk is full"))
    active.record(ev.Notice(text="No training was possible for 5 min.", stalled=True))
    notifier.send("ended", "over", None, active.state)
    notifier.close()
    assert sorted(out.read_text().split()) == ["ended", "stalled"]
    for wrong, words in (
        ("best,end", "knows no moment end. Known are best, waiting, paused, stalled, ended"),
        (" , ", "needs some"),
    ):
        with pytest.raises(UsageError, match=words):
            notify.check("desktop", wrong)
    assert notify.moments_of(None) == notify.MOMENTS and notify.moments_of("ended,best") == ("best", "ended")


APP = "import sys; print('ready', flush=True); sys.stdin.read()"  # what stands in for an app, in a terminal of its own


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, b"\x1b]9;AutoResearch: night: New best, #5.\x07\x1b]777;notify;AutoResearch: night;New best, #5.\x07"),
        ({"TERM_PROGRAM": "WezTerm"}, b"\x1b]777;notify;AutoResearch: night;New best, #5.\x07"),
        (
            {"TERM_PROGRAM": "ghostty", "TMUX": "/tmp/tmux,1,0"},
            b"\x1bPtmux;\x1b\x1b]777;notify;AutoResearch: night;New best, #5.\x07\x1b\\",
        ),
    ],
)
def test_the_terminals_of_attached_apps_show_the_news(tmp_path: Path, environ: dict[str, str], expected: bytes) -> None:
    pid, terminal = pty.fork()
    if not pid:
        names = ("TERM_PROGRAM", "TMUX")
        given = {name: value for name, value in os.environ.items() if name not in names} | environ
        os.execve(sys.executable, [sys.executable, "-c", APP, "root", "tui", str(tmp_path)], given)
    try:
        shown = os.read(terminal, 1000)
        while b"ready" not in shown:
            shown += os.read(terminal, 1000)
        told: list[str] = []
        notifier = Notifier("terminal", tmp_path, told.append)
        notifier.send("best", "New best; #5.\x1b\x07", 5, state_of(10, keep_every=5))
        notifier.close()
        assert told == [], (tmp_path / notify.LOG).read_text()
        shown = b""
        while len(shown) < len(expected) and select.select([terminal], [], [], 20.0)[0]:
            shown += os.read(terminal, 1000)
        assert shown.replace(b"\r\n", b"") == expected
    finally:
        os.close(terminal)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_without_an_app_the_terminal_is_told_nothing_and_that_is_no_failure(tmp_path: Path) -> None:
    code = "import sys; from core.run import notify_terminal; notify_terminal.show(__import__('pathlib').Path(sys.argv[1]), 'a', 'b')"
    done = subprocess.run(
        [sys.executable, "-c", f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {code!r}, sys.argv[1]]))", tmp_path],
        start_new_session=True, cwd=Path(__file__).parents[3], capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "No app is attached in a terminal, so nothing was shown.\n"), (
        done.stderr
    )


@pytest.mark.parametrize("target", ["", "  ", "ntfy", "slack:", "discord"])
def test_a_target_that_cannot_work_starts_nothing(target: str) -> None:
    with pytest.raises(UsageError, match="Nothing was started"):
        notify.check(target)
    notify.check("desktop")
    notify.check("terminal")
    notify.check(None)
    notify.check("ntfy:my-topic")
    notify.check("mail -s done me@example.org")
