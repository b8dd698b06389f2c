"""Nights are kept in memory: each event is written through to the disk, which takes longer than all else in a night."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ROOM_BYTES = 512 << 20  # with less, the nights of several tests at once might find their disk full


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory if this machine has one with enough room, else the usual one."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="autoresearch-", dir=MEMORY, ignore_cleanup_errors=True) as made:
        yield Path(made)
