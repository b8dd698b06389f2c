"""The request for a text that a saved model writes, and the answer, as plain data."""

from __future__ import annotations

import msgspec

from nanochat.contract.value import Data

NATS = "saved_nats"  # in `Result.probes` of a job that keeps its weights, see `Sampling.nats`


class Sampling(Data, frozen=True, kw_only=True):
    """Load saved weights into the model of a train.py, and let it write. Nothing is trained."""

    source: str  # path of the train.py
    weights: str  # path of the weights, in the safetensors format
    data: str  # folder of the prepared dataset, for the tokenizer
    device: str = "cpu"
    seq_len: int = 256  # scoring length of the training
    memory_limit: int | None = None  # bytes, as in `Job`
    nats: float | None = None  # of the trained model, see `nanochat.harness.keeping.row_nats`; None: not compared
    prompt: str = ""
    tokens: int = 0  # to write at most
    temperature: float = 1.0  # 0: always the likeliest token
    seed: int = 0
    limit_s: float = 900.0  # wall time


class Sampled(Data, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """What was written. With a `reason` there is no text."""

    text: str = ""  # without the prompt
    tokens: int = 0
    steps: int = 0  # batches of random tokens that train.py needed to build its model
    seconds: float = 0.0  # wall time of loading and writing
    reason: str = ""  # why the model could not be loaded or asked, as a clause
    unprotected: tuple[str, ...] = ()  # parts of the sandbox that this machine lacks


def requests(raw: bytes | str) -> list[Sampling]:
    """Decode a JSON array of requests. Raises ValueError."""
    return msgspec.json.decode(raw, type=list[Sampling])
