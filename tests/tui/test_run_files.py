"""Files that grow, tear, and are rewritten while the app reads them."""

from __future__ import annotations

import json
from pathlib import Path

from tui.run_files import MetricsTail


def line(progress: float, loss: float) -> str:
    return json.dumps({"step": 1, "progress": progress, "loss": loss}) + "\n"


def test_a_tail_takes_whole_lines_only_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = MetricsTail(path)
    assert not tail.read()
    path.write_text(line(0.1, 5.0) + '{"step": 2, "progress": 0.2, "lo')
    assert tail.read() and tail.curve.loss == [5.0]
    with path.open("a") as file:
        file.write('ss": 4.0}\n')
    assert tail.read() and tail.curve.loss == [5.0, 4.0]
    assert not tail.read()


def test_a_rewritten_file_is_read_afresh(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line(i / 10, 9.0 - i) for i in range(9)))
    tail = MetricsTail(path)
    tail.read()
    path.write_text("".join(line(i / 10, 9.0 - i) for i in range(0, 9, 2)))
    assert tail.read() and len(tail.curve.loss) == 5
