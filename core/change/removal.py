"""Takes one change out of a later train.py. Pure, apart from the merge that it is given."""

from __future__ import annotations

from collections.abc import Callable

from core.change import edits, knobs

Merge = Callable[[str, str, str], str | None]  # base, ours, theirs -> the merged text, or None


def without(best: str, old: str, new: str, merge: Merge) -> str:
    """Return a train.py without the change from `old` to `new`, which it contains.

    Args:
        best: The train.py that contains the change.
        old: The train.py before the change.
        new: The train.py after it.
        merge: Returns the three-way merge of three texts, with constants by name, or None if both sides changed the same lines.

    Raises:
        EditError: A later change touches the same lines, or moved the same constant, or what is left is not valid Python.
    """
    try:
        back, now = knobs.moved(old, new), knobs.moved(new, best)
        present = {knob.name for knob in knobs.read(best)}
    except SyntaxError as error:
        raise edits.EditError(f"a train.py cannot be read: {error}") from error
    if again := sorted(name for name in back if name in now or name not in present):
        raise edits.EditError(f"a later change moved {', '.join(again)} too")
    merged = merge(new, best, old)
    if merged is None:
        raise edits.EditError("later changes touch the same lines")
    try:
        knobs.read(merged)
    except SyntaxError as error:  # such as a block whose last statement it was
        raise edits.EditError(f"without it train.py would not be valid Python: {error}") from error
    return merged
