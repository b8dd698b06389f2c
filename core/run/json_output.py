"""The option --json: one JSON value on stdout, and what a command says besides on stderr. docs/json.md lists the fields."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator

from core.run.background import say


def say_json(facts: object) -> None:
    """Print a value, such as a struct or a dataclass, as one line of JSON."""
    import msgspec  # imported late, since most commands print text

    say(json.dumps(msgspec.to_builtins(facts)))


@contextlib.contextmanager
def words_on_stderr(*, on: bool) -> Iterator[None]:
    """Print on stderr what the body prints for people, so that stdout has the JSON alone. `on`: whether --json was given."""
    with contextlib.redirect_stdout(sys.stderr) if on else contextlib.nullcontext():
        yield
