"""The code of `core`, and of the sandbox's check, as one piece of bytes, which the actor unpacks on a node."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("core", "nanochat/__init__.py", "nanochat/contract", "nanochat/sandbox")  # the harness is the run's own copy


def packed(root: Path = ROOT) -> bytes:
    """Return the sources of `core`, and of the contract and the sandbox of nanochat: path -> text, as compressed JSON.

    It is the same for the same sources, so that its hash identifies them. Raises OSError.
    """
    files: dict[str, str] = {}
    for part in PARTS:
        path = root / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            files[file.relative_to(root).as_posix()] = file.read_text(encoding="utf-8")
    return zlib.compress(json.dumps(files, sort_keys=True).encode(), 6)
