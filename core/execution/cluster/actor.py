"""The actor of a slot on a node. It travels as it is written here, and brings the code of `core` along.

So this module imports nothing but the standard library, and a node needs no copy of the project.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import sys
import tempfile
import traceback
import zlib
from typing import Any

CACHE = "AUTORESEARCH_CLUSTER"  # the variable that names the cache folder of a node
DONE, FAILED = b"+", b"-"  # the first byte of an answer; after FAILED comes the reason as text


class Actor:
    """Answers calls with bytes. An error is an answer too, so that no exception of the node is unpickled by the loop.

    Args:
        code: What `code.packed` returns.
        digest: The SHA-256 of `code`.
    """

    def __init__(self, code: bytes, digest: str) -> None:
        self._code, self._digest = code, digest
        self._slot: Any = None

    async def call(self, method: str, *arguments: bytes) -> bytes:
        """Call a method of `NodeSlot`."""
        try:
            if self._slot is None:
                self._slot = self._start()
            answer: bytes = await getattr(self._slot, method)(*arguments)
            return DONE + answer
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f" [{os.path.basename(last.filename)}, line {last.lineno}]"
            return FAILED + f"{type(error).__name__}: {error}{where}".encode(errors="backslashreplace")

    def _start(self) -> Any:
        """Unpack the code, and return a `NodeSlot` of it."""
        if hashlib.sha256(self._code).hexdigest() != self._digest:
            raise ValueError("the code was damaged on its way")
        cache = os.environ.get(CACHE) or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "autoresearch", "cluster"
        )
        folder = os.path.join(cache, "code", self._digest)
        files: dict[str, str] = json.loads(zlib.decompress(self._code))
        self._unpack(files, folder)
        sys.path.insert(0, folder)
        from pathlib import Path

        return importlib.import_module("core.execution.cluster.node").NodeSlot(Path(cache))

    @staticmethod
    def _unpack(files: dict[str, str], folder: str) -> None:
        """Write the files to the folder, unless it has them already. Another actor may do the same at the same time."""
        if _holds(folder, files):
            return
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        draft = tempfile.mkdtemp(prefix=".", dir=os.path.dirname(folder))
        for name, text in files.items():
            path = os.path.join(draft, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        try:
            os.rename(draft, folder)
        except OSError:  # there is one already
            if not _holds(folder, files):  # and it was altered
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(draft, folder)
            shutil.rmtree(draft, ignore_errors=True)


def _holds(folder: str, files: dict[str, str]) -> bool:
    return all(_text(os.path.join(folder, name)) == text for name, text in files.items())


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None
