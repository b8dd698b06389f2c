"""Names of files and folders in the folder of a run that several parts of the product know."""

from __future__ import annotations

HARNESS = "harness"  # the copy of nanochat that the run began with
DATA = "data"  # the copy of the prepared data
COPIES = "frozen.json"  # the list of both copies: path -> SHA-256
COMPILED = "compiled"  # the kernels that the baseline compiled
METRICS = "metrics.jsonl"  # the training curve, in the folder of a job: see metrics.py
