"""python -m tests.recorded_nights: write tests/recorded/*/shown.json afresh, or only those of the nights that are named.

These files are a contract: what a version showed of the journals of earlier versions. Write them only for a change of wording or of
figures that is wanted, and read the difference with `git diff tests/recorded`. A difference that nobody wanted is a mistake in the code. The
journals beside them are never changed. A new night is a new folder with its events.jsonl.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from core.judging import schedule
from core.record import journal
from core.record.fold import apply
from core.record.live import Picture
from core.record.state import State
from core.reporting import log_lines, status, summary
from tests.derived_files import publish

RECORDED = Path(__file__).resolve().parent / "recorded"
NIGHTS = sorted(path.name for path in RECORDED.iterdir())
SHOWN = "shown.json"


def shown(folder: Path, out: Path) -> dict[str, Any]:
    """Return all that this version shows of a run. The lines of the log have the time of day of the present time zone.

    Args:
        folder: The folder with the journal.
        out: An empty folder, for the files that are derived from the journal.
    """
    state, log = State(name=folder.name), []
    for event in journal.read(folder / journal.NAME):
        apply(state, event)
        log.append(log_lines.line(event, state))
    noise = schedule.noise(state)
    facts = status.status(state, noise, None, Picture(), [])
    publish(out, state, noise.sigma)
    return {
        "log": [line for line in log if line is not None],
        "status": summary.text(summary.summary(facts)),
        "summary": summary.at_end(facts, "logs/x", "a branch"),
        "facts": json.loads(msgspec.json.encode(facts)),
        **{path.name: path.read_text(encoding="utf-8") for path in sorted(out.iterdir(), reverse=True)},
    }


def as_text(content: dict[str, Any]) -> str:
    """Return the text of a shown.json."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main(nights: list[str]) -> None:
    os.environ["TZ"] = "UTC"
    time.tzset()
    for night in nights or NIGHTS:
        with tempfile.TemporaryDirectory() as out:
            text = as_text(shown(RECORDED / night, Path(out)))
        path = RECORDED / night / SHOWN
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        path.write_text(text, encoding="utf-8")
        print(f"{night}: {'changed' if changed else 'the same'}")


if __name__ == "__main__":
    main(sys.argv[1:])
