"""Start the app: `python -m tui FOLDER` shows the run whose logs are in FOLDER.

With --read-only it changes nothing. --note TEXT is shown at the start. With --browser it talks to `autoresearch serve` on stdin and stdout
instead of to a terminal.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")  # animations are slow over SSH
os.environ.setdefault("TEXTUAL_FPS", "60")
if not os.environ.get("NO_COLOR"):  # Textual takes an empty one for a wish, https://no-color.org does not
    os.environ.pop("NO_COLOR", None)
gc.disable()  # until the first paint: a long journal makes tens of thousands of objects that are never freed


def main() -> int:
    """Run the app as the command line says. Returns the exit code."""
    from core.config import files
    from core.machine.project import find
    from tui.app import AutoResearch
    from tui.system.driver import BrowserDriver, PatientDriver
    from tui.system.ending import Terminal
    from tui.system.remembered import ViewMemory

    folder, terminal = Path(sys.argv[1]).resolve(), Terminal()
    project = find(start=folder)
    config = files.read(project.root)
    words = sys.argv[2:]
    read_only, in_browser = "--read-only" in words, "--browser" in words
    note = words[words.index("--note") + 1] if "--note" in words else ""
    memory = ViewMemory(None if read_only else files.state_file(), config.settings.theme or "")
    app = AutoResearch(
        folder,
        project.program,
        (lambda: None) if in_browser else terminal.watch,
        memory=memory,
        warning=" ".join(f"{note} {config.problem}".split()),
        read_only=read_only,
        driver=BrowserDriver if in_browser else PatientDriver,
    )
    with contextlib.nullcontext() if in_browser else terminal.lent():
        last = app.run()
    if last and not in_browser:
        print(last)
    if app.afterwards and not in_browser:
        sys.stdout.flush()
        os.chdir(project.root)
        os.execv(app.afterwards[0], app.afterwards)
    return app.return_code or 0


if __name__ == "__main__":
    from core import entry

    with entry.program(lambda: None if "--read-only" in sys.argv[2:] else Path(sys.argv[1])):
        try:
            sys.exit(main())
        except KeyboardInterrupt:  # before the app watches for signals
            print("The app was closed before it opened. A running loop keeps running; `make stop` stops it.")
            sys.exit(130)
