"""The trainer's process: build the Run, run train.py, and answer the scorer's questions.

train.py can change everything in this process. So the scorer trusts no message of it, except that it failed.
"""

from __future__ import annotations

import contextlib
import gc
import io
import linecache
import mmap
import os
import random
import socket
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nanochat.harness import compiler, lent, weights, wire
from nanochat.harness.clock import View
from nanochat.harness.crashes import FILENAME, NO_MEMORY, BadShape, Contract, describe, out_of_memory
from nanochat.harness.shared import Shared
from nanochat.run import Run
from nanochat.sandbox.namespaces import SHARED_MEMORY
from nanochat.sandbox.rights import drop_rights

EVERY_S = 0.05  # seconds between two messages about steps, and between two with figures
NICE = 3  # the user's programs take precedence, but a trainer still gets enough time for its wall-time limit


@dataclass(frozen=True)
class Spec:
    """The parameters of a trainer. See `Job` for fields that are not described here."""

    source: str  # the text of train.py
    device: str
    vocab_size: int
    seq_len: int
    seed: int
    budget_s: float
    max_steps: int | None  # of the preflight; None for a training
    scratch: str  # the only folder that it may write to
    memory_limit: int | None
    inputs: int  # descriptor of the shared tokens, int64 (B, T)
    outputs: int  # descriptor of the shared logits, float32 (B, T, V)
    clock: int  # descriptor of the shared clock
    batch: int  # most rows per question, B


