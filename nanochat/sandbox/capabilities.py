"""Capabilities of the superuser. Root without them is an ordinary user: raw disks and other users' processes are out of reach."""

from __future__ import annotations

import ctypes
import struct

from nanochat.sandbox.libc import libc

_VERSION_3 = 0x20080522  # linux/capability.h


def drop() -> bool:
    """Give up all capabilities of this thread, for good. Returns whether the kernel accepted it."""
    return bool(libc.capset(struct.pack("<Ii", _VERSION_3, 0), bytes(24)) == 0)


def effective() -> int:
    """The effective set of this thread, as bits; -1 where it cannot be read."""
    header, sets = struct.pack("<Ii", _VERSION_3, 0), ctypes.create_string_buffer(24)
    if libc.capget(header, sets) != 0:
        return -1
    low, _, _, high, _, _ = struct.unpack("<6I", sets.raw)
    return int(low | high << 32)
