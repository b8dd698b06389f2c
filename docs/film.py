"""Record the moving picture of the README: python docs/film.py [--keep FRAMES.json]

A real run of very short trainings in the real app, in tmux. It takes two minutes and writes docs/screens/film.svg, an SVG that
shows the recorded screens in turn. The dataset `python` must be prepared (`make prepare`).
"""

from __future__ import annotations

import argparse
import html
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import libtmux
from rich.cells import cell_len
from rich.color import Color, blend_rgb
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "screens" / "film.svg"
COLUMNS, ROWS = 128, 36
EXPERIMENTS, BUDGET_S = 12, 4
LOOK_S, LIMIT_S = 2.0, 300.0  # between two looks at the screen, and for the whole recording
FRAMES, FRAME_S, LAST_S = 16, 1.5, 6.0  # screens in the film, seconds of each, and of the last one
CELL_W, CELL_H = 9, 19  # units of the SVG for one character
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
THEME = MONOKAI
LABEL = "The app during a run: experiments are proposed, trained, and kept or discarded; at the end the summary"


def record(clone: Path) -> list[str]:
    """Run the app in tmux and return its screens, as text with ANSI codes. The last one is the summary."""
    server = libtmux.Server(socket_name="autoresearch-film", config_file="/dev/null")
    command = (
        f"{sys.executable} autorun.py --profile tiny --budget {BUDGET_S} --max-experiments {EXPERIMENTS} --name film "
        "--agent search --gate auto --no-report --no-config --no-earlier"
    )
    session = server.new_session(
        "film", start_directory=str(clone), window_command=command, x=COLUMNS, y=ROWS,
        environment={"COLORTERM": "truecolor", "TERM": "xterm-256color"},
    )  # fmt: skip
    try:
        pane = session.active_pane
        assert pane is not None
        screens: list[str] = []
        until, last = time.monotonic() + LIMIT_S, False
        while time.monotonic() < until and not last:
            time.sleep(LOOK_S)
            last = _ended(clone)
            if last:
                time.sleep(2 * LOOK_S)  # the summary is drawn
            screen = "\n".join(pane.cmd("capture-pane", "-p", "-e").stdout)
            if not screens or screen != screens[-1]:
                screens.append(screen)
        return screens
    finally:
        server.kill()


def _ended(clone: Path) -> bool:
    """Return whether the run has reached its last experiment."""
    done = subprocess.run(
        [sys.executable, "-m", "core.cli", "status", "film", "--json"], cwd=clone, capture_output=True, text=True
    )
    try:
        return not json.loads(done.stdout)["loop"]["alive"]
    except ValueError:  # the run has not begun
        return False


def chosen(screens: list[str]) -> list[str]:
    """Return FRAMES screens at equal distances. The first and the last one are among them."""
    if len(screens) <= FRAMES:
        return screens
    return [screens[round(i * (len(screens) - 1) / (FRAMES - 1))] for i in range(FRAMES)]


class Palette:
    """Gives each style a short class of CSS."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, style: Style) -> str:
        """Return the class for text of this style."""
        colour = style.color.get_truecolor(THEME) if style.color else THEME.foreground_color
        if style.dim:
            colour = blend_rgb(colour, THEME.background_color, 0.5)
        css = f"fill:{colour.hex}" + (";font-weight:bold" if style.bold else "")
        return self._names.setdefault(css, f"c{len(self._names)}")

    @property
    def rules(self) -> str:
        return "".join(f".{name}{{{css}}}" for css, name in self._names.items())


def drawn(screen: str, palette: Palette) -> list[str]:
    """Draw each row of a screen as SVG elements, relative to the row's own origin."""
    console = Console(width=COLUMNS, height=ROWS, force_terminal=True, color_system="truecolor")
    text = Text.from_ansi(screen, no_wrap=True)
    rows = console.render_lines(text, console.options.update(width=COLUMNS, height=ROWS), pad=False)
    return ["".join(_runs(row, palette)) for row in rows]


def _runs(row: list[Segment], palette: Palette) -> Iterator[str]:
    column = 0
    for text, style, _ in Segment.simplify(row):
        style, width = style or Style.null(), cell_len(text)
        if style.reverse:
            style = Style(
                color=style.bgcolor or Color.parse("black"),
                bgcolor=style.color or Color.parse("white"),
                bold=style.bold,
            )
        if style.bgcolor is not None and not style.bgcolor.is_default:
            fill = style.bgcolor.get_truecolor(THEME).hex
            yield f"<path fill='{fill}' d='M{column * CELL_W} 0h{width * CELL_W}v{CELL_H}h-{width * CELL_W}z'/>"
        bare = text.strip(" ")
        if bare:
            x = (column + cell_len(text) - cell_len(text.lstrip(" "))) * CELL_W
            length = cell_len(bare) * CELL_W
            yield f"<text class='{palette.name(style)}' x='{x}' y='15' textLength='{length}'>{html.escape(bare, quote=False)}</text>"
        column += width


def film(screens: list[str]) -> str:
    """Return an SVG that shows the screens in turn, without a script. A row that stays the same is drawn once."""
    palette = Palette()
    frames = [drawn(screen, palette) for screen in screens]
    spans: dict[tuple[int, int], list[str]] = {}  # the first and the last screen of a row -> its elements
    for number in range(ROWS):
        rows = [frame[number] if number < len(frame) else "" for frame in frames]
        first = 0
        for at in range(1, len(rows) + 1):
            if at == len(rows) or rows[at] != rows[first]:
                if rows[first]:
                    spans.setdefault((first, at), []).append(
                        f"<g transform='translate(0 {number * CELL_H})'>{rows[first]}</g>"
                    )
                first = at
    total = FRAME_S * (len(screens) - 1) + LAST_S
    rules, groups = [], []
    for (first, end), elements in spans.items():
        name = f"s{first}-{end}"
        groups.append(f"<g class='{name}'>{''.join(elements)}</g>")
        if (first, end) == (0, len(screens)):
            continue
        begin, until = 100 * FRAME_S * first / total, 100.0 if end == len(screens) else 100 * FRAME_S * end / total
        hidden = f"{until:.2f}%{{visibility:hidden}}" if until < 100 else ""
        start = "" if first == 0 else "0%{visibility:hidden}"
        rules.append(
            f"@keyframes {name}{{{start}{begin:.2f}%{{visibility:visible}}{hidden}}}.{name}{{animation:{name} {total:g}s step-end infinite}}"
        )
    margin, width, height = 10, COLUMNS * CELL_W, ROWS * CELL_H
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='-{margin} -{margin} {width + 2 * margin} {height + 2 * margin}' "
        f"role='img' aria-label='{html.escape(LABEL)}'><style>text{{font:15px {FONT};white-space:pre}}{palette.rules}{''.join(rules)}</style>"
        f"<rect x='-{margin}' y='-{margin}' width='100%' height='100%' fill='{THEME.background_color.hex}' rx='8'/>{''.join(groups)}</svg>"
    )


def main() -> None:
    """Record, draw and write the film."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--keep", type=Path, help="the recorded screens as JSON: written, or read if the file is there")
    keep = parser.parse_args().keep
    if keep is not None and keep.exists():
        screens = json.loads(keep.read_text())
    else:
        with tempfile.TemporaryDirectory(prefix="autoresearch-film-") as folder:
            clone = Path(folder, "autoresearch")
            subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
            screens = record(clone)
        if keep is not None:
            keep.write_text(json.dumps(screens))
    TARGET.write_text(film(chosen(screens)))
    print(f"{len(screens)} screens, {TARGET.stat().st_size / 1e3:.0f} kB in {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
