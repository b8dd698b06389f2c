"""What `search` understands of the backlog: ideas in the form of hints. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from core.agents.base import Context
from core.agents.search.drafts import Knobs
from core.agents.search.ranges import places
from core.change import touched
from core.charter.directions import Direction, NotUsable, parse
from core.model import Value


def backlog_wishes(context: Context) -> Iterator[tuple[str, Direction]]:
    """Yield each idea with what it asks to try or to set, from the top.

    An idea that `search` does not understand as a whole is left out, and so is one that asks to leave something alone.
    """
    known = touched.names(context.source)
    for idea in context.backlog:
        try:
            wishes = parse(idea, known)
        except NotUsable:
            continue
        if all(wish.kind in ("try", "set") for wish in wishes):
            for wish in wishes:
                yield idea, wish


def steps_of(direction: Direction, known: Knobs) -> Iterator[tuple[str, str, Value]]:
    """Yield the steps that a wish to try constants asks for: the name, up or down, and the value."""
    for way in ("up", "down") if direction.kind == "try" else ():
        for name in direction.names:
            if name in known.every and direction.way in ("", way):
                for value in places(known.every[name], way == "up"):
                    yield name, way, value
