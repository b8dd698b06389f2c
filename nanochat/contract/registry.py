"""Registries of what users choose by name: agents, executors, datasets. The panes of the app are one too.

A registry is a tuple of entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Factory = TypeVar("Factory", covariant=True)


@dataclass(frozen=True)
class Entry(Generic[Factory]):
    """One row of a registry.

    Attributes:
        name: The name that users type. With an argument: `kind:ARGUMENT`, such as `text:PATH`.
        help: One line of help.
        factory: A function or class that makes what the row describes.
    """

    name: str
    help: str
    factory: Factory

    @property
    def kind(self) -> str:
        """The name without its argument."""
        return self.name.partition(":")[0]

    @property
    def has_argument(self) -> bool:
        return ":" in self.name


def find(spec: str, entries: Sequence[Entry[Factory]]) -> tuple[Factory, str] | None:
    """Return the factory for a name that the user typed, and the text after its colon. None for an unknown name.

    A name with an argument needs one: `text:` finds nothing.
    """
    kind, colon, argument = spec.partition(":")
    for entry in entries:
        if kind == entry.kind and bool(argument) == bool(colon) == entry.has_argument:
            return entry.factory, argument
    return None


def table(entries: Sequence[Entry[object]]) -> str:
    """Return all entries with their help, one per line, indented. Starts with a line break."""
    width = max(len(entry.name) for entry in entries)
    return "".join(f"\n  {entry.name:<{width}}  {entry.help}" for entry in entries)


def names(entries: Sequence[Entry[object]]) -> str:
    """Return the names as a phrase, such as `python, tinystories or text:PATH`."""
    *others, final = (entry.name for entry in entries)
    return f"{', '.join(others)} or {final}" if others else final
