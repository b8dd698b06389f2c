"""What a change to train.py is about: the constants and definitions that it touches. Pure: two sources in, names out."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import lru_cache

from core.change import edits

IMPORTS, REST = "imports", "module level"


def touched(old: str, new: str) -> tuple[str, ...]:
    """The names that differ: constants, functions, Class.member, `imports`, `module level`; in alphabetical order.

    () where one of the two is no Python, or where nothing differs but comments, docstrings, formatting or order.
    """
    try:
        before, after = _parts(old), _parts(new)
    except (SyntaxError, edits.EditError):
        return ()
    found = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    along = {IMPORTS, *(after.keys() - before.keys())}  # imports and helpers that come along are no ideas of their own
    return tuple(sorted(found - along or found))


@lru_cache(maxsize=8)
def names(source: str) -> frozenset[str]:
    """Every name of a train.py that a change could touch, classes as wholes too; none where it is no Python."""
    try:
        found = _parts(source).keys() - {IMPORTS, REST}
    except (SyntaxError, edits.EditError):
        return frozenset()
    return frozenset(found)


def words(idea: tuple[str, ...]) -> str:
    """An idea as a reader sees it."""
    return " + ".join(idea)


def _parts(source: str) -> dict[str, list[str]]:
    """By name, all that is said of it."""
    parts: dict[str, list[str]] = defaultdict(list)
    with edits.readable():
        for node in edits.bare(source).body:
            if isinstance(node, ast.ClassDef):
                parts[node.name].append(ast.dump(ast.Module([*node.bases, *node.keywords, *node.decorator_list], [])))  # type: ignore[list-item]
                for member in node.body:
                    for name in _names(member):
                        parts[f"{node.name}.{name}" if name not in (IMPORTS, REST) else node.name].append(
                            ast.dump(member)
                        )
            else:
                for name in _names(node):
                    parts[name].append(ast.dump(node))
    return parts


def _names(node: ast.stmt) -> list[str]:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [IMPORTS]
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        found = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        return found or [REST]
    return [REST]
