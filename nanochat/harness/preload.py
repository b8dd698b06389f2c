"""What the fork server imports before it forks, so that no trainer has to, or could not once its rights are gone."""

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
_LATE = ("torch._dynamo", "torch.optim", "torch.nn.utils.parametrize")  # what torch itself imports when it is used


def preload(device: str = "cpu") -> None:
    """Import what train.py is likely to need, once, before any trainer is forked.

    On a GPU that includes the compiler. Where the interpreter keeps no compiled modules (some container images), their
    sources could not be compiled later: then all that torch may still import is imported now, which takes a second or
    two. No fresh interpreter can start in the sandbox of such a machine, so kernels are compiled in the trainer itself.
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
    linecache.clearcache()  # lines of sources that a warning or a traceback has shown


def _compiled(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is None or spec.cached is None or Path(spec.cached).exists()
