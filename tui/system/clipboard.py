"""Copying text to the clipboard through tmux. Elsewhere Textual does it through the terminal."""

from __future__ import annotations

import os
import shutil
import subprocess


def copy_by_tmux(text: str) -> bool:
    """Copy a text to the buffer of tmux and, where the terminal allows it, to the clipboard.

    Returns False outside tmux, and where tmux refuses.
    """
    if not os.environ.get("TMUX") or shutil.which("tmux") is None:
        return False
    try:
        done = subprocess.run(["tmux", "load-buffer", "-w", "-"], input=text.encode(), capture_output=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
