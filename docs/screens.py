"""Draw the pictures of the README from a run: python docs/screens.py logs/RUN"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tui.app import AutoResearch

SCREENS = {  # name: columns, rows, keys
    "main": (120, 36, ()),
    "detail": (120, 46, ("f", "enter")),  # the latest of those that were kept
    "compact": (80, 24, ()),
}
SETTLE_S = 3.0  # the machine's figures come after two seconds


async def draw(folder: Path) -> None:
    for name, (width, height, keys) in SCREENS.items():
        app = AutoResearch(folder, ROOT / "program.md", opens_summary=False)
        async with app.run_test(size=(width, height)) as pilot:
            await pilot.pause(SETTLE_S)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.5)
            app.save_screenshot(f"{name}.svg", path=str(ROOT / "docs" / "screens"))


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1]).resolve()))
