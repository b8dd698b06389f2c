"""Prepares three texts of train.py for a three-way merge, so that constants are merged by name. Pure.

A merge of lines takes changes of neighbouring lines for a conflict, and all constants of train.py are on neighbouring lines.
"""

from __future__ import annotations

from core.change import knobs


def aligned(base: str, ours: str, theirs: str) -> tuple[str, str, str]:
    """Return the three texts with the same value of each constant that only one side changed, or both sides alike.

    A merge of their lines then keeps that value. A constant that both sides set to different values stays, so it is a conflict.
    The texts are returned as they are if one of them cannot be parsed.

    Args:
        base: The common ancestor.
        ours: One changed text.
        theirs: The other changed text.
    """
    try:
        written = [{knob.name: knob.written for knob in knobs.read(text)} for text in (base, ours, theirs)]
        moved = [knobs.moved(base, text).keys() for text in (ours, theirs)]
        values = [{knob.name: knob.value for knob in knobs.read(text)} for text in (ours, theirs)]
    except SyntaxError:
        return base, ours, theirs
    shared = written[0].keys() & written[1].keys() & written[2].keys()
    agreed: dict[str, str] = {}
    for name in (moved[0] | moved[1]) & shared:
        if name not in moved[1] or (name in moved[0] and values[0][name] == values[1][name]):
            agreed[name] = written[1][name]
        elif name not in moved[0]:
            agreed[name] = written[2][name]
    return knobs.set_written(base, agreed), knobs.set_written(ours, agreed), knobs.set_written(theirs, agreed)
