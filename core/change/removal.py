"""Takes one change out of a later train.py. Pure, apart from the merge that it is given."""

from __future__ import annotations

from collections.abc import Callable

from core.change import edits, knobs
from core.model import Value

Merge = Callable[[str, str, str], str | None]  # base, ours, theirs -> the merged text, or None


def without(best: str, old: str, new: str, merge: Merge) -> str:
    """Return a train.py without the change from `old` to `new`, which it contains.

    Constants are set back by name, because a merge takes changes of neighbouring lines for a conflict. The rest is merged.

    Args:
        best: The train.py that contains the change.
        old: The train.py before the change.
        new: The train.py after it.
        merge: Returns the three-way merge of three texts, or None if both sides changed the same lines.

    Raises:
        EditError: A later change touches the same lines, or moved the same constant, or what is left is not valid Python.
    """
    try:
        back = {name: values[0] for name, values in knobs.moved(old, new).items()}
        now = knobs.moved(new, best)
        present = {knob.name: knob.value for knob in knobs.read(best)}
    except SyntaxError as error:
        raise edits.EditError(f"a train.py cannot be read: {error}") from error
    if again := sorted(name for name in back if name in now or name not in present):
        raise edits.EditError(f"a later change moved {', '.join(again)} too")
    merged = merge(_with(new, present), best, _with(old, present))
    if merged is None:
        raise edits.EditError("later changes touch the same lines")
    try:
        return _with(merged, back)
    except SyntaxError as error:  # such as a block whose last statement it was
        raise edits.EditError(f"without it train.py would not be valid Python: {error}") from error


def _with(source: str, values: dict[str, Value]) -> str:
    """Return a train.py with those of these constants that it has."""
    names = {knob.name for knob in knobs.read(source)}
    return knobs.set_knobs(source, {name: value for name, value in values.items() if name in names})
