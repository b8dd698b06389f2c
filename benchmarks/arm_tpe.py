"""The agent `tpe` of yield.py, for `--agent python:benchmarks/arm_tpe.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from arms import JointTPE


def make() -> JointTPE:
    """Return the agent."""
    return JointTPE()
