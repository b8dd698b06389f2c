"""What a trainer on a GPU can do inside its sandbox, tried without a card: real harness, real sandbox, code in place of train.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.execution.local import harness_environment
from nanochat.contract.messages import Ready
from nanochat.sandbox import landlock, seccomp
from nanochat.sandbox.libc import set_dumpable
from nanochat.sandbox.namespaces import enter_namespaces, mount_shared_memory
from nanochat.sandbox.probe import probe
from tests.conftest import ROOT, Harness

FOUND = probe()
pytestmark = pytest.mark.skipif(
    FOUND.landlock_abi < 1, reason="this kernel has no Landlock, so nothing is refused here"
)


def mounts() -> bool:
    """Whether a child of this process may mount something."""
    pid = os.fork()
    if pid == 0:
        set_dumpable(True)
        enter_namespaces()
        os._exit(0 if mount_shared_memory() else 1)
    return os.waitpid(pid, 0)[1] == 0


needs_mounts = pytest.mark.skipif(not mounts(), reason="this system lets no process have file systems of its own")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler here")

STARTS = """
import json, os, subprocess, sys, time
from pathlib import Path

def tell(value):
    print("TOLD " + json.dumps(value), flush=True)
    os._exit(0)

def refused(act):
    try:
        act()
    except PermissionError:
        return True
    return False

