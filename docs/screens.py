"""Draw pictures of the documents from a run: python docs/screens.py logs/RUN [night] [summary] [main]

Without names it draws all three. `main` needs the curves of the trainings, which are in the run's folder only.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCREENS = ROOT / "docs" / "screens"
sys.path.insert(0, str(ROOT))

from core.machine.project import Project
from core.reporting import card, picture
from core.run.report_file import collect
from tui.app import AutoResearch

SIZES = {  # name: columns, rows, keys
    "summary": (130, 40, ("8",)),
    "main": (140, 42, ()),
}
NIGHT = "night"  # the chart
SETTLE_S = 3.0  # the machine's figures come after two seconds


async def draw(folder: Path, names: list[str]) -> None:
    """Draw the screens of the app that are named."""
    for name in names:
        width, height, keys = SIZES[name]
        app = AutoResearch(folder, ROOT / "program.md", opens_summary=False)
        async with app.run_test(size=(width, height)) as pilot:
            await pilot.pause(SETTLE_S)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.5)
            app.save_screenshot(f"{name}.svg", path=str(SCREENS))


def main() -> None:
    """Draw the pictures of the run whose folder is given."""
    folder = Path(sys.argv[1]).resolve()
    names = sys.argv[2:] or [NIGHT, *SIZES]
    if NIGHT in names:
        (SCREENS / "night.png").write_bytes(picture.png(card.card(collect(Project(ROOT, folder.parent), folder))))
    asyncio.run(draw(folder, [name for name in names if name != NIGHT]))


if __name__ == "__main__":
    main()
