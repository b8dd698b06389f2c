"""The gauge: measures the current speed of the machine by a fixed piece of work similar to a training step."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

SIDE, PRODUCTS = 256, 8  # of the matrices, and how many products a reading times
PASS_ITEMS = 1 << 20  # float32 values in a pass over memory: more than a core's own caches hold


class NotMeasured(Exception):
    """The gauge cannot run here. The message is a clause with the reason."""


@dataclass(frozen=True)
class Reading:
    """One reading of the gauge.

    Attributes:
        pass_s: CPU seconds of the pass over memory.
        products_s: CPU seconds of the matrix products after it.
        wall_s: Wall seconds of the products.
        before_s: CPU seconds that the stopped trainer used before the products. Should be 0.
        during_s: CPU seconds that the stopped trainer used during the products. Should be 0.
    """

    pass_s: float
    products_s: float
    wall_s: float
    before_s: float = 0.0
    during_s: float = 0.0

    @property
    def work_s(self) -> float:
        """CPU seconds of the whole reading. The machine's speed is inversely proportional to them."""
        return self.pass_s + self.products_s


class Gauge:
    """The fixed work, on one thread: a pass over memory, then products of two matrices in float32.

    Before them, a product and a pass are not timed. They bring the code, the matrices and the memory into the caches as far as these
    hold them, so that the timed work finds the same state whatever the trainer did.

    Products and passes are what a training step mostly consists of, and this mix followed the speed of real trainings best
    (docs/decisions.md). A reading is short, because many short readings tell the mean speed better than a few long ones.

    Raises:
        NotMeasured: This process cannot choose its core, or has no memory for the work.
    """

    def __init__(self) -> None:
        if not hasattr(os, "sched_setaffinity"):
            raise NotMeasured("this system lets no program choose its core")
        self._cores = os.sched_getaffinity(0)
        draw = torch.Generator().manual_seed(0)
        self._left, self._right = (torch.randn(SIDE, SIDE, generator=draw) for _ in range(2))
        self._product = torch.empty(SIDE, SIDE)
        self._memory = _unshared(PASS_ITEMS)

    def warm(self, core: int) -> None:
        """Do the work once without timing it. After a fork, the first products copy the pages that they write.

        Raises:
            NotMeasured: This process may not run on that core.
        """
        self.read(core)

    def read(self, core: int, ran_s: Callable[[], float] = float) -> Reading:
        """Take one reading, which takes about four milliseconds.

        Args:
            core: The core to measure.
            ran_s: Returns the CPU seconds that the trainer has used since it was stopped.

        Raises:
            NotMeasured: This process may not run on that core.
        """
        try:
            os.sched_setaffinity(0, {core})
        except OSError as error:
            raise NotMeasured(f"its core cannot be chosen: {error.strerror}") from None
        try:
            self._multiply(
                1
            )  # these two are not timed: how long they take depends on what the trainer has left in the caches
            self._pass()
            began = time.thread_time()
            self._pass()
            pass_s = time.thread_time() - began
            before = ran_s()
            wall, began = time.perf_counter(), time.thread_time()
            self._multiply(PRODUCTS)
            products_s, wall_s = time.thread_time() - began, time.perf_counter() - wall
            return Reading(pass_s, products_s, wall_s, before, ran_s() - before)
        finally:
            with contextlib.suppress(OSError):  # the allowed cores have changed
                os.sched_setaffinity(0, self._cores)

    def _pass(self) -> None:
        """Read and write the memory."""
        self._memory.add_(1.0)

    def _multiply(self, times: int) -> None:
        for _ in range(times):
            torch.mm(self._left, self._right, out=self._product)


def _unshared(items: int) -> torch.Tensor:
    """Return `items` float32 ones that no forked process shares.

    After a fork, the first write to a shared page copies it. The passes of the first readings would time these copies: they took
    eight times as long as the later ones.

    Raises:
        NotMeasured: The system gives no memory.
    """
    try:
        pages = mmap.mmap(-1, 4 * items, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise NotMeasured(f"there is no memory for it: {error.strerror}") from None
    with contextlib.suppress(OSError):  # some sandboxes refuse it; then only the first passes are slower
        pages.madvise(mmap.MADV_DONTFORK)
    memory = torch.frombuffer(pages, dtype=torch.float32)
    return memory.fill_(1.0)  # a page is allocated when it is first written
