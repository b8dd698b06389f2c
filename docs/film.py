"""Record the moving picture of the README: python docs/film.py [--keep FRAMES.json]

A real run of very short trainings in the real app, in tmux. It takes two minutes and writes docs/screens/film.svg, an SVG that
shows the recorded screens in turn. The dataset `python` must be prepared (`make prepare`).
"""

from __future__ import annotations

import argparse
import html
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import libtmux
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "screens" / "film.svg"
COLUMNS, ROWS = 128, 36
EXPERIMENTS, BUDGET_S = 12, 4
LOOK_S, LIMIT_S = 2.0, 300.0  # between two looks at the screen, and for the whole recording
FRAMES, FRAME_S, LAST_S = 16, 1.5, 6.0  # screens in the film, seconds of each, and of the last one
FORMAT = (
    "{styles}\x00{backgrounds}{matrix}\x00{lines}\x00{terminal_width} {terminal_height}"  # what is used of Rich's SVG
)
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
HEAD = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' aria-label='{label}'>"
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


def frame(screen: str, name: str) -> tuple[str, str, str, tuple[float, float]]:
    """Draw one screen. Returns its styles, its elements, its clip paths, and width and height."""
    console = Console(
        width=COLUMNS, height=ROWS, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text.from_ansi(screen), no_wrap=True, crop=True, end="")
    styles, elements, lines, size = console.export_svg(theme=MONOKAI, code_format=FORMAT, unique_id=name).split("\x00")
    width, height = (float(number) for number in size.split())
    return styles, elements, lines, (width, height)


def film(screens: list[str]) -> str:
    """Return an SVG that shows the screens in turn, without a script."""
    total = FRAME_S * (len(screens) - 1) + LAST_S
    rules, groups, clips, size = [], [], [], (0.0, 0.0)
    for number, screen in enumerate(screens):
        styles, elements, lines, size = frame(screen, f"f{number}")
        begin = 100 * FRAME_S * number / total
        end = 100.0 if number == len(screens) - 1 else 100 * FRAME_S * (number + 1) / total
        shown = f"{begin:.2f}%{{visibility:visible}}" + ("" if end == 100.0 else f"{end:.2f}%{{visibility:hidden}}")
        rules.append(f"{styles}@keyframes k{number}{{0%{{visibility:hidden}}{shown}}}")
        rules.append(f"#g{number}{{animation:k{number} {total:g}s step-end infinite;visibility:hidden}}")
        groups.append(f"<g id='g{number}'>{elements}</g>")
        clips.append(lines)
    width, height = size
    return "".join(
        (
            HEAD.format(width=f"{width:g}", height=f"{height:g}", label=html.escape(LABEL)),
            f"<style>text{{font-family:{FONT};font-size:20px;white-space:pre}}{''.join(rules)}</style>",
            f"<defs>{''.join(clips)}</defs><rect width='100%' height='100%' fill='#0c0c0c' rx='8'/>",
            *groups,
            "</svg>",
        )
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
