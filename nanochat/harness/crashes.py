"""Classify the exception that ended train.py, and describe it for the user."""

from __future__ import annotations

import errno
import io
import traceback

import torch

from nanochat.contract.job import CrashClass
from nanochat.harness.wire import Crash

FILENAME = "train.py"
TRACEBACK_LINES = 20
NO_MEMORY = errno.ENOMEM  # exit code of a trainer that ran out of memory
# Crash classes that a trainer may report. The others are detected by the scorer.
CRASHES = frozenset(
    {
        CrashClass.SYNTAX, CrashClass.IMPORT, CrashClass.EXCEPTION, CrashClass.OUT_OF_MEMORY, CrashClass.CONTRACT,
        CrashClass.OUTPUT_SHAPE,
    }
)  # fmt: skip


class Contract(Exception):
    """train.py violates the training contract."""


class BadShape(Exception):
    """The model's output has the wrong shape."""


# Out-of-memory messages of the C library, CUDA and its compilers, cuBLAS, cuDNN, and torch's allocator (the last one if it
# cannot ask the driver for the memory in use).
OUT_OF_MEMORY = (
    "can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "outofmemoryerror", "alloc_failed",
    "bad_alloc", "nvml_success == r",
)  # fmt: skip


def out_of_memory(error: BaseException) -> bool:
    """Return whether an exception or one of its causes means that host or GPU memory ran out."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError | torch.OutOfMemoryError) or speaks_of_memory(str(seen)):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def speaks_of_memory(text: str) -> bool:
    """Return whether a message says that memory ran out."""
    return any(words in text.lower() for words in OUT_OF_MEMORY)


def describe(error: BaseException, source: str) -> Crash:
    """Describe an exception of train.py: crash class, reason, and the lines of the traceback in train.py.

    Args:
        error: The exception.
        source: The text of train.py.
    """
    words = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {words[0] if words else ''}".rstrip(": ")
    if isinstance(error, SyntaxError):
        kind = CrashClass.SYNTAX
    elif isinstance(error, Contract):
        kind, reason = CrashClass.CONTRACT, str(error)
    elif isinstance(error, BadShape):
        kind, reason = CrashClass.OUTPUT_SHAPE, str(error)
    elif isinstance(error, ImportError):
        kind = CrashClass.IMPORT
    elif isinstance(error, PermissionError):
        kind, reason = CrashClass.EXCEPTION, f"it tried something that the sandbox does not allow ({reason})"
    elif out_of_memory(error):
        kind, reason = CrashClass.OUT_OF_MEMORY, f"it ran out of memory ({reason})"
    else:
        kind = CrashClass.EXCEPTION
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILENAME]
    lines = io.StringIO(source, newline=None).readlines()  # unlike splitlines, does not split at a form feed
    shown = []
    for frame in frames[-6:]:
        shown.append(f"train.py:{frame.lineno} in {frame.name}")
        if frame.lineno and frame.lineno <= len(lines):
            shown.append(f"    {lines[frame.lineno - 1].strip()}")
    shown.append(f"{type(error).__name__}: {' '.join(words[:3])}")
    return Crash(crash=kind, reason=reason[:300], traceback="\n".join(shown[-TRACEBACK_LINES:])[:1500])
