"""The program of the app: `python -m tui FOLDER` shows the run whose logs are in FOLDER."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")  # nothing moves over SSH
os.environ.setdefault("TEXTUAL_FPS", "60")
gc.disable()  # until the first picture: a long journal is ten thousands of objects, none of them garbage


def main() -> int:
    """Run the app on the folder that the command line names. Returns the exit code."""
    from core.machine.project import find
    from tui.app import AutoResearch
    from tui.system.ending import Terminal

    folder, terminal = Path(sys.argv[1]).resolve(), Terminal()
    app = AutoResearch(folder, find(start=folder).program, terminal.watch)
    with terminal.lent():
        words = app.run()
    if words:
        print(words)
    return app.return_code or 0


if __name__ == "__main__":
    from core import entry

    with entry.program(lambda: Path(sys.argv[1])):
        sys.exit(main())
