"""Writes the report of a run in another process, so that the loop needs no drawing library and survives any failure of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from core.machine.project import Project
from core.run.background import module
from core.text import sanitize_line
from nanochat.contract.shell import quoted

WAIT_S = 10.0  # how long the end of a run waits. The first drawing on a machine with many fonts can take longer
WORDS = 400  # characters of a reason


def write_report(project: Project, folder: Path) -> str:
    """Write report.html and report.png of a run. Takes at most WAIT_S seconds.

    Returns:
        Why a file is missing and how to write it later, as a sentence; "" if both were written.
    """
    arguments = ["report", "--html", folder.name, "--logs", str(project.logs)]
    try:
        done = subprocess.run(
            module("core.cli", *arguments), cwd=project.root, timeout=WAIT_S, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        if not done.returncode:
            return ""
        lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        why = lines[-1] if lines else f"it ended with exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        why = f"it took longer than {WAIT_S:g} s"
    except OSError as error:
        why = f"no process could be started ({error.strerror})"
    except KeyboardInterrupt:
        why = "it was interrupted"
    again = quoted([".venv/bin/python", "-m", "core.cli", *arguments])
    return f"The report is not complete: {sanitize_line(why, WORDS).rstrip('.')}. `{again}` writes it."
