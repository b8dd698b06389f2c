"""Copy text to the clipboard through tmux. Outside tmux, Textual does it through the terminal."""

from __future__ import annotations

import os
import shutil
import subprocess


def copy_by_tmux(text: str) -> bool:
    """Copy text to tmux's buffer and, if the terminal allows it, to the clipboard.

    Returns False outside tmux, or if tmux fails.
    """
    if not os.environ.get("TMUX") or shutil.which("tmux") is None:
        return False
    try:
        done = subprocess.run(["tmux", "load-buffer", "-w", "-"], input=text.encode(), capture_output=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
