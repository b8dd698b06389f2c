"""Thread-safe parsing of Python source."""

from __future__ import annotations

import ast
import threading

# Python 3.11 and early releases of 3.12 share the counter of tree depth between threads. When two threads parse at the same
# time, one of them may get a SystemError: https://github.com/python/cpython/issues/106905
_one_at_a_time = threading.Lock()


def parse(source: str) -> ast.Module:
    """Call `ast.parse`. Raises the same errors, such as SyntaxError, ValueError and RecursionError."""
    with _one_at_a_time:
        return ast.parse(source)


def literal(text: str) -> object:
    """Call `ast.literal_eval` on text. Raises the same errors, such as SyntaxError and ValueError."""
    with _one_at_a_time:
        return ast.literal_eval(text)
