"""python -m tui FOLDER: watch the run whose logs are in FOLDER."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")  # nothing moves over SSH
os.environ.setdefault("TEXTUAL_FPS", "60")
gc.disable()  # until the first picture: a long journal is ten thousands of objects, none of them garbage


def main() -> None:
    from core.project import find
    from tui.app import AutoResearch

    folder = Path(sys.argv[1]).resolve()
    words = AutoResearch(folder, find(start=folder).program).run()
    if words:
        print(words)


if __name__ == "__main__":
    main()
