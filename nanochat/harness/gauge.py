"""The gauge: measures the current speed of the machine by a fixed piece of work similar to a training step."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

TOKENS, WIDTH, VOCABULARY = 64, 128, 512  # of the gauge's model
PASS_ITEMS, PARTS = 1 << 21, 4  # float32 values in a pass over memory, and regions that the passes use in turn


class NotMeasured(Exception):
    """The gauge cannot run here. The message is a clause with the reason."""


@dataclass(frozen=True)
class Reading:
    """One reading of the gauge.

    Attributes:
        pass_s: CPU seconds of the pass over memory.
        rounds_s: CPU seconds of the two rounds after it.
        wall_s: Wall seconds of the rounds.
        before_s: CPU seconds that the stopped trainer used before the rounds. Should be 0.
        during_s: CPU seconds that the stopped trainer used during the rounds. Should be 0.
    """

    pass_s: float
    rounds_s: float
    wall_s: float
    before_s: float = 0.0
    during_s: float = 0.0

    @property
    def work_s(self) -> float:
        """CPU seconds of the whole reading. The machine's speed is inversely proportional to them."""
        return self.pass_s + self.rounds_s


class Gauge:
    """The fixed work, on one thread: a pass over uncached memory, then two rounds of a small transformer.

    A round is a forward and a backward pass in float32. Before them, an untimed round brings the code back into the caches. The pass
    then evicts the data of the rounds, so that the first round finds them outside of the core's own caches, whatever the trainer did.
    This mix followed the speed of real trainings best (docs/decisions.md). A reading is short, because many short readings tell the
    mean speed better than a few long ones.

    Raises:
        NotMeasured: This process cannot choose its core, or has no memory for the work.
    """

    def __init__(self) -> None:
        if not hasattr(os, "sched_setaffinity"):
            raise NotMeasured("this system lets no program choose its core")
        self._cores = os.sched_getaffinity(0)
        draw = torch.Generator().manual_seed(0)
        self._tokens = torch.randint(VOCABULARY, (TOKENS + 1,), generator=draw)  # (T+1,)
        shapes = (
            (VOCABULARY, WIDTH),
            (3 * WIDTH, WIDTH),
            (WIDTH, WIDTH),
            (4 * WIDTH, WIDTH),
            (WIDTH, 4 * WIDTH),
            (VOCABULARY, WIDTH),
        )
        self._memory = _unshared((PARTS, PASS_ITEMS))
        self._part = 0
        self._weights = [(torch.randn(shape, generator=draw) * WIDTH**-0.5).requires_grad_() for shape in shapes]

    def warm(self, core: int) -> None:
        """Do the work once without timing it. After a fork, the first rounds copy the pages that they write.

        Raises:
            NotMeasured: This process may not run on that core.
        """
        self.read(core)

    def read(self, core: int, ran_s: Callable[[], float] = float) -> Reading:
        """Take one reading, which takes some milliseconds.

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
            self._round()  # untimed: how long this one takes depends on what the trainer has left in the caches
            began = time.thread_time()
            self._pass()
            pass_s = time.thread_time() - began
            before = ran_s()
            wall, began = time.perf_counter(), time.thread_time()
            self._round()
            self._round()
            rounds_s, wall_s = time.thread_time() - began, time.perf_counter() - wall
            return Reading(pass_s, rounds_s, wall_s, before, ran_s() - before)
        finally:
            with contextlib.suppress(OSError):  # the allowed cores have changed
                os.sched_setaffinity(0, self._cores)

    def _pass(self) -> None:
        """Read and write a region of memory that was last used PARTS readings ago."""
        self._part = (self._part + 1) % PARTS
        self._memory[self._part].add_(1.0)

    def _round(self) -> None:
        """Run one forward and backward pass over T tokens, with width C and vocabulary V."""
        embed, qkv, out, up, down, unembed = self._weights
        with torch.enable_grad():
            x = F.rms_norm(F.embedding(self._tokens[:-1], embed), (WIDTH,))  # (T, C)
            q, k, v = F.linear(x, qkv).view(1, 1, TOKENS, 3 * WIDTH).chunk(3, dim=-1)  # (1, 1, T, C)
            y = F.scaled_dot_product_attention(F.rms_norm(q, (WIDTH,)), F.rms_norm(k, (WIDTH,)), v, is_causal=True)
            x = x + F.linear(y[0, 0], out)
            x = x + F.linear(F.relu(F.linear(F.rms_norm(x, (WIDTH,)), up)).square(), down)
            logits = F.linear(F.rms_norm(x, (WIDTH,)), unembed)  # (T, V)
            loss = F.cross_entropy(logits, self._tokens[1:])
        torch.autograd.grad(loss, self._weights)


def _unshared(shape: tuple[int, int]) -> torch.Tensor:
    """Return float32 ones of `shape` that no forked process shares.

    After a fork, the first write to a shared page copies it. The passes of the first readings would time these copies: they took
    eight times as long as the later ones.

    Raises:
        NotMeasured: The system gives no memory.
    """
    try:
        pages = mmap.mmap(-1, 4 * shape[0] * shape[1], flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise NotMeasured(f"there is no memory for it: {error.strerror}") from None
    with contextlib.suppress(OSError):  # some sandboxes refuse it; then only the first passes are slower
        pages.madvise(mmap.MADV_DONTFORK)
    memory = torch.frombuffer(pages, dtype=torch.float32).view(shape)
    return memory.fill_(1.0)  # a page is allocated when it is first written