class Channel:
    """The trainer's end of the socket pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._last: dict[type, float] = {}

    def say(self, message: wire.FromTrainer) -> None:
        self._end.sendall(wire.pack(message))

    def say_now_and_then(self, message: wire.Step | wire.Log) -> None:
        """Send a message, unless the last one of its type is less than EVERY_S seconds old."""
        now = time.monotonic()
        if now - self._last.get(type(message), 0.0) >= EVERY_S:
            self._last[type(message)] = now
            self.say(message)

    def listen(self) -> tuple[wire.ToTrainer, list[int]]:
        """Wait for the next message. Returns it with the descriptors that came with it.

        Raises:
            SystemExit: The scorer has closed the connection.
        """
        raw, handles = b"", []
        while len(raw) < wire.SIZE:
            piece, came, _, _ = socket.recv_fds(self._end, wire.SIZE - len(raw), 1)
            if not piece:
                raise SystemExit(0)
            raw += piece
            handles += came
        return wire.to_trainer(raw), handles

    def receive_tokens(self) -> np.ndarray:
        """Map the training tokens, uint16 (n,), from the descriptor that the scorer sends. A trainer may not open their path."""
        _, handles = self.listen()
        size = os.fstat(handles[0]).st_size
        return np.frombuffer(mmap.mmap(handles[0], size, prot=mmap.PROT_READ), dtype="<u2")


def main(end: socket.socket, spec: Spec, missing: tuple[str, ...] = (), shared_memory: bool = False) -> None:
    """Drop rights, train, and answer questions until the scorer closes the connection. Never returns.

    Ends by os._exit, so that the cleanup of the parent process does not run here too.

    Args:
        end: The trainer's end of the socket pair.
        spec: What to train.
        missing: Parts of the sandbox that are already known to be missing.
        shared_memory: Whether /dev/shm is private to the trainer, so that it may write there.
    """
    channel = Channel(end)
    code = 0
    try:
        os.nice(NICE)
        missing += drop_rights(
            write=[Path(spec.scratch), *([SHARED_MEMORY] if shared_memory else [])],
            device=spec.device,
            memory_limit=spec.memory_limit,
            forks=spec.device != "cpu",  # CPU seconds are the budget, and an ended child's can be hidden
        )
        channel.say(wire.Missing(parts=missing))
        if spec.device == "cuda" and spec.max_steps is None:
            try:
                compiler.start_workers()  # early, since they need some seconds to start
            except Exception:  # kernels can be compiled without them
                compiler.compile_in_process()
        _seed(spec.seed)
        model = _train(channel, spec)
        _answer(channel, spec, model)
    except SystemExit:
        pass
    except BaseException as error:
        code = NO_MEMORY if isinstance(error, MemoryError) else 0  # in case no message can be sent
        with contextlib.suppress(Exception):
            channel.say(describe(error, spec.source))
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _train(channel: Channel, spec: Spec) -> Any:
    started = 0.0
    clock = time.process_time if spec.device == "cpu" else time.monotonic
    reference = View(spec.clock)

    def start() -> np.ndarray:
        nonlocal started
        channel.say(wire.Start())
        if spec.max_steps is not None:  # the preflight uses random tokens
            tokens = np.random.default_rng(0).integers(0, spec.vocab_size, 65536).astype("<u2")
        else:
            tokens = channel.receive_tokens()
        started = clock()
        return tokens

    steps = 0

    def on_step(count: int, tokens: int) -> None:
        nonlocal steps
        steps = count
        channel.say_now_and_then(wire.Step(steps=count, tokens=tokens))

    def on_log(values: dict[str, float]) -> None:
        few = {str(name)[:40]: float(value) for name, value in list(values.items())[:16]}
        channel.say_now_and_then(wire.Log(step=steps, progress=run.progress, values=few))

    run = Run(
        device=torch.device(spec.device),
        vocab_size=spec.vocab_size,
        seq_len=spec.seq_len,
        seed=spec.seed,
        start=start,
        clock=lambda: reference.at(clock() - started),
        budget_s=spec.budget_s,
        on_log=on_log,
        on_step=on_step,
        max_steps=spec.max_steps,
    )
    if spec.max_steps is not None and spec.device != "cpu":
        torch.compile = uncompiled  # compiling for a preflight would take a minute or more
    module = types.ModuleType("nanochat.train")
    module.__file__ = FILENAME
    sys.modules["nanochat.train"] = module
    linecache.cache[FILENAME] = (len(spec.source), None, io.StringIO(spec.source, newline=None).readlines(), FILENAME)
    exec(compile(spec.source, FILENAME, "exec"), module.__dict__)
    train = getattr(module, "train", None)
    if not callable(train):
        raise Contract("train.py has no function train(run)")
    model = train(run)
    if not callable(model):
        raise Contract(f"train(run) returned {type(model).__name__}, not a model that can be called")
    if isinstance(model, torch.nn.Module):
        model.eval()
    if spec.device == "cuda":
        torch.cuda.synchronize()  # queued steps belong to the training
        gc.collect()
        torch.cuda.empty_cache()  # the scorer needs the memory now
    params = sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else None
    channel.say(wire.Trained(params=params, steps=run._steps, tokens=run._served))
    return model


def uncompiled(model: Any = None, **_: Any) -> Any:
    """Replace torch.compile, as a function or a decorator, without compiling."""
    return model if model is not None else uncompiled


def _answer(channel: Channel, spec: Spec, model: Any) -> None:
    """Answer questions until the scorer closes the connection.

    Raises:
        SystemExit: The scorer has closed the connection.
        BadShape: The model's output is not a tensor of logits (B, T, V).
    """
    tokens = Shared(spec.batch * spec.seq_len * 8, spec.inputs).array("<i8", (spec.batch, spec.seq_len))
    answer_bytes = spec.batch * spec.seq_len * spec.vocab_size * 4
    room = Shared(answer_bytes, spec.outputs)
    memory: lent.DeviceMemory | None = None
    while True:
        message, handles = channel.listen()
        if isinstance(message, wire.LendMemory):
            memory = _borrow(handles, answer_bytes)
            if memory is None:
                room.pin()
            channel.say(wire.MemoryTaken(lent=memory is not None))
            continue
        if isinstance(message, wire.SaveWeights | wire.LoadWeights):
            _move_weights(message, handles, spec, model)
            channel.say(wire.WeightsDone())
            continue
        if not isinstance(message, wire.Ask):
            continue
        batch = message.rows
        x = torch.from_numpy(tokens[:batch].copy()).to(spec.device)
        try:
            with torch.no_grad():
                logits = model(x)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or batch == 1:
                raise
            channel.say(wire.NoRoom())  # the scorer then asks for fewer rows
            continue
        if not isinstance(logits, torch.Tensor):
            raise BadShape(f"the model returned {type(logits).__name__}, not a tensor of logits")
        wanted = (batch, spec.seq_len, spec.vocab_size)
        if tuple(logits.shape) != wanted:
            raise BadShape(f"the model returned shape {tuple(logits.shape)} where {wanted} is due")
        if memory is not None:
            memory.tensor(wanted).copy_(logits)
            torch.cuda.synchronize()
        else:
            torch.from_numpy(room.array("<f4", wanted)).copy_(logits)
        del logits
        channel.say(wire.Answered())


def _move_weights(message: wire.SaveWeights | wire.LoadWeights, handles: list[int], spec: Spec, model: Any) -> None:
    """Save the model's weights to the scratch folder, or load them from the descriptor. Raises Contract."""
    if isinstance(message, wire.SaveWeights):
        try:
            weights.save(model, Path(spec.scratch, weights.FILE))
        except OSError as error:
            raise Contract(f"its weights cannot be written: {error.strerror}") from error
    else:
        size = os.fstat(handles[0]).st_size
        weights.load(model, np.frombuffer(mmap.mmap(handles[0], size, prot=mmap.PROT_READ), dtype=np.uint8))


def _borrow(handles: list[int], nbytes: int) -> lent.DeviceMemory | None:
    """Map the GPU memory that the scorer lends. None if there is no descriptor, or if mapping fails."""
    try:
        return lent.DeviceMemory.open(handles[0], nbytes) if handles else None
    except (lent.NotLent, RuntimeError):
        return None
    finally:
        for handle in handles:
            os.close(handle)
