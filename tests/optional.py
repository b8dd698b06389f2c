"""Folders of tests that `make test` leaves alone, since they need a card or a package that few machines have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest


def is_ignored(folder: Path, mark: str, config: pytest.Config) -> bool | None:
    """The answer of `pytest_ignore_collect`: leave the folder alone unless it, something in it or its mark is asked for."""
    paths = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    asked = mark in str(config.getoption("markexpr", "")) or any(path.is_relative_to(folder) for path in paths)
    return None if asked else True


def mark_items(items: Iterable[pytest.Item], folder: Path, mark: str, timeout_s: float, reason: str) -> None:
    """Give the tests of the folder its mark and a time limit, and skip them if there is a reason."""
    for item in items:
        if not item.path.is_relative_to(folder):
            continue
        item.add_marker(getattr(pytest.mark, mark))
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(timeout_s))
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
