"""`autorun.py` with a clock: it writes to a file where the time of the loop went.

    python benchmarks/timed_loop.py FILE [the options of autorun.py]

The file is a JSON object: part -> seconds of wall time, without what other parts took inside of it. While the thread of the loop works
on a part, nothing else is recorded or started, so its wall time counts, also that of the git commands. `asking` is the agent's own thread.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import msgspec

from core.agents.search.agent import Search
from core.change import edits, touched
from core.cli import main
from core.git.plumbing import Git
from core.loop.loop import Loop
from core.loop.proposals import Proposer
from core.record.journal import Journal
from core.run.active import ActiveRun
from core.run.experiments import Experiments
from core.run.integrity import IntegrityCheck
from core.run.live import Live
from core.run.trainings import Trainings

ASKING = "asking"
# Part -> functions. What one of them calls of another part counts for that part.
PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    ASKING: ((Search, "propose_now"),),
    "proposing": ((Proposer, "context"), (Experiments, "propose"), (edits, "validate_change"), (touched, "touched")),
    "git": ((Git, "_attempt_once"),),
    "journal": ((Journal, "append"),),
    "judging": ((Loop, "_judge"), (Loop, "_work")),
    "dispatch": ((Trainings, "launch"), (Trainings, "measured"), (IntegrityCheck, "check")),
    "showing": ((ActiveRun, "publish"), (Live, "write")),
}


class Clock:
    """Sums the time of functions by part. `seconds`: part -> seconds."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter(dict.fromkeys(PARTS, 0))
        self._local = threading.local()

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Replace a function of a class or a module by one whose time is counted."""
        setattr(owner, name, self.timed(getattr(owner, name), part))

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Return the function with its time counted for a part."""

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            inside = self._inside()
            inside.append(0.0)
            began = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                took = time.perf_counter() - began
                self.seconds[part] += took - inside.pop()
                if inside:
                    inside[-1] += took

        return call

    def _inside(self) -> list[float]:
        """The seconds that each running function of this thread has spent in others, the outermost first."""
        if not hasattr(self._local, "inside"):
            self._local.inside = []
        found: list[float] = self._local.inside
        return found


def run(path: Path, arguments: list[str]) -> None:
    """Run the loop, and write the times to a file when it has ended."""
    clock = Clock()
    for part, functions in PARTS.items():
        for owner, name in functions:
            clock.wrap(owner, name, part)
    try:
        main(["run", *arguments])
    finally:
        path.write_bytes(msgspec.json.encode(dict(clock.seconds)))


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
