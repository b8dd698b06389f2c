"""Whether the best train.py of a run is in the user's checkout already."""

from __future__ import annotations

from pathlib import Path

from core.target import TARGET
from core.text import normalised


def is_applied(root: Path, folder: Path) -> bool:
    """Return whether the train.py of a source tree is the best one of a run.

    A train.py that has the changes of the best one and others does not count, since only git could tell.

    Args:
        root: The source tree.
        folder: The folder of the run.
    """
    try:
        mine, best = (
            path.read_text(encoding="utf-8", errors="replace") for path in (root / TARGET.path, folder / "train.py")
        )
    except OSError:
        return False
    return normalised(mine) == normalised(best)
