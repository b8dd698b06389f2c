"""Reads and sets the knobs of train.py: the lines `NAME = literal  # comment` at its top. Pure."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from core import syntax
from core.model import Value
from core.text import lines_of


@dataclass(frozen=True)
class Knob:
    """One named constant of train.py."""

    name: str
    value: Value
    written: str  # the value as source text
    comment: str
    line: int  # 0-based
    begin: int  # where `written` begins in the UTF-8 bytes of its line
    end: int


@lru_cache(maxsize=16)
def read(source: str) -> tuple[Knob, ...]:
    """Return the knobs before the first function or class. Raises SyntaxError."""
    lines = lines_of(source)
    knobs = []
    for node in syntax.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            break
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or node.end_lineno != node.lineno:
            continue
        target = node.targets[0]
        if not isinstance(target, ast.Name) or not target.id.isupper():
            continue
        try:
            value = _literal(node.value)
        except ValueError:
            continue
        line = lines[node.lineno - 1].encode()  # columns are counted in bytes
        begin, end = node.value.col_offset, node.value.end_col_offset or 0
        written, comment = line[begin:end].decode(), line[end:].decode().partition("#")[2].strip()
        knobs.append(Knob(target.id, value, written, comment, node.lineno - 1, begin, end))
    return tuple(knobs)


def moved(old: str, new: str) -> dict[str, tuple[Value, Value]]:
    """The knobs that both sources have with different values, each with its old and its new one. Raises SyntaxError."""
    before = {knob.name: knob.value for knob in read(old)}
    return {
        knob.name: (before[knob.name], knob.value)
        for knob in read(new)
        if knob.name in before and before[knob.name] != knob.value
    }


def _literal(node: ast.expr) -> Value:
    """Return the value of a number, string, boolean, or power such as 2**15. Raises ValueError for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, power = _literal(node.left), _literal(node.right)
        if isinstance(base, int) and isinstance(power, int) and 0 <= power < 64:
            return int(base**power)
        raise ValueError
    value: object = ast.literal_eval(node)
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError


def is_power_of_two(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0 and value & (value - 1) == 0


def write(value: Value, like: str) -> str:
    """Return a value as Python source, in the style of `like`: powers of two as powers, words in the same quotes.

    Raises ValueError for inf and nan.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be written as a number in Python")
    if "**" in like and is_power_of_two(value) and isinstance(value, int):
        return f"2**{value.bit_length() - 1}"
    text = repr(value)
    if text.startswith("'") and like.startswith('"') and '"' not in text:
        return f'"{text[1:-1]}"'
    return text


def set_knobs(source: str, values: Mapping[str, Value]) -> str:
    """Return the source with these knobs set. Comments stay. Raises KeyError for a name that is not a knob."""
    known = {knob.name: knob for knob in read(source)}
    return set_written(source, {name: write(value, known[name].written) for name, value in values.items()})


def set_written(source: str, written: Mapping[str, str]) -> str:
    """Return the source with these knobs set to values that are given as source text. Raises KeyError as `set_knobs` does."""
    known = {knob.name: knob for knob in read(source)}
    lines = [line.encode() for line in lines_of(source)]
    for knob in sorted((known[name] for name in written), key=lambda knob: -knob.begin):  # several may share a line
        line = lines[knob.line]
        lines[knob.line] = line[: knob.begin] + written[knob.name].encode() + line[knob.end :]
    return b"".join(lines).decode()
