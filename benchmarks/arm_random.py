"""The agent `random` of yield.py, for `--agent python:benchmarks/arm_random.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from arms import Uniform


def make() -> Uniform:
    """Return the agent."""
    return Uniform()
