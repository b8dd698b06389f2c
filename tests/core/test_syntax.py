"""Source is parsed from several threads at once: the loop's own, and those of agents."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core import syntax

SOURCE = Path("nanochat/train.py").read_text()


class Circle:
    """Only the garbage collector frees it, and other threads run meanwhile."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        sum(range(200))


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change places, and garbage is collected, as often as can be."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.freeze()
    gc.set_threshold(50)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.parametrize(
    ("parse", "text", "found"),
    [
        (syntax.parse, SOURCE, ast.dump(ast.parse(SOURCE))),
        (syntax.literal, f"[{'-1.5, ' * 400}]", ast.dump(ast.Constant([-1.5] * 400))),
    ],
    ids=["parse", "literal"],
)
def test_threads_that_parse_at_the_same_time_do_not_disturb_each_other(
    restless: None, parse: Callable[[str], object], text: str, found: str
) -> None:
    def work(_: int) -> set[str]:
        trees = []
        for _ in range(10):
            kept = [Circle() for _ in range(50)]
            del kept
            trees.append(parse(text))
        return {ast.dump(tree if isinstance(tree, ast.AST) else ast.Constant(tree)) for tree in trees}

    with ThreadPoolExecutor(4) as pool:
        assert set().union(*pool.map(work, range(4))) == {found}
