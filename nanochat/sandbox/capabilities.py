"""Drop capabilities, so that root cannot access raw disks or other users' processes."""

from __future__ import annotations

import ctypes
import struct

from nanochat.sandbox.libc import libc

_VERSION_3 = 0x20080522  # linux/capability.h


def drop() -> bool:
    """Permanently drop all capabilities of this thread. Returns whether that worked."""
    return bool(libc.capset(struct.pack("<Ii", _VERSION_3, 0), bytes(24)) == 0)


def effective() -> int:
    """Return the effective capabilities of this thread as a bit set; -1 if they cannot be read."""
    header, sets = struct.pack("<Ii", _VERSION_3, 0), ctypes.create_string_buffer(24)
    if libc.capget(header, sets) != 0:
        return -1
    low, _, _, high, _, _ = struct.unpack("<6I", sets.raw)
    return int(low | high << 32)
