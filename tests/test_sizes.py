"""Limits of size: modules, classes and functions stay small enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE, CLASS, FUNCTION = 400, 250, 60  # lines at most, decorators and docstrings included
REASON = "Long, because"  # a function with such a sentence in its docstring may have more lines


def long_parts(source: str) -> Iterator[str]:
    """Yield what is longer than the limits in a module, in words."""
    if (lines := source.count("\n")) > MODULE:
        yield f"the module has {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or 0) - min([node.lineno, *(one.lineno for one in node.decorator_list)]) + 1
        is_class = isinstance(node, ast.ClassDef)
        excused = not is_class and REASON in (ast.get_docstring(node) or "")
        if lines > (CLASS if is_class else FUNCTION) and not excused:
            yield f"{node.name} has {lines} lines"


def test_modules_classes_and_functions_are_short() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {words}"
        for top in ("core", "nanochat", "tui")
        for path in (ROOT / top).rglob("*.py")
        for words in long_parts(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_what_is_too_long_is_found() -> None:
    function = "def long():\n    '''{}'''\n" + "    pass\n" * 59
    assert list(long_parts(function.format("Text."))) == ["long has 61 lines"]
    assert list(long_parts(function.format("Text. Long, because each option is a parameter."))) == []
    assert list(long_parts("class Long:\n" + "    x = 1\n" * 250)) == ["Long has 251 lines"]
    assert list(long_parts("x = 1\n" * 401)) == ["the module has 401 lines"]
