"""Failures of the machine in words."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from core.errors import UserError, explained
from core.run.integrity import LIST, IntegrityCheck


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/from", None, "/to"), "/to cannot be used: No space left"),
        (OSError(errno.EACCES, "Permission denied", "/from", None, "/to"), "/from cannot be used: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "/to"), "/to cannot be used: No space left"),
        (OSError(errno.EIO, "Input/output error"), "The operating system reported an error: Input/output error"),
    ],
)
def test_the_place_that_is_full_is_named(error: OSError, words: str) -> None:
    assert str(explained(error)).startswith(words)


@pytest.mark.parametrize("content", [b'["a"]', b"null", b'{"harness/run.py": 3}', b"{", b"\xff"])
def test_a_damaged_list_of_copies_is_reported_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / LIST).write_bytes(content)
    with pytest.raises(UserError, match="lacks the copies of the harness"):
        IntegrityCheck(tmp_path)
