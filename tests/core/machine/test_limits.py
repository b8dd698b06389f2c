"""What control groups and ulimit leave of the machine, read from trees that are laid out as the kernel shows them."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import psutil
import pytest

from core.execution.local import out_of_memory
from core.machine import limits, stats
from nanochat.contract.job import CrashClass, Job, Outcome, Result

GIB = 1 << 30
V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = [
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755",
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
]


def lay_out(root: Path, groups: str, mounts: list[str], files: dict[str, str]) -> Path:
    """A root with /proc/self/cgroup, /proc/self/mountinfo, and the files of the groups by their paths below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    (root / "proc/self/mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda rw\n" + "\n".join(mounts) + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


MEMORY = {
    "its own group": ("0::/a/b", [V2], {"a/b/memory.max": "100"}, 100),
    "a group around it": ("0::/user.slice/x.scope", [V2], {"user.slice/memory.max": "100", "user.slice/x.scope/memory.max": "max"}, 100),
    "the smallest of three": ("0::/a/b/c", [V2], {"a/memory.max": "300", "a/b/memory.max": "100", "a/b/c/memory.max": "200"}, 100),
    "memory.high": ("0::/a", [V2], {"a/memory.max": "300", "a/memory.high": "100"}, 100),
    "a group beside it": ("0::/a", [V2], {"b/memory.max": "100"}, None),
    "a name that begins alike": ("0::/ab", [V2.replace("0:26 /", "0:26 /a")], {"b/memory.max": "1", "memory.max": "100"}, 100),
    "a container with a view of its own": ("0::/", [V2], {"memory.max": "100"}, 100),
    "a container without one": ("0::/docker/1", [V2.replace("0:26 /", "0:26 /docker/1")], {"memory.max": "100"}, 100),
    "inside of a container": ("0::/docker/1/in", [V2.replace("0:26 /", "0:26 /docker/1")], {"in/memory.max": "100"}, 100),
    "a mount from further up": ("0::/", [V2.replace("0:26 /", "0:26 /../..")], {"memory.max": "100"}, 100),
    "moved out of its view": ("0::/../other", [V2], {"memory.max": "100", "other/memory.max": "1"}, 100),
    "a removed group": ("0::/a/b (deleted)", [V2], {"a/memory.max": "100"}, 100),
    "a space in the place": (
        "0::/a", [V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/my\\040groups")], {"my groups/a/memory.max": "100"}, 100,
    ),
    "a colon in the name": ("0::/a:b", [V2], {"a:b/memory.max": "100"}, 100),
    "version 1": ("4:memory:/a\n1:cpu,cpuacct:/\n0::/", V1, {"memory/a/memory.limit_in_bytes": "100"}, 100),
    "version 1, around it": (
        "4:memory:/a/b", V1,
        {"memory/a/memory.limit_in_bytes": "100", "memory/a/b/memory.limit_in_bytes": "9223372036854771712"}, 100,
    ),
    "version 1, out of sight": ("4:memory:/a", V1, {"memory/a/memory.stat": "cache 5\nhierarchical_memory_limit 100"}, 100),
    "both, memory in version 2": ("1:cpu,cpuacct:/\n0::/a", V1, {"unified/a/memory.max": "100"}, 100),
    "both, memory in version 1": (
        "4:memory:/m\n0::/a", V1, {"unified/a/cgroup.procs": "1", "memory/m/memory.limit_in_bytes": "100"}, 100,
    ),
    "no mounts to be read": ("0::/a", [], {"a/memory.max": "100"}, 100),
    "no limit": ("0::/a", [V2], {"a/memory.max": "max", "a/memory.high": "max"}, None),
    "nonsense": ("0::/a\n::\nx", [V2, "what - is", "this"], {"a/memory.max": "?", "memory.high": "-1", "a/memory.high": ""}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", MEMORY)
def test_memory(tmp_path: Path, case: str) -> None:
    groups, mounts, files, expected = MEMORY[case]
    root = lay_out(tmp_path, groups, mounts, files)
    found = limits.memory(root)
    assert (found if found is None or found < 1 << 60 else None) == expected
    assert stats.memory_total(root) == (expected or psutil.virtual_memory().total)


def test_nothing_to_read(tmp_path: Path) -> None:
    assert limits.memory(tmp_path) is None and limits.cpus(tmp_path) is None
    assert limits.oom_kills(tmp_path) == 0 and not limits.pressed(tmp_path)


CPUS = {
    "two of them": ("0::/a", [V2], {"a/cpu.max": "200000 100000"}, 2.0),
    "one and a half around it": ("0::/a/b", [V2], {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
    "version 1": ("1:cpu,cpuacct:/a", V1, {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}, 3.0),
    "version 1 without": ("1:cpu,cpuacct:/a", V1, {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}, None),
    "nonsense": ("0::/a", [V2], {"a/cpu.max": "1 0", "cpu.max": "x"}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", CPUS)
def test_cpus(tmp_path: Path, case: str) -> None:
    groups, mounts, files, expected = CPUS[case]
    root = lay_out(tmp_path, groups, mounts, files)
    assert limits.cpus(root) == expected
    for count in (stats.physical_cores, stats.logical_cores):
        free = count(tmp_path / "nowhere")
        assert count(root) == (free if expected is None else max(1, min(free, int(expected))))


@pytest.mark.parametrize("kind", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_ulimit_counts(tmp_path: Path, kind: int) -> None:
    pid = os.fork()
    if not pid:
        resource.setrlimit(kind, (3 * GIB, resource.getrlimit(kind)[1]))
        os._exit(limits.memory(tmp_path) == 3 * GIB)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


JOB = Job(id="j", source="", out="", data="", memory_limit=2 * GIB)
KILLED = Result(job="j", outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION, signal=9, peak_memory=GIB)
QUIET = {
    "a/memory.events": "low 0\noom 0\noom_kill 0",
    "a/memory.pressure": "some avg10=0.00 avg60=99.0\nfull avg10=0.00",
}
EVIDENCE = {
    "the kernel, in the group": {"a/memory.events": "oom 1\noom_kill 1"},
    "the kernel, around it": {"memory.events": "oom_kill 1"},
    "the kernel, anywhere": {"../../../proc/vmstat": "nr_free_pages 5\noom_kill 1"},
    "another program": {"a/memory.pressure": "some avg10=41.20 avg60=1.0 total=5"},
    "another program, anywhere": {"../../../proc/pressure/memory": "some avg10=41.20 avg60=1.0 total=5"},
}


@pytest.mark.parametrize("outcome", [Outcome.CRASH, Outcome.INTERRUPTED])
@pytest.mark.parametrize("case", EVIDENCE)
def test_a_kill_for_lack_of_memory_is_out_of_memory(tmp_path: Path, case: str, outcome: Outcome) -> None:
    root = lay_out(tmp_path, "0::/a", [V2], QUIET | EVIDENCE[case])
    found = out_of_memory(Result(job="j", outcome=outcome, signal=9), JOB, 0, root)
    assert (found.outcome, found.crash) == (Outcome.CRASH, CrashClass.OUT_OF_MEMORY)
    assert "ran out of memory" in found.reason


def test_other_kills_are_what_they_were(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "0::/a", [V2], QUIET | {"memory.events": "oom_kill 7"})
    assert out_of_memory(KILLED, JOB, 7, root) == KILLED, "it was so before the job"
    near = Result(job="j", outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION, signal=11, peak_memory=int(1.9 * GIB))
    assert out_of_memory(near, JOB, 7, root).crash is CrashClass.OUT_OF_MEMORY, "few libraries look at each allocation"
    fine = Result(job="j", outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION)
    assert out_of_memory(fine, JOB, 0, root) == fine, "no signal ended it"
