"""Start the app: `python -m tui FOLDER` shows the run whose logs are in FOLDER."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")  # animations are slow over SSH
os.environ.setdefault("TEXTUAL_FPS", "60")
gc.disable()  # until the first paint: a long journal makes tens of thousands of objects that are never freed


def main() -> int:
    """Run the app on the folder given on the command line. Returns the exit code."""
    from core.config import files
    from core.machine.project import find
    from tui.app import AutoResearch
    from tui.system.ending import Terminal
    from tui.system.remembered import ViewMemory

    folder, terminal = Path(sys.argv[1]).resolve(), Terminal()
    project = find(start=folder)
    config = files.read(project.root)
    memory = ViewMemory(files.state_file(), config.settings.theme or "")
    app = AutoResearch(folder, project.program, terminal.watch, memory=memory, warning=" ".join(config.problem.split()))
    with terminal.lent():
        words = app.run()
    if words:
        print(words)
    return app.return_code or 0


if __name__ == "__main__":
    from core import entry

    with entry.program(lambda: Path(sys.argv[1])):
        sys.exit(main())
