"""Commands of git where the file system has no fsync."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.git import plumbing
from core.git.errors import RepositoryError
from tests.core.git.checkouts import night, opened


def preload(monkeypatch: pytest.MonkeyPatch, folder: Path, function: str) -> None:
    """Replace a function of the C library in every child."""
    (folder / "own.c").write_text(f"#include <errno.h>\n{function}\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "own.so", "own.c"], cwd=folder, check=True)
    monkeypatch.setenv("LD_PRELOAD", str(folder / "own.so"))


@pytest.mark.skipif(not (sys.platform == "linux" and shutil.which("cc")), reason="needs Linux and a C compiler")
@pytest.mark.parametrize("error", [errno.EINVAL, errno.EOPNOTSUPP, errno.EIO])
def test_where_the_file_system_has_no_fsync_git_goes_on_without(
    checkout: Path, tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    preload(monkeypatch, tmp_path, f"int fsync(int file) {{ (void)file; errno = {error}; return -1; }}")
    if error == errno.EIO:
        monkeypatch.setattr(plumbing, "has_fsync", lambda folder: True)
        with pytest.raises(RepositoryError, match=r"(hash-object|commit-tree) failed"):
            night(opened(checkout))
        return
    monkeypatch.setattr(plumbing, "has_fsync", lambda folder: False)  # this process has the library's own fsync
    repo = opened(checkout)
    repo.refs.point("refs/autoresearch/x/1", repo.base())  # an object that is there: only the ref is written
    assert not repo.git.synced
    other = opened(checkout)
    night(other)
    assert not other.git.synced and other.fsck() == ""


def test_a_missing_fsync_is_distinguished_from_a_failing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(number: int) -> Callable[[int], None]:
        def sync(file: int) -> None:
            raise OSError(number, "")

        return sync

    assert plumbing.has_fsync(tmp_path) and plumbing.has_fsync(tmp_path / "nowhere")
    for number, has in ((errno.EINVAL, False), (errno.ENOSYS, False), (errno.EIO, True), (errno.ENOSPC, True)):
        monkeypatch.setattr(os, "fsync", failing(number))
        assert plumbing.has_fsync(tmp_path) is has
