"""python -m tests.tui.record: make tests/tui/recorded afresh, from a real run on tiny shapes (half a minute)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.product import edit

HERE = Path(__file__).resolve().parent
KEPT = ("events.jsonl", "train.py", "*/change.diff", "*/train.py", "*/*/metrics.jsonl", "*/*/output.txt")
IDEAS = (
    edit("A larger step: the table starts at zero and has far to go.", ("LR = 0.0005 ", "LR = 0.005 ")),
    edit(
        "Markup [bold]in[/bold] a hypothesis, שלום, and an escape \x1b[31m sequence.", ("DECAY = 0.0 ", "DECAY = 0.02 ")
    ),
    edit("A step that is far too small.", ("LR = 0.005 ", "LR = 0.0002 ")),
    edit(
        "Divide by zero, which raises.",
        ("    return model\n", "    print('the last words')\n    1 / 0\n    return model\n"),
    ),
    edit("A loss that is no number.", ("loss=loss.item()", "loss=float('nan')")),
    edit("Let the learning rate fall to nothing at the end.", ("DECAY = 0.0 ", "DECAY = 1.0 ")),
    edit("Read the validation data.", ("    return model\n", "    open('/etc/passwd').read()\n    return model\n")),
    edit("A larger step still.", ("LR = 0.005 ", "LR = 0.02 ")),
    edit("Larger batches, fewer steps. " + "Very long words follow. " * 30, ("BATCH = 8 ", "BATCH = 32 ")),
)


def test_record(product, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Not collected by itself: its file does not begin with test_."""
    train = product.root / "nanochat" / "train.py"
    train.write_text(train.read_text().replace("LR = 0.01 ", "LR = 0.0005 "))
    done = product.run("--agent", product.script(*IDEAS), "--budget", "1.0", name="nov23")
    assert done.returncode == 0, done.stdout + done.stderr
    target = HERE / "recorded"
    shutil.rmtree(target, ignore_errors=True)
    folder, base = product.logs / "nov23", tmp_path.parent
    for pattern in KEPT:
        for path in folder.glob(pattern):
            copy = target / "nov23" / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(
                path.read_text().replace(str(base), "/recorded").replace(str(base).replace("/", "_"), "_recorded")
            )
    shutil.copyfile(product.root / "program.md", target / "program.md")
    print(done.stdout)


if __name__ == "__main__":
    sys.exit(
        pytest.main(
            [
                "-s",
                "-p",
                "tests.e2e.conftest",
                "--override-ini=addopts=--import-mode=importlib",
                "--timeout=300",
                __file__,
            ]
        )
    )
