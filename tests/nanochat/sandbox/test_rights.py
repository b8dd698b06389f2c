"""The sandbox by itself: what a process can still do after it gave its rights up, tried in a child that ends afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanochat.sandbox import landlock, seccomp
from nanochat.sandbox.libc import LINUX
from nanochat.sandbox.probe import probe
from nanochat.sandbox.rights import NO_FILES, NO_NETWORK, NO_PROCESSES

FOUND = probe()
needs_landlock = pytest.mark.skipif(FOUND.landlock_abi < 1, reason="this kernel has no Landlock")
needs_filter = pytest.mark.skipif(not FOUND.seccomp, reason="this system takes no filter of system calls")


def after_dropping(code: str, write: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that dropped its rights first."""
    program = (
        "import os, socket, subprocess, sys\nfrom pathlib import Path\nfrom nanochat.sandbox.rights import drop_rights\n"
        f"missing = drop_rights(write=[Path({str(write)!r})], device='cpu', **{settings!r})\n{code}\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)


@needs_landlock
def test_files_of_the_user_are_out_of_reach_and_the_scratch_folder_is_not(tmp_path: Path) -> None:
    scratch, secret = tmp_path / "scratch", tmp_path / "secret"
    scratch.mkdir()
    secret.write_text("mine")
    code = (
        f"Path({str(scratch)!r}, 'note').write_text('x')\n"
        f"for act in (lambda: open({str(secret)!r}).read(), lambda: open({str(secret)!r}, 'w'), lambda: os.remove({str(secret)!r})):\n"
        "    try: act()\n    except PermissionError: print('refused')\n    else: print('allowed')"
    )
    done = after_dropping(code, scratch, memory_limit=None)
    assert done.stdout.split() == ["refused"] * 3, done.stderr
    assert secret.read_text() == "mine" and (scratch / "note").read_text() == "x"


@needs_filter
@pytest.mark.parametrize(
    "act",
    [
        "socket.socket(socket.AF_INET)",
        "os.mkfifo('x') if False else os.setxattr('/tmp', 'user.x', b'')",
        "os.mknod('x')",
        "os.chown('/tmp', 0, 0)",
    ],
)
def test_system_calls_that_no_training_needs_are_refused(tmp_path: Path, act: str) -> None:
    code = f"try: {act}\nexcept OSError as error: print('refused', error.errno)\nelse: print('allowed')"
    done = after_dropping(code, tmp_path, memory_limit=None)
    assert done.stdout.startswith("refused"), done.stdout + done.stderr


@needs_filter
def test_forks_can_be_refused_while_threads_stay_possible(tmp_path: Path) -> None:
    code = (
        "import threading\nthread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "try: os.fork()\nexcept OSError: print('refused', flush=True)"
    )
    done = after_dropping(code, tmp_path, memory_limit=None, forks=False)
    assert done.stdout.split() == ["thread", "refused"], done.stderr


@pytest.mark.skipif(not LINUX, reason="only Linux counts private memory")
def test_private_memory_beyond_the_limit_is_a_memory_error(tmp_path: Path) -> None:
    code = "try: bytearray(1 << 28)\nexcept MemoryError: print('refused')\nbytearray(1 << 20); print('small is fine')"
    done = after_dropping(code, tmp_path, memory_limit=1 << 26)
    assert done.stdout.splitlines() == ["refused", "small is fine"], done.stderr


@needs_landlock
def test_every_part_that_the_probe_promises_holds_after_dropping(tmp_path: Path) -> None:
    done = after_dropping("print(missing)", tmp_path, memory_limit=None)
    reported = done.stdout.strip()
    assert NO_FILES not in reported and "threads" not in reported, done.stderr


def test_the_probe_leaves_its_caller_every_right(tmp_path: Path) -> None:
    probe()
    (tmp_path / "x").write_text("still writable")
    os.close(os.open(__file__, os.O_RDONLY))


def test_missing_parts_are_named_in_words() -> None:
    assert all(part in {NO_FILES, NO_NETWORK, NO_PROCESSES} for part in FOUND.missing)
    assert landlock.abi() == FOUND.landlock_abi or not LINUX
    assert seccomp.program("cpu") is None or FOUND.seccomp


@needs_landlock
def test_a_package_folder_that_changes_during_the_night_can_still_be_searched(tmp_path: Path) -> None:
    """The import system lists a folder again when its time has changed, as it has after `pip install`."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    for name in ("early", "late"):
        (folder / f"{name}.py").write_text(f"print('{name}')")
    program = (
        f"import os, sys\nfrom pathlib import Path\nsys.path.append({str(folder)!r})\nimport early\n"
        f"from nanochat.sandbox.rights import drop_rights\nos.utime({str(folder)!r}, (1, 1))\n"
        "drop_rights(write=[], device='cpu', memory_limit=None)\nimport late"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["early", "late"], done.stderr


@pytest.mark.skipif(not LINUX or os.geteuid() != 0, reason="only root can share its mounts for a test")
def test_the_machine_does_not_see_what_is_mounted_for_a_trainer() -> None:
    """As on most systems, where what is mounted in one place is mounted in all."""
    code = (
        "import ctypes, os\nfrom pathlib import Path\nlibc = ctypes.CDLL(None)\n"
        "from nanochat.sandbox.namespaces import enter_namespaces, mount_shared_memory\n"
        "mounts = lambda: Path('/proc/self/mountinfo').read_text().count('/dev/shm')\n"
        "if libc.unshare(0x20000) or libc.mount(None, b'/', None, 0x4000 | 1 << 20, None): raise SystemExit('refused')\n"
        "before = mounts()\nchild = os.fork()\n"
        "if child == 0:\n    enter_namespaces()\n    own = mount_shared_memory()\n"
        "    print(own, mounts() - before, flush=True)\n    os._exit(0)\n"
        "os.waitpid(child, 0)\nprint(mounts() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    if done.stderr.strip() == "refused":
        pytest.skip("this system lets nobody change its mounts")
    assert done.stdout.split() == ["True", "1", "0"], done.stdout + done.stderr
