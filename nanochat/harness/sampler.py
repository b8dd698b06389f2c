"""Write texts with saved models. Their train.py runs in the sandbox of a trainer; this process only sees logits.

A program: it reads a JSON array of `Sampling` from stdin and writes one `Sampled` a line to stdout. AUTORESEARCH_DEVICE names the
device, as for the fork server.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import tiktoken
import torch

from nanochat.contract.sampling import Sampled, Sampling, requests
from nanochat.data import tokenizer
from nanochat.data.prepared import DataError, Prepared, load
from nanochat.harness import fork_server, wire
from nanochat.harness.answers import Answers, Buffers
from nanochat.harness.clock import Clock
from nanochat.harness.crashes import out_of_memory
from nanochat.harness.keeping import row_nats
from nanochat.harness.processes import temporary_folder
from nanochat.harness.trainer import Spec
from nanochat.harness.trainer_process import Failed, TooBig, TrainerProcess
from nanochat.sandbox.libc import become_subreaper

HANG_S = 120.0  # wall seconds without an answer
FREE_S = 60.0  # wall seconds for building the model
STEPS = 2  # batches of random tokens
OUTPUT = 100_000  # bytes of output of train.py that are looked at
SAME = 0.02  # nats per token by which a loaded model may differ from the trained one: other kernels round differently


class Untrue(Exception):
    """The loaded model is not the one that was trained. The message is a clause."""


def sample(request: Sampling) -> Sampled:
    """Load a model and let it write. A failure of train.py is not raised; it is the reason in the answer.

    train(run) builds the model from no batches at all. Where that fails, it gets as many random ones as in a preflight.
    """
    found = _sample(request, 0)
    return _sample(request, STEPS) if found.reason else found


def _sample(request: Sampling, steps: int) -> Sampled:
    began, out = time.monotonic(), Path(tempfile.mkdtemp(prefix="autoresearch-sample-", dir=temporary_folder()))
    trainer: TrainerProcess | None = None
    try:
        prepared = load(Path(request.data))
        words = tokenizer.load(prepared.folder / "tokenizer.json")
        buffers = Buffers(1, request.seq_len, prepared.vocab_size)
        trainer = _start(request, steps, prepared, buffers, out)
        check = _limited(request.limit_s)
        _load(trainer, request, check)
        answers = Answers(trainer, buffers, wall=request.device != "cpu")
        if request.nats is not None:
            _compare(request.nats, row_nats(answers, prepared, request.seq_len, check))
        written = _write(request, answers, words, check)
        return Sampled(
            text=words.decode(written), tokens=len(written), steps=steps, seconds=round(time.monotonic() - began, 2),
            unprotected=trainer.missing,
        )  # fmt: skip
    except (Failed, Untrue, DataError) as error:
        return Sampled(reason=str(error))
    except TooBig:
        return Sampled(reason="there is too little memory to ask it")
    except (MemoryError, RuntimeError, OSError, ValueError) as error:
        if out_of_memory(error):
            return Sampled(reason="there is too little memory to load it")
        return Sampled(reason=f"{type(error).__name__}: {error}"[:300])
    finally:
        if trainer is not None:
            trainer.end()
        shutil.rmtree(out, ignore_errors=True)


def _start(request: Sampling, steps: int, prepared: Prepared, buffers: Buffers, out: Path) -> TrainerProcess:
    spec = Spec(
        source=Path(request.source).read_text(encoding="utf-8-sig"), device=request.device, vocab_size=prepared.vocab_size,
        seq_len=request.seq_len, seed=0, budget_s=1.0, max_steps=steps, scratch="", memory_limit=request.memory_limit,
        inputs=buffers.inputs.handle, outputs=buffers.outputs.handle, clock=Clock().handle, batch=1,
    )  # fmt: skip
    return TrainerProcess(
        spec, out, memory_limit=request.memory_limit, output_limit=OUTPUT, hang_s=HANG_S, wall=request.device != "cpu",
        free_s=FREE_S,
    )  # fmt: skip


def _limited(limit_s: float) -> Callable[[], None]:
    """Return a function that raises Failed after so many seconds of wall time."""
    end = time.monotonic() + limit_s

    def check() -> None:
        if time.monotonic() > end:
            raise Untrue(f"it took longer than {limit_s:.0f} s")

    return check


def _load(trainer: TrainerProcess, request: Sampling, check: Callable[[], None]) -> None:
    """Let train.py build its model without training, and load the weights into it. Raises Failed."""
    trainer.wait(wire.Start, check)
    trainer.wait(wire.Trained, check)
    trainer.last_activity = time.monotonic()
    with Path(request.weights).open("rb") as file:
        trainer.load_weights(file.fileno())
    trainer.wait(wire.WeightsDone, check)


def _compare(trained: float, loaded: float) -> None:
    if not abs(loaded - trained) <= SAME:
        raise Untrue(
            f"the loaded model answers otherwise than the trained one ({loaded:.3f} instead of {trained:.3f} nats per token of "
            f"training text), so it needs more than its parameters and buffers"
        )


def _write(request: Sampling, answers: Answers, words: tiktoken.Encoding, check: Callable[[], None]) -> list[int]:
    """Return the tokens after the prompt, until the model ends the text or has written enough."""
    end = words.n_vocab - 1  # the token between two documents
    tokens = [end, *tokenizer.encode(words, [request.prompt], 1)[0]]
    written: list[int] = []
    random = torch.Generator().manual_seed(request.seed)
    for _ in range(request.tokens):
        context = [*tokens, *written][-request.seq_len :]
        x = np.zeros((1, request.seq_len), dtype=np.int64)  # the model looks back only, so what follows does not matter
        x[0, : len(context)] = context
        logits = answers.ask(x, check)[0, len(context) - 1].float().cpu()
        token = choose(logits, request.temperature, random)
        if token == end:
            break
        written.append(token)
    return written


def choose(logits: torch.Tensor, temperature: float, random: torch.Generator) -> int:
    """Draw a token by its logits (V,). Temperature 0 takes the likeliest. Raises Untrue if a logit is not finite."""
    if not bool(torch.isfinite(logits).all()):
        raise Untrue("its logits are not all finite")
    if temperature <= 0:
        return int(logits.argmax())
    return int(torch.multinomial((logits.double() / temperature).softmax(0), 1, generator=random))


def main() -> None:
    """Answer all requests on stdin, then return. Raises ValueError if they cannot be decoded."""
    torch.set_num_threads(1)
    asked = requests(sys.stdin.buffer.read())
    fork_server.prepare(os.environ.get("AUTORESEARCH_DEVICE", "cpu"))
    become_subreaper()
    for request in asked:
        os.write(1, msgspec.json.encode(sample(request)) + b"\n")


if __name__ == "__main__":
    main()
    os._exit(0)  # skip torch's cleanup, which takes a second
