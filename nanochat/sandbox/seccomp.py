"""A seccomp filter, in classic BPF, for system calls that Landlock does not restrict and training does not need.

Sources: linux/seccomp.h, linux/filter.h, and the system call tables of the two architectures.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

from nanochat.sandbox.libc import PR_SCHED_CORE, PR_SET_DUMPABLE, PR_SET_PDEATHSIG, PR_SET_SECCOMP, libc

_MODE_FILTER = 2
_AF_UNIX, _SOCK_TYPE_MASK, _SOCK_DGRAM = 1, 0xF, 2
_CLONE_VFORK, _CLONE_THREAD, _CLONE_NEW = (
    0x4000,
    0x10000,
    0x7E020000,
)  # mount, cgroup, UTS, IPC, user, PID and network namespaces

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data; little-endian: the low halves
_X32 = 0x40000000

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS = {  # number on x86_64, on aarch64 (None: there is no such call)
    "socket": (41, 198), "connect": (42, 203), "socketpair": (53, 199), "clone": (56, 220), "clone3": (435, 435),
    "fork": (57, None), "vfork": (58, None), "prctl": (157, 167),
    # access to other processes and to the kernel
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438), "perf_event_open": (298, 241), "bpf": (321, 280), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    # changes of the view of the file system
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265), "mknod": (133, None),
    "mknodat": (259, 33), "truncate": (76, 45),
    # owners and attributes of files, which Landlock does not restrict even if a file cannot be opened
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "setxattrat": (463, 463), "removexattrat": (466, 466), "file_setattr": (469, 469),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    # core and priority: the gauge is read on the trainer's core
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    # memory that no limit counts, or that a later training could read
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180),
}  # fmt: skip
_CONDITIONAL = ("socket", "connect", "socketpair", "clone", "clone3", "fork", "vfork", "prctl")
_GPU_NEEDS = (
    "sched_setaffinity",
    "sched_setscheduler",
    "sched_setparam",
    "sched_setattr",
    "setpriority",
    "memfd_create",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "utimensat",
)  # for the driver and its threads, compilers and linkers

Line = tuple[int, int, int, int]  # code, lines to skip if true, lines to skip if false, operand


def _error(number: int) -> Line:
    return (_RETURN, 0, 0, _ERRNO | number)


_REFUSE, _PASS = _error(errno.EPERM), (_RETURN, 0, 0, _ALLOW)


def program(device: str, *, forks: bool = True) -> bytes | None:
    """Return the filter for this machine, or None if its architecture is not supported.

    Refused with EPERM: sockets, tracing, mounting, new namespaces, and changes of owners, modes and times of files. On a CPU also
    memory that no limit counts, and the choice of cores and priorities. On a GPU Unix sockets can be made but not connected, and
    modes and times can be changed. Stream socket pairs are allowed on both.

    Args:
        device: The device of the training.
        forks: False also refuses new processes.
    """
    machine = platform.machine()
    if machine not in _AUDIT_ARCH:
        return None
    column = list(_AUDIT_ARCH).index(machine)
    number = {name: numbers[column] for name, numbers in _CALLS.items()}
    gpu = device != "cpu"

    when: dict[str, list[Line]] = {name: [_REFUSE] for name in _CALLS if name not in _CONDITIONAL}
    for name in _GPU_NEEDS if gpu else ():
        del when[name]
    unix_only: list[Line] = [(_LOAD, 0, 0, _ARG0), (_EQUAL, 1, 0, _AF_UNIX), _REFUSE]
    when["socket"] = [*unix_only, _PASS] if gpu else [_REFUSE]
    when["connect"] = [_error(errno.ECONNREFUSED)]
    # a datagram socket of a pair could send to any path
    when["socketpair"] = [
        *unix_only,
        (_LOAD, 0, 0, _ARG1),
        (_AND, 0, 0, _SOCK_TYPE_MASK),
        (_EQUAL, 0, 1, _SOCK_DGRAM),
        _REFUSE,
        _PASS,
    ]
    # options to outlive the scorer, hide from it, or keep others off the core
    when["prctl"] = [
        (_LOAD, 0, 0, _ARG0),
        (_EQUAL, 2, 0, PR_SET_PDEATHSIG),
        (_EQUAL, 1, 0, PR_SCHED_CORE),
        (_EQUAL, 0, 1, PR_SET_DUMPABLE),
        _REFUSE,
        _PASS,
    ]
    when["clone"] = [(_LOAD, 0, 0, _ARG0), (_ANY_BIT, 0, 1, _CLONE_NEW), _REFUSE]
    when["clone"] += (
        [_PASS] if forks else [(_ANY_BIT, 0, 1, _CLONE_VFORK), _REFUSE, (_ANY_BIT, 1, 0, _CLONE_THREAD), _REFUSE, _PASS]
    )
    when["clone3"] = [_error(errno.ENOSYS)]  # a filter cannot read its flags; the C library then uses clone
    if not forks:
        when |= {"fork": [_REFUSE], "vfork": [_REFUSE]}

    lines: list[Line] = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, _AUDIT_ARCH[machine]), (_RETURN, 0, 0, _KILL)]
    lines += [(_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        lines += [(_AT_LEAST, 0, 1, _X32), _REFUSE]
    for name, body in when.items():
        if (wanted := number[name]) is not None:
            lines += [(_EQUAL, 0, len(body), wanted), *body]
    lines += [_PASS]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def install(code: bytes) -> bool:
    """Permanently apply the filter to this thread and those it starts. Needs NO_NEW_PRIVS. Returns whether that worked."""
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    return bool(libc.prctl(PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0) == 0)