def fresh(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr

"""


class GpuHarness(Harness):
    """A real fork server for a GPU, whose trainers run any code and tell one value."""

    def __init__(self, data: Path, folder: Path, *, start: list[str] | None = None, **environment: str) -> None:
        self.data, self.folder, self.count = data, folder, 0
        variables = harness_environment("cuda", 0) | {"TORCHINDUCTOR_COMPILE_THREADS": "2"} | environment
        self.process = subprocess.Popen(
            start or [sys.executable, "-m", "nanochat.harness.fork_server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=variables, text=True,
        )  # fmt: skip
        assert isinstance(self.receive(), Ready)

    def told(self, code: str) -> Any:
        """What the code gave to `tell`."""
        result = self.run(STARTS + code, device="cuda", preflight=False, setup_s=200.0, hang_s=200.0)
        path = self.folder / result.job / "output.txt"
        output = path.read_text() if path.exists() else ""
        lines = [line for line in output.splitlines() if line.startswith("TOLD ")]
        assert lines, f"{result.reason}\n{result.traceback}\n{output}"
        return json.loads(lines[-1].removeprefix("TOLD "))


@pytest.fixture(scope="module")
def gpu(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuHarness]:
    made = GpuHarness(tiny_data, tmp_path_factory.mktemp("gpu"))
    yield made
    made.close()


def test_the_fork_server_stays_a_single_thread_with_the_compiler_imported(gpu: GpuHarness) -> None:
    assert psutil.Process(gpu.process.pid).num_threads() == 1
    names = ["setuptools", "torch._inductor.compile_fx", "torch._inductor.scheduler", "torch.utils.cpp_extension"]
    code = (
        f"tell([[name for name in {names!r} if name in sys.modules], "
        "getattr(__import__('torch')._C, '_cuda_isInBadFork', lambda: False)()])"
    )
    assert gpu.told(code) == [names, False], "if the fork server asked for CUDA, no trainer could use it"


@pytest.mark.skipif(not os.access("/sbin/ldconfig", os.X_OK), reason="there is no /sbin/ldconfig here")
def test_triton_may_ask_ldconfig_for_libraries(gpu: GpuHarness) -> None:
    code = 'tell(len(subprocess.check_output(["/sbin/ldconfig", "-p"])))'
    assert gpu.told(code) > 0


def test_a_fresh_interpreter_imports_torch_and_its_extensions(gpu: GpuHarness) -> None:
    """Compile workers are such; `cpp_extension` is imported wherever a kernel is compiled."""
    version = gpu.told('tell(fresh("import torch, torch.utils.cpp_extension; print(torch.__version__)"))')
    assert version[0].isdigit(), version


def test_sources_of_the_standard_library_and_copies_of_them_stay_unreadable(gpu: GpuHarness) -> None:
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    packages = Path(sysconfig.get_paths()["purelib"])
    paths = [stdlib / "os.py", packages / "setuptools/__init__.py", packages / "setuptools/_distutils/core.py"]
    paths += sorted((packages / "setuptools/_vendor").rglob("tarfile/__init__.py")) + sorted(packages.glob("pip/*.py"))
    shown = [str(path) for path in paths if path.exists()]
    assert gpu.told(f"tell([refused(lambda: open(path)) for path in {shown!r}])") == [True] * len(shown)


def test_caches_lie_in_the_folder_of_the_trainer_and_its_user_has_a_name(gpu: GpuHarness) -> None:
    code = """
import getpass
from torch._inductor.runtime import cache_dir_utils
named = [name for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TORCH_WARM_POOL") if name in os.environ]
tell([named, getpass.getuser(), cache_dir_utils.cache_dir().startswith(os.getcwd()), os.environ["TRITON_HOME"] == os.getcwd()])
"""
    assert gpu.told(code) == [["TORCHINDUCTOR_CACHE_DIR"], "trainer", True, True]


@needs_mounts
def test_a_trainer_sees_only_its_own_processes_and_may_name_its_threads(gpu: GpuHarness) -> None:
    """CUDA's driver does the latter by number: /proc/<pid>/task/<tid>/comm. It fails if one of them is missing or read-only."""
    code = """
import threading
names = []
def rename():
    path = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/comm")
    path.write_text("renamed")
    names.append(path.read_text())
thread = threading.Thread(target=rename)
thread.start()
thread.join()
numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
tell([names, os.getpid() in numbers, max(numbers), refused(lambda: open("/proc/sys/kernel/hostname", "w"))])
"""
    names, itself, largest, refused = gpu.told(code)
    assert names == ["renamed\n"] and itself and refused
    assert largest < 50, "the numbers of the machine's processes are larger"


@needs_mounts
def test_each_trainer_has_an_empty_dev_shm_of_its_own_with_semaphores(gpu: GpuHarness) -> None:
    machine = Path("/dev/shm", f"autoresearch-test-{os.getpid()}")
    machine.write_text("of the machine")
    try:
        code = f"""
import multiprocessing
before = os.listdir("/dev/shm")
lock = multiprocessing.get_context("fork").Lock()
Path("/dev/shm/left").write_text("for the next")
hidden = not os.path.exists("/proc/{os.getpid()}")  # nor are other processes seen
size = os.statvfs("/dev/shm")
tell([before, lock.acquire(), hidden, size.f_blocks * size.f_frsize])
"""
        for _ in range(2):  # the second finds nothing of the first
            before, locked, hidden, size = gpu.told(code)
            assert before == [] and locked and hidden and size <= 64 << 20
        assert machine.read_text() == "of the machine" and not Path("/dev/shm/left").exists()
    finally:
        machine.unlink()


@needs_mounts
def test_the_workers_that_compile_kernels_become_ready(gpu: GpuHarness) -> None:
    code = """
from torch._inductor.async_compile import AsyncCompile
AsyncCompile.wakeup()
until = time.monotonic() + 120
while not AsyncCompile.use_process_pool() and AsyncCompile.process_pool().process.poll() is None and time.monotonic() < until:
    time.sleep(0.05)
tell([AsyncCompile.use_process_pool(), AsyncCompile.process_pool().process.poll()])
"""
    assert gpu.told(code) == [True, None]


PARTITIONED = """
import torch
def loss_of(x, w):
    return torch.tanh(x @ w).pow(2).sum()
x, w = torch.randn(8, 16), torch.randn(16, 16, requires_grad=True)
torch._inductor.config.cpp.vec_isa_ok = False  # a plain kernel: takes less time to compile, and so does what follows
torch._inductor.config.cpp_cache_precompile_headers = False
torch._inductor.config.aot_inductor.debug_compile = True
compiled = torch.compile(loss_of, dynamic=False)(x, w.detach())  # one kernel: each takes seconds
loss = torch.compile(loss_of, dynamic=False, backend="aot_eager_decomp_partition")(x, w)
(found,) = torch.autograd.grad(loss, w)
tell([torch.allclose(compiled, loss), bool(found.abs().sum() > 0)])
"""


def test_where_nothing_may_be_mounted_kernels_are_compiled_one_by_one(tiny_data: Path, tmp_path: Path) -> None:
    """A filter of system calls refuses namespaces and mounts, as that of a container does."""
    if seccomp.program("cuda") is None:
        pytest.skip("this machine's system calls cannot be filtered")
    confined = "import ctypes, os, sys; from nanochat.sandbox import seccomp; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); "
    confined += "assert seccomp.install(seccomp.program('cuda')); os.execv(sys.executable, [sys.executable, '-m', 'nanochat.harness.fork_server'])"
    harness = GpuHarness(tiny_data, tmp_path, start=[sys.executable, "-c", confined])
    code = """
import torch._inductor.config as config
shared = refused(lambda: open("/dev/shm/mine", "w"))
tell([config.compile_threads, os.environ["TORCHINDUCTOR_COMPILE_THREADS"], shared])
"""
    try:
        assert harness.told(code) == [1, "1", True]
    finally:
        harness.close()


@needs_compiler
def test_torch_compile_works_without_compiled_modules_of_the_standard_library(tiny_data: Path, tmp_path: Path) -> None:
    """Some container images delete them. Here: an interpreter whose standard library is made of links to the sources.

    Their folders have no `__pycache__`, and the sandbox does not let the sources be read, so that whatever the fork server
    has not imported cannot be imported any more. Packages keep theirs, as they do in such images.
    """
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    copy = tmp_path / "python" / "lib" / stdlib.name
    for folder, names, files in os.walk(stdlib):
        names[:] = [name for name in names if name not in ("__pycache__", "site-packages", "test", "idlelib")]
        here = copy / Path(folder).relative_to(stdlib)
        here.mkdir(parents=True)
        for name in files:
            (here / name).symlink_to(Path(folder, name))
    headers = Path(sysconfig.get_paths()["include"])
    (tmp_path / "python" / "include").mkdir()
    (tmp_path / "python" / "include" / headers.name).symlink_to(headers)
    packages = sysconfig.get_paths()["purelib"]
    start = [str(Path(sys.executable).resolve()), "-m", "nanochat.harness.fork_server"]
    harness = GpuHarness(tiny_data, tmp_path, start=start, PYTHONHOME=str(tmp_path / "python"), PYTHONPATH=packages)
    try:
        assert not harness.told("tell(fresh('print(\"started\")') == 'started')")
        lacks = "import importlib\ntry:\n    importlib.import_module('turtle')\nexcept Exception: tell('refused')\ntell('imported')"
        assert harness.told(lacks) == "refused"
        assert harness.told("import torch._inductor.config as config\ntell(config.compile_threads)") == 1
        assert harness.told(PARTITIONED) == [True, True]
    finally:
        harness.close()


@needs_mounts
def test_where_no_proc_can_be_mounted_there_is_no_process_namespace() -> None:
    """As in a container that covers parts of /proc: the kernel then refuses a /proc that would show them."""
    code = """
import os
from nanochat.sandbox import namespaces
from nanochat.sandbox.libc import libc, set_dumpable
set_dumpable(True)
uid, gid = os.geteuid(), os.getegid()
covered = False
for _ in range(2):  # the inner user namespace may not uncover what the outer one has covered
    assert libc.unshare(namespaces._NEWUSER | namespaces._NEW_MOUNTS) == 0
    namespaces._map_user(uid, gid)
    covered = covered or libc.mount(b"tmpfs", b"/proc/sys", b"tmpfs", 0, None) == 0
possible = namespaces.proc_can_be_mounted()
missing = namespaces.enter_namespaces(gpu=True)
if os.fork() == 0:
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/comm", "w") as file:
        file.write("named")
    os._exit(0)
print(covered, possible, missing, os.wait()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "True False ('pid',) 0", done.stdout + done.stderr


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another user; as a user the other tests try the same"
)
def test_an_ordinary_user_has_the_same_dev_shm() -> None:
    code = """
import multiprocessing, multiprocessing.synchronize, os
from pathlib import Path
from nanochat.sandbox import landlock
from nanochat.sandbox.libc import set_dumpable
from nanochat.sandbox.namespaces import SHARED_MEMORY, enter_namespaces, mount_shared_memory
from nanochat.sandbox.rights import drop_rights
landlock.readable("cuda")  # afterwards the interpreter's own folders may be out of reach
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
set_dumpable(True)
missing = enter_namespaces()
shared = mount_shared_memory()
if os.fork() == 0:
    lacks = drop_rights(write=[SHARED_MEMORY] if shared else [], device="cuda", memory_limit=None)
    try:
        multiprocessing.get_context("fork").Lock().acquire()
        Path("/dev/shm/left").write_text("x")
    except OSError as error:
        print(type(error).__name__, flush=True)
    else:
        print("works", os.listdir("/dev/shm"), flush=True)
    os._exit(0)
os.wait()
print(missing, shared)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    inside, outside = done.stdout.splitlines()
    if outside.startswith("() True"):
        assert inside == "works ['left']", done.stdout + done.stderr
    else:  # this kernel gives no user namespace to users
        assert inside == "PermissionError", done.stdout + done.stderr
    assert not Path("/dev/shm/left").exists()


def test_rules_for_package_folders_allow_no_more_than_a_listing() -> None:
    rules = dict(landlock.readable("cuda"))
    for folder in landlock.package_folders():
        assert rules.get(folder, landlock.READ_DIR) == landlock.READ_DIR
