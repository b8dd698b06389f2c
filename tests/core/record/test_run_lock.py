"""The lock of a run: one loop at a time, whatever the file system can do."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from core.record import run_lock
from core.record.run_lock import Lock, RunBusy


def test_only_one_loop_holds_a_run_and_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from core.record.run_lock import Lock\n"
        "lock = Lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert run_lock.alive(tmp_path) == holder.pid
        with pytest.raises(RunBusy, match=f"process {holder.pid}"):
            Lock(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    assert run_lock.alive(tmp_path) is None
    Lock(tmp_path).release()


def test_who_only_looks_whether_a_loop_lives_keeps_none_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "LOOK_S", 60.0)
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        timer = threading.Timer(0.1, lambda: fcntl.flock(looker, fcntl.LOCK_UN))
        timer.start()
        Lock(tmp_path).release()
        timer.join()


FLOCK_FAILS = "import errno, fcntl\ndef fail(*a): raise OSError(errno.{name}, 'no locks here')\nfcntl.flock = fail\n"
HOLDS = (
    "import sys; from pathlib import Path; from core.record.run_lock import Lock\n"
    "lock = Lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read(); lock.release()"
)


@pytest.fixture(params=["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EIO"])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system whose locks do not work, and what makes it so in another process."""
    name: str = request.param

    def fail(*arguments: object) -> None:
        raise OSError(getattr(errno, name), "no locks here")

    monkeypatch.setattr(fcntl, "flock", fail)
    monkeypatch.setattr(run_lock, "SETTLE_S", 0.02)
    return FLOCK_FAILS.format(name=name)


def test_where_the_file_system_has_no_locks_the_process_itself_is_looked_for(tmp_path: Path, no_locks: str) -> None:
    assert run_lock.alive(tmp_path) is None
    Lock(tmp_path).release()
    assert run_lock.alive(tmp_path) is None, "a loop that ended is not alive"
    code = no_locks + "from core.record import run_lock; run_lock.SETTLE_S = 0.02\n" + HOLDS
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert run_lock.alive(tmp_path) == holder.pid
    with pytest.raises(RunBusy, match=f"process {holder.pid}"):
        Lock(tmp_path)
    holder.kill()
    until_zombie(holder.pid)
    assert run_lock.alive(tmp_path) is None, "killed, and nobody has waited for it yet"
    holder.communicate()
    assert run_lock.alive(tmp_path) is None
    Lock(tmp_path).release()


def until_zombie(pid: int) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_without_locks_a_later_process_of_that_number_and_an_earlier_start_of_the_machine_are_told_apart(
    tmp_path: Path, no_locks: str
) -> None:
    me = run_lock.Holder.me(True)
    for other in (
        msgspec.structs.replace(me, started=me.started - 1),
        msgspec.structs.replace(me, boot="another start"),
        run_lock.Holder(pid=me.pid),  # as the version before wrote it
    ):
        (tmp_path / "lock").write_bytes(msgspec.json.encode(other))
        assert run_lock.alive(tmp_path) is None
        Lock(tmp_path).release()
    for text in (b"", b"123", b"nonsense", b"{}", b"\xff"):
        (tmp_path / "lock").write_bytes(text)
        assert run_lock.alive(tmp_path) is None
    far = msgspec.structs.replace(me, boot="another machine", host="far-away")
    (tmp_path / "lock").write_bytes(msgspec.json.encode(far))
    assert run_lock.alive(tmp_path) == me.pid
    with pytest.raises(RunBusy, match=f"on far-away.*remove {tmp_path / 'lock'}"):
        Lock(tmp_path)


def test_of_two_who_take_a_run_at_once_without_locks_one_has_it(
    tmp_path: Path, no_locks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other writes its name after both have looked."""
    me = run_lock.Holder.me(True)
    other = msgspec.json.encode(msgspec.structs.replace(me, pid=os.getppid(), started=run_lock.started(os.getppid())))
    monkeypatch.setattr(run_lock.time, "sleep", lambda s: (tmp_path / "lock").write_bytes(other))
    with pytest.raises(RunBusy, match=f"process {os.getppid()}"):
        Lock(tmp_path)


def test_a_final_report_holds_the_lock_but_is_not_a_loop(tmp_path: Path) -> None:
    report = Lock(tmp_path, loop=False)
    assert run_lock.alive(tmp_path) is None
    with pytest.raises(RunBusy, match="final report"):
        Lock(tmp_path)
    report.release()
