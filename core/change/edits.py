"""Applies changes to train.py and checks them before they are trained. Pure."""

from __future__ import annotations

import ast
import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from core import syntax
from core.model import Edit
from core.target import TARGET, ContractError
from core.text import lines_of
from nanochat.contract.job import CrashClass

# Functions that run text or write to a namespace.
DYNAMIC = frozenset(("exec", "eval", "compile", "globals", "locals", "vars", "setattr", "delattr"))
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")


class EditError(Exception):
    """A change cannot be used. The message is written for a language model; `crash` classifies the error."""

    def __init__(self, message: str, crash: CrashClass | None = None) -> None:
        super().__init__(message)
        self.crash = crash


class NotRead(EditError):
    """An answer does not have the requested format, so it contains no change."""


def apply(source: str, edits: Sequence[Edit]) -> str:
    """Return the source with all edits applied in order. Each search text must occur exactly once. Raises EditError."""
    if not edits:
        raise EditError("The proposal has no edits; give at least one search and its replacement.")
    for index, edit in enumerate(edits, 1):
        fine = f" Edits 1 to {index - 1} were fine." if index > 1 else ""
        count = source.count(edit.search) if edit.search else 0
        if not edit.search:
            raise EditError(f"Edit {index} has an empty search text; copy some lines of train.py into it.{fine}")
        if count == 0:
            shown = f"\n{edit.search}\n" if "\n" in edit.search else f" “{edit.search}”. "
            raise EditError(
                f"The search text of edit {index} is not in train.py:{shown}{_nearest(source, edit.search)}{fine}"
            )
        if count > 1:
            raise EditError(
                f"The search text of edit {index} occurs {count} times in train.py; add a line before or after it, so "
                f"that it is unique:\n{edit.search}{fine}"
            )
        source = source.replace(edit.search, edit.replace)
    return source


def try_apply(source: str, edits: Sequence[Edit]) -> str | None:
    """Return the source with all edits applied in order, or None if one of them does not apply, without finding out why."""
    for edit in edits:
        if not edit.search or source.count(edit.search) != 1:
            return None
        source = source.replace(edit.search, edit.replace)
    return source if edits else None


def _nearest(source: str, search: str) -> str:
    """Return a sentence with the lines that are most similar to the first line of the search text."""
    first = next((line.rstrip("\r\n") for line in lines_of(search) if line.strip()), search)
    lines = [line.rstrip("\r\n") for line in lines_of(source)[:5000]]
    close = difflib.get_close_matches(first, lines, n=2, cutoff=0.5)
    return "The nearest lines are:\n" + "\n".join(close) if close else "No line of it is similar."


def check(source: str) -> ast.Module:
    """Parse a train.py and check the training contract (see `core.target`). Raises EditError."""
    try:
        return TARGET.parse(source)
    except ContractError as error:
        raise EditError(str(error), error.crash) from None


def validate_change(old: str, new: str, *, off_limits: Iterable[str] = ()) -> None:
    """Check a change before it is trained: the contract, that it has an effect, and `off_limits`.

    Args:
        old: The present train.py.
        new: The changed train.py.
        off_limits: Names that must not change: top-level names or Class.member.

    Raises:
        EditError: The change breaks a rule.
    """
    tree = check(new)
    if fingerprint(old) == fingerprint(new):
        raise EditError("It does not change what train.py does: only comments or formatting differ, or nothing.")
    names = list(off_limits)
    if not names:
        return
    with readable():
        before = syntax.parse(old)
    detours = [_detours(module, {name.partition(".")[0] for name in names}) for module in (before, tree)]
    for name in names:
        old_ways, new_ways = (by_name[name.partition(".")[0]] for by_name in detours)
        if _definition(before, name) != _definition(tree, name) or old_ways != new_ways:
            raise EditError(f"{name} is off limits (program.md says so) and must stay as it is.")
        if "." not in name and _is_read(before, name) and not _is_read(tree, name):
            raise EditError(f"{name} is off limits (program.md says so) and must stay in use.")


def _definition(tree: ast.Module, name: str) -> list[str]:
    """Return the dumps of all definitions and assignments of a top-level name or Class.member."""
    first, _, rest = name.partition(".")
    path = []
    for node in tree.body:
        names = [getattr(node, "name", "")]
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        if first in names:
            if rest and isinstance(node, ast.ClassDef):
                path += _definition(ast.Module(node.body, []), rest)
            else:
                with readable():
                    path.append(ast.dump(node))
    return path


