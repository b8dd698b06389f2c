"""A load that switches at random between no, one and two busy neighbours, to simulate a shared machine.

The neighbours are two processes, one bound by computing and one by memory. Both draw the same segments from the same seed, so
they need no communication. They end with the process that started them.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

KINDS = ("compute", "memory")
SHORTEST_S, LONGEST_S = 3.0, 15.0
UNIT_S = 0.02  # between two checks of the clock
ARRAY_BYTES = 64 << 20  # of each of the two arrays that the memory-bound neighbour copies; too large for a cache
SIDE = 192  # of the matrices that the compute-bound neighbour multiplies; they fit into a core's cache


@dataclass(frozen=True)
class Segment:
    """A period in which exactly these kinds of neighbours are busy."""

    seconds: float
    busy: tuple[str, ...]


def segments(seed: str) -> Iterator[Segment]:
    """Yield the segments of a load without end. They depend only on the seed."""
    chance = random.Random(seed)
    while True:
        count = chance.randrange(len(KINDS) + 1)
        yield Segment(chance.uniform(SHORTEST_S, LONGEST_S), tuple(sorted(chance.sample(KINDS, count))))


def neighbours(seed: str, seconds: float) -> float:
    """Return the mean number of busy neighbours in the first `seconds` of a load."""
    left, total = seconds, 0.0
    for segment in segments(seed):
        part = min(left, segment.seconds)
        total, left = total + part * len(segment.busy), left - part
        if left <= 0:
            break
    return total / seconds


class Load:
    """A context manager that runs the load of a seed."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Load:
        began, single = str(time.monotonic()), {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        for kind in KINDS:
            command = [sys.executable, __file__, kind, self.seed, began, str(os.getpid())]
            # In a new session, so that Ctrl-C in the terminal does not end it.
            self._processes.append(subprocess.Popen(command, env={**os.environ, **single}, start_new_session=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()


def neighbour(kind: str, seed: str, began: float, parent: int) -> None:
    """Run one of the neighbours until the parent ends. `began`: monotonic time at which the first segment began."""
    import numpy as np

    if kind == "memory":
        source, target = (np.ones(ARRAY_BYTES, dtype=np.uint8) for _ in range(2))
    else:
        source = np.ones((SIDE, SIDE), dtype=np.float32)
        target = np.empty_like(source)
    until = began
    for segment in segments(seed):
        until += segment.seconds
        while time.monotonic() < until:
            if os.getppid() != parent:
                return
            if kind not in segment.busy:
                time.sleep(UNIT_S)
            elif kind == "memory":
                np.copyto(target, source)
            else:
                look = time.monotonic() + UNIT_S
                while time.monotonic() < look:
                    np.matmul(source, source, out=target)


if __name__ == "__main__":
    neighbour(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
