"""How a program ends whose threads cannot be ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('words')", 1, "words\n"),
        ("raise UserError('It is gone. What next.')", 1, "It is gone. What next.\n"),
    ],
)
@pytest.mark.parametrize("stuck", [True, False])
def test_a_program_keeps_its_code_and_its_words_with_and_without_cleanup(
    body: str, code: int, said: str, stuck: bool
) -> None:
    script = (
        "import atexit, sys\n"
        "from core import entry\n"
        "from core.errors import UserError\n"
        "atexit.register(print, 'cleaned up')\n"
        "with entry.program():\n"
        "    sys.stdout.write('worked ')\n"
        f"    {'entry.end_without_cleanup()' if stuck else 'pass'}\n"
        f"    {body}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == code and done.stdout == ("worked " if stuck else "worked cleaned up\n")
    assert done.stderr == said
