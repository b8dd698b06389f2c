"""Finds the constants and definitions that a change to train.py touches. Pure."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import lru_cache

from core.change import edits

IMPORTS, REST = "imports", "module level"


def touched(old: str, new: str) -> tuple[str, ...]:
    """Return the names that differ, sorted: constants, functions, Class.member, `imports`, `module level`.

    Empty if one of the sources does not parse, or if only comments, docstrings, formatting or order differ.
    """
    try:
        before, after = _parts(old), _parts(new)
    except (SyntaxError, edits.EditError):
        return ()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    along = {IMPORTS, *(after.keys() - before.keys())}  # new imports and helpers only support the change
    return tuple(sorted(changed - along or changed))


@lru_cache(maxsize=8)
def names(source: str) -> frozenset[str]:
    """Return every name of a train.py that a change could touch, with classes. Empty if it does not parse."""
    try:
        every_name = _parts(source).keys() - {IMPORTS, REST}
    except (SyntaxError, edits.EditError):
        return frozenset()
    return frozenset(every_name)


def words(idea: tuple[str, ...]) -> str:
    """Return the touched names as text."""
    return " + ".join(idea)


def _parts(source: str) -> dict[str, list[str]]:
    """Return name -> the dumps of its definitions."""
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
    """Return the names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [IMPORTS]
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        assigned = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        return assigned or [REST]
    return [REST]
