"""Generate edits of a train.py that change its text and syntax tree but not its results, for an A/A night.

The rules are: rename local variables, swap the operands of comparisons, swap adjacent functions, reorder imported names, add
unused constants, and assign returned values to a name first. No operation on numbers is added, removed or moved, so the training
is the same bit for bit.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeGuard

from core.change import edits
from core.text import lines_of

Function = ast.FunctionDef
FLIPPED = {ast.Lt: ">", ast.Gt: "<", ast.LtE: ">=", ast.GtE: "<=", ast.Eq: "==", ast.NotEq: "!="}


@dataclass(frozen=True)
class Same:
    """An edit without effect."""

    kind: str
    words: str  # what it does, in a sentence
    source: str  # the whole new source


@dataclass(frozen=True)
class Piece:
    """New text for a part of the source. Lines count from 1, columns in bytes from 0, as in `ast`."""

    line: int
    begin: int
    end_line: int
    end: int
    text: str


def draw(source: str, count: int, seed: int) -> list[Same]:
    """Return `count` different edits in a random order, which depends only on the seed. Each passes the checks of proposals.

    Raises ValueError if the source gives fewer edits.
    """
    candidates, chosen = list(every(source)), dict[str, Same]()
    random.Random(seed).shuffle(candidates)
    for one in candidates:
        if len(chosen) == count:
            break
        edits.validate_change(source, one.source)
        chosen.setdefault(edits.fingerprint(one.source), one)
    if len(chosen) < count:
        raise ValueError(f"This train.py gives {len(chosen)} such edits, and {count} were asked for.")
    return list(chosen.values())


def every(source: str) -> Iterator[Same]:
    """Yield all edits of the source, one kind after the other."""
    tree = ast.parse(source)
    hidden = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    for function in functions:
        yield from _renamed(source, function, hidden)
        yield from _named(source, function)
    yield from _flipped(source, tree, hidden)
    yield from _exchanged(source, tree)
    yield from _reordered(source, tree)
    yield from _unused(source, tree)


def _renamed(source: str, function: Function, hidden: set[int]) -> Iterator[Same]:
    """Rename a local variable."""
    nodes = list(ast.walk(function))
    taken = {node.arg for node in nodes if isinstance(node, ast.arg)}
    taken |= {name for node in nodes if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    taken |= {node.id for node in nodes if isinstance(node, ast.Name) and id(node) in hidden}  # in an f-string
    names = [node for node in nodes if isinstance(node, ast.Name)]
    for old in sorted({node.id for node in names if isinstance(node.ctx, ast.Store)} - taken):
        new = _fresh(source, f"{old}_here")
        pieces = [_piece(node, new) for node in names if node.id == old]
        yield Same("rename", f"{old} in {function.name} is called {new}.", _put(source, pieces))


def _named(source: str, function: Function) -> Iterator[Same]:
    """Assign a returned value to a name first."""
    lines = lines_of(source)
    for node in ast.walk(function):
        if not isinstance(node, ast.Return) or node.value is None or isinstance(node.value, ast.Name | ast.Constant):
            continue
        indent = lines[node.lineno - 1][: node.col_offset]
        if indent.strip() or node.lineno != node.end_lineno:
            continue
        name = _fresh(source, "answer")
        text = f"{name} = {ast.get_source_segment(source, node.value)}\n{indent}return {name}"
        words = f"What {function.name} returns in line {node.lineno} has a name first."
        yield Same("name", words, _put(source, [_piece(node, text)]))


def _flipped(source: str, tree: ast.Module, hidden: set[int]) -> Iterator[Same]:
    """Swap the operands of a comparison, and reverse its operator."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or len(node.ops) != 1 or id(node) in hidden:
            continue
        flipped = FLIPPED.get(type(node.ops[0]))
        if flipped is None or any(isinstance(part, ast.Call) for part in ast.walk(node)):
            continue
        left, right = (ast.get_source_segment(source, part) for part in (node.left, node.comparators[0]))
        pieces = [_piece(node, f"{right} {flipped} {left}")]
        yield Same("flip", f"{left} stands on the right in line {node.lineno}.", _put(source, pieces))


def _exchanged(source: str, tree: ast.Module) -> Iterator[Same]:
    """Swap two adjacent functions, or two adjacent methods of a class."""
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    lines = lines_of(source)
    for body in bodies:
        for one, two in pairwise(body):
            if not (_movable(one) and _movable(two)):
                continue
            (a, b), (c, d) = _span(one), _span(two)
            moved = [*lines[:a], *lines[c:d], *lines[b:c], *lines[a:b], *lines[d:]]
            yield Same("order", f"{two.name} stands before {one.name}.", "".join(moved))


def _reordered(source: str, tree: ast.Module) -> Iterator[Same]:
    """Reverse the names of an import."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__" and len(node.names) > 1:
            names = ", ".join(ast.unparse(alias) for alias in reversed(node.names))
            pieces = [_piece(node, f"from {'.' * node.level}{node.module or ''} import {names}")]
            yield Same("import", f"What comes from {node.module} is imported in another order.", _put(source, pieces))


def _unused(source: str, tree: ast.Module) -> Iterator[Same]:
    """Add an unused constant before a function."""
    for node in tree.body:
        if _movable(node):
            name = _fresh(source, f"SPARE_{node.name.upper()}")
            piece = Piece(node.lineno, 0, node.lineno, 0, f"{name} = 1\n\n\n")
            yield Same("constant", f"{name} is there and not used.", _put(source, [piece]))


def _movable(node: ast.stmt) -> TypeGuard[Function]:
    return isinstance(node, Function) and not node.decorator_list


def _span(node: Function) -> tuple[int, int]:
    """Return the first line and the line after the last one, from 0."""
    assert node.end_lineno is not None
    return node.lineno - 1, node.end_lineno


def _fresh(source: str, name: str) -> str:
    """Return a name that does not occur in the source."""
    while name in source:
        name += "_"
    return name


def _piece(node: ast.expr | ast.stmt, text: str) -> Piece:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return Piece(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset, text)


def _put(source: str, pieces: list[Piece]) -> str:
    """Replace parts of the source. The parts must not overlap."""
    lines = lines_of(source)
    starts = [0]
    for text in lines:
        starts.append(starts[-1] + len(text.encode()))
    raw = source.encode()
    for piece in sorted(pieces, key=lambda piece: (piece.line, piece.begin), reverse=True):
        begin, end = starts[piece.line - 1] + piece.begin, starts[piece.end_line - 1] + piece.end
        raw = raw[:begin] + piece.text.encode() + raw[end:]
    return raw.decode()