def _detours(tree: ast.Module, names: set[str]) -> dict[str, list[str]]:
    """Return the ways to bind these names, or to shadow them, that are no top-level definition or assignment.

    Code that runs text or writes to a namespace counts for each name.
    """
    by_name: dict[str, list[str]] = {name: [] for name in names}
    for top in tree.body:
        plain = {id(name) for name in _assigned(top)}
        for node in ast.walk(top):
            if isinstance(node, ast.Name) and node.id in DYNAMIC:
                for ways in by_name.values():
                    ways.append(node.id)
            elif id(node) not in plain:
                for name in names.intersection(_bound(node)):
                    by_name[name].append(type(node).__name__)
    return by_name


def _assigned(statement: ast.stmt) -> list[ast.expr]:
    """Return the names that an assignment binds."""
    match statement:
        case ast.Assign(targets=targets):
            found = list(targets)
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            found = [target]
        case _:
            return []
    for part in found:  # the list grows as tuples are opened
        if isinstance(part, ast.Tuple | ast.List):
            found += part.elts
        elif isinstance(part, ast.Starred):
            found.append(part.value)
    return found


def _bound(node: ast.AST) -> Sequence[str | None]:
    """Return the names that a node binds, shadows, or holds as text."""
    match node:
        case ast.Global(names=bound):
            return bound
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name) | ast.keyword(arg=name):
            return [name]
        case (
            ast.MatchAs(name=name)
            | ast.MatchStar(name=name)
            | ast.MatchMapping(rest=name)
            | ast.ExceptHandler(name=name)
        ):
            return [name]
        case ast.alias(name=one, asname=other):
            return [one, other or one]
        case ast.Constant(value=str(text)):
            return [text]
    return []


def _is_read(tree: ast.Module, name: str) -> bool:
    """Return whether any code reads a name."""
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load) for node in ast.walk(tree)
    )


@contextmanager
def readable() -> Iterator[None]:
    """Turn errors about code that Python can parse but not walk or dump (too deep, a number too long) into EditError."""
    try:
        yield
    except SyntaxError:
        raise
    except (RecursionError, MemoryError, ValueError) as error:
        words = "it nests too deeply or holds too long a number"
        raise EditError(f"train.py cannot be read ({words}: {error}).", CrashClass.CONTRACT) from None


def bare(source: str) -> ast.Module:
    """Return the tree of a train.py without docstrings. Raises SyntaxError and RecursionError."""
    tree = syntax.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                    node.body = rest or [ast.Pass()]
    return tree


@lru_cache(maxsize=64)
def fingerprint(source: str) -> str:
    """Return a hash of the AST, without comments, docstrings and formatting. Raises SyntaxError and EditError."""
    with readable():
        return hashlib.sha256(ast.dump(bare(source)).encode(errors="replace")).hexdigest()[:16]


@lru_cache(maxsize=64)
def ast_nodes(source: str) -> int:
    """Return the number of AST nodes, without docstrings. Raises SyntaxError and EditError."""
    with readable():
        return sum(1 for _ in ast.walk(bare(source)))


def any_fingerprint(source: str) -> str:
    """Return the fingerprint, or a hash of the text if it does not parse."""
    try:
        return fingerprint(source)
    except (SyntaxError, ValueError, EditError):
        return hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()


def any_nodes(source: str) -> int:
    """Return the number of AST nodes, or 0 if it does not parse."""
    try:
        return ast_nodes(source)
    except (SyntaxError, ValueError, EditError):
        return 0


def unified(old: str, new: str) -> str:
    """Return a unified diff of train.py."""
    lines = difflib.unified_diff(lines_of(old), lines_of(new), f"a/{TARGET.path}", f"b/{TARGET.path}")
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def added_removed(old: str, new: str) -> tuple[int, int]:
    """Return the numbers of lines added and removed."""
    lines = lines_of(unified(old, new))[2:]
    return sum(line.startswith("+") for line in lines), sum(line.startswith("-") for line in lines)


def undone(new: str, diff: str) -> str | None:
    """Return the source that `unified` compared with `new`; None if the diff does not belong to `new`."""
    lines, old, at, sign = lines_of(new), list[str](), 0, ""
    for raw in lines_of(diff):
        if match := _HUNK.match(raw):
            first = int(match[1]) - (match[2] != "0")  # an empty range names the line before it
            old += lines[at:first]
            at, sign = first, "@"
        elif raw.startswith("\\"):  # the line before has no line end
            old[-1:] = [line.removesuffix("\n") if sign == "-" else line for line in old[-1:]]
        elif sign:  # not the names of the files
            sign = raw[0]
            if sign == "-":
                old.append(raw[1:])
            elif at >= len(lines) or lines[at].rstrip("\n") != raw[1:].rstrip("\n"):
                return None
            else:
                old += lines[at : at + 1] if sign == " " else []
                at += 1
    return "".join(old + lines[at:])
