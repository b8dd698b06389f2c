"""Imports of the fork server. A forked trainer then need not import these modules, which it could not after dropping rights."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
from pathlib import Path

from nanochat.harness import compiler
from nanochat.sandbox.libc import LINUX

_LIKELY = (
    "abc", "array", "bisect", "collections.abc", "contextlib", "copy", "ctypes", "dataclasses", "datetime", "enum", "fractions",
    "functools", "gc", "glob", "heapq", "inspect", "io", "itertools", "json", "linecache", "logging", "math", "numbers",
    "operator", "os", "pathlib", "pprint", "queue", "random", "re", "shutil", "signal", "statistics", "string", "struct",
    "subprocess", "tempfile", "textwrap", "threading", "time", "traceback", "types", "typing", "uuid", "warnings", "weakref",
)  # fmt: skip
_LATE = ("torch._dynamo", "torch.optim", "torch.nn.utils.parametrize")  # modules that torch imports on first use


def preload(device: str = "cpu") -> None:
    """Import the modules that train.py is likely to need. Call it once before forking trainers.

    On a GPU that includes torch.compile. Some container images have no compiled modules (.pyc) of the standard library, and a
    trainer may not read its sources. There, all modules that torch may import later are imported too, which takes a second or
    two. A new interpreter cannot start in the sandbox of such a machine, so kernels are compiled in the trainer's process.
    """
    for name in _LIKELY:
        importlib.import_module(name)
    if not LINUX:
        return
    compiled = all(_compiled(name) for name in ("dis", "cProfile", "sched", "unittest"))
    if device == "cuda":
        compiler.preload()
        if not compiled:
            compiler.compile_in_process()
    elif not compiled:
        for name in _LATE:
            importlib.import_module(name)
    linecache.clearcache()  # source lines that a warning or traceback has read


def _compiled(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is None or spec.cached is None or Path(spec.cached).exists()
