"""Which training the panes show the course of: the running job that belongs to what is looked at, else what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.record.state import Experiment
from tui.bridge import Bridge
from tui.view import status as view
from tui.view.curves import Curve, Tail, last_lines
from tui.view.words import sanitize_line, sparkline

KEPT = 8  # files of metrics that are followed at once
SPARK = 12  # columns of the sparkline in the status


@dataclass(frozen=True)
class Course:
    """`fresh`: there is more of it than at the last look. `best` is empty where the training is the best's own."""

    name: str
    slot: view.Slot | None
    curve: Curve
    best: Curve
    fresh: bool


class Courses:
    """Follows the files of metrics; what is looked at is told with every question: the experiment, and whether a human chose it."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._tails: dict[Path, Tail] = {}

    def of(self, found: Experiment | None, chosen: bool) -> Course:
        """What the loss pane draws."""
        state, folder = self._bridge.state, self._bridge.folder
        best = view.metrics_of(state, folder, state.best) if state.best else None
        slot = self._slot(found, chosen)
        path = self._metrics(slot, found)
        reference, ours = self._tail(best), self._tail(path)
        fresh = [tail.read() for tail in (reference, ours) if tail is not None]
        name = slot.name if slot else f"#{found.number}" if found else ""
        own = ours.curve if ours else Curve()
        return Course(name, slot, own, reference.curve if reference and best != path else Curve(), any(fresh))

    def spark(self, found: Experiment | None, chosen: bool) -> str:
        """The loss of what trains now, else of what is looked at, in a few columns: its last value and its course."""
        slot = self._slots()[-1] if self._slots() else None
        tail = self._tail(self._metrics(slot or self._slot(found, chosen), found))
        if tail is None:
            return "loss –"
        tail.read()
        loss = slot.loss if slot else tail.curve.loss[-1] if tail.curve.loss else None
        if loss is None:
            return "loss –"
        name = slot.name if slot else f"#{found.number}" if found else ""
        return f"{name} loss {loss:.3f} {sparkline(tail.curve.smooth(), SPARK)}"

    def words(self, slot: view.Slot | None) -> list[str]:
        """The last step of a running job, and what its trainer printed last."""
        if slot is None:
            return []
        step = [f"{slot.name} step {slot.step}  loss {slot.loss:.3f}"] if slot.loss is not None else []
        printed = last_lines(self._job(slot).with_name("output.txt"))
        return step + [f"the trainer says: {sanitize_line(line, 300)}" for line in printed]

    def _slots(self) -> list[view.Slot]:
        return view.slots(self._bridge.state, self._bridge.live) if self._bridge.pid else []

    def _slot(self, found: Experiment | None, chosen: bool) -> view.Slot | None:
        """The running job that belongs to what is looked at."""
        slots = self._slots()
        mine = [slot for slot in slots if found is not None and slot.number == found.number]
        if mine or chosen:
            return mine[-1] if mine else None
        return slots[-1] if slots else None

    def _metrics(self, slot: view.Slot | None, found: Experiment | None) -> Path | None:
        if slot is not None:
            return self._job(slot)
        return view.metrics_of(self._bridge.state, self._bridge.folder, found.commit) if found else None

    def _job(self, slot: view.Slot) -> Path:
        return view.job_folder(self._bridge.folder, slot.role, slot.number, slot.job) / "metrics.jsonl"

    def _tail(self, path: Path | None) -> Tail | None:
        if path is None:
            return None
        if path not in self._tails:
            if len(self._tails) > KEPT:
                self._tails.pop(next(iter(self._tails)))
            self._tails[path] = Tail(path)
        return self._tails[path]
