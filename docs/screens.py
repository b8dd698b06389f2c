"""Draw the pictures of the README from a run: python docs/screens.py logs/RUN"""

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
    "detail": (120, 46, ("f", "enter")),  # the latest of those that were kept
}
SETTLE_S = 3.0  # the machine's figures come after two seconds


async def draw(folder: Path) -> None:
    """Draw the screens of the app."""
    for name, (width, height, keys) in SIZES.items():
        app = AutoResearch(folder, ROOT / "program.md", opens_summary=False)
        async with app.run_test(size=(width, height)) as pilot:
            await pilot.pause(SETTLE_S)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.5)
            app.save_screenshot(f"{name}.svg", path=str(SCREENS))


def main() -> None:
    """Draw all pictures of the run whose folder is given."""
    folder = Path(sys.argv[1]).resolve()
    (SCREENS / "night.png").write_bytes(picture.png(card.card(collect(Project(ROOT, folder.parent), folder))))
    asyncio.run(draw(folder))


if __name__ == "__main__":
    main()
