"""Docstrings describe arguments and attributes that exist, under their names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("core", "nanochat", "tui", "benchmarks", "tests")
SECTION = re.compile(r"^(?:Args|Attributes):\n((?: {4}.*\n?|\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*): ", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def described(docstring: str) -> set[str]:
    """Return the names that the sections "Args" and "Attributes" of a docstring describe."""
    entries = [entry for section in SECTION.findall(docstring) for entry in ENTRY.findall(section)]
    return {name.strip("*") for entry in entries for name in entry.split(", ")}


def arguments(function: Function) -> set[str]:
    """Return the names of the arguments of a function."""
    given = function.args
    every = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    return {one.arg for one in every if one is not None}


def members(node: ast.ClassDef) -> set[str]:
    """Return the names of the fields and methods of a class, of what its methods assign to `self`, and of the constructor's arguments."""
    found: set[str] = set()
    for part in node.body:
        if isinstance(part, Function):
            found |= {part.name} | (arguments(part) if part.name == "__init__" else set())
            found |= {
                one.attr for one in ast.walk(part) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)
            }
        elif isinstance(part, ast.AnnAssign | ast.Assign):
            found |= {one.id for one in ast.walk(part) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return found


def missing(source: str) -> Iterator[str]:
    """Yield what the docstrings of a module describe although it does not exist."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function | ast.ClassDef):
            names = described(ast.get_docstring(node) or "")
            have = arguments(node) if isinstance(node, Function) else members(node)
            yield from sorted(f"{node.name}: {name}" for name in names - have)


def test_docstrings_describe_what_exists() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {name}"
        for place in PLACES
        for path in (ROOT / place).rglob("*.py")
        for name in missing(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_a_wrong_name_is_found() -> None:
    source = '''
def renamed(new, *, kept, **rest):
    """Return it.

    Args:
        old: The value,
            as before: wrapped.
        kept, gone: Two of them.
        **rest: More.

    Raises:
        ValueError: Not a name of an argument.
    """
class Fields:
    """Holds them.

    Attributes:
        one: In a column. `free`: a word of its text.
        two: Assigned.
        three: Nowhere.
    """
    one: int
    def __init__(self): self.two = 2
'''
    assert list(missing(source)) == ["renamed: gone", "renamed: old", "Fields: three"]
