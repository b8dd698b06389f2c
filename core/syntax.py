"""Python source as a tree, from any thread."""

from __future__ import annotations

import ast
import threading

# Python 3.11 and the first releases of 3.12 count the depth of a tree in one place for all threads: where two threads parse at
# the same time, one of them may get a SystemError. https://github.com/python/cpython/issues/106905
_one_at_a_time = threading.Lock()


def parse(source: str) -> ast.Module:
    """`ast.parse`. Raises what that raises, such as SyntaxError, ValueError and RecursionError."""
    with _one_at_a_time:
        return ast.parse(source)


def literal(text: str) -> object:
    """`ast.literal_eval` of a text. Raises what that raises, such as SyntaxError and ValueError."""
    with _one_at_a_time:
        return ast.literal_eval(text)
