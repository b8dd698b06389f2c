"""Inside the trainer: build the Run, run train.py, answer questions. Everything here may be altered by train.py; nothing
it says is believed by the scorer beyond "I failed"."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import linecache
import mmap
import os
import random
import socket
import sys
import time
import traceback
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nanochat import compiler, lent, sandbox, wire
from nanochat.clock import View
from nanochat.run import Run

FILENAME = "train.py"
EVERY_S = 0.05  # messages about steps and figures are sent at most so often
TRACEBACK_LINES = 20
NO_MEMORY = errno.ENOMEM  # its exit code where it ran out of memory
NICE = 3  # whoever works on this machine goes first, without starving what has a limit on its wall time
CRASHES = (
    "syntax",
    "import",
    "exception",
    "out-of-memory",
    "contract",
    "output shape",
)  # what it may say of its own end


@dataclass(frozen=True)
class Spec:
    """What the scorer tells the trainer before it starts."""

    source: str
    device: str
    vocab_size: int
    seq_len: int
    seed: int
    budget_s: float
    max_steps: int | None
    scratch: str
    memory_limit: int | None
    inputs: int  # handle of the shared tokens, int64 (B, T)
    outputs: int  # handle of the shared logits, float32 (B, T, V)
    clock: int  # handle of the page where the clock can be read
    batch: int


class Channel:
    """The trainer's end of the socket pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._last = {"step": 0.0, "log": 0.0}

    def say(self, kind: str, **content: Any) -> None:
        self._end.sendall(wire.pack({"say": kind, **content}))

    def now_and_then(self, kind: str, **content: Any) -> None:
        now = time.monotonic()
        if now - self._last[kind] >= EVERY_S:
            self._last[kind] = now
            self.say(kind, **content)

    def listen(self) -> tuple[dict[str, Any], list[int]]:
        """The next message, and the descriptors that came with it."""
        raw, handles = b"", []
        while len(raw) < wire.SIZE:
            piece, came, _, _ = socket.recv_fds(self._end, wire.SIZE - len(raw), 1)
            if not piece:
                raise SystemExit(0)  # the scorer is done
            raw += piece
            handles += came
        return wire.unpack(raw), handles

    def receive_tokens(self) -> np.ndarray:
        """The training tokens as a read-only map; their path is not ours to open."""
        _, handles = self.listen()
        size = os.fstat(handles[0]).st_size
        return np.frombuffer(mmap.mmap(handles[0], size, prot=mmap.PROT_READ), dtype="<u2")


def main(end: socket.socket, spec: Spec, missing: tuple[str, ...] = (), shared_memory: bool = False) -> None:
    """The trainer's whole life. Ends by os._exit, so that nothing of the parent's is cleaned up twice.

    `shared_memory`: whether /dev/shm is the trainer's own, so that it may write there.
    """
    channel = Channel(end)
    code = 0
    try:
        os.nice(NICE)
        missing += sandbox.drop_rights(
            write=[Path(spec.scratch), *([sandbox.SHARED_MEMORY] if shared_memory else [])],
            device=spec.device,
            memory_limit=spec.memory_limit,
            forks=spec.device != "cpu",  # CPU seconds are the budget, and an ended child's can be hidden
        )
        channel.say("missing", parts=list(missing))
        if spec.device == "cuda" and spec.max_steps is None:
            try:
                compiler.start_workers()  # they need seconds until they are ready, and train.py some until it compiles
            except Exception:  # it compiles without them, and no idea is to blame
                compiler.compile_in_process()
        _seed(spec.seed)
        model = _train(channel, spec)
        _answer(channel, spec, model)
    except SystemExit:
        pass
    except BaseException as error:
        code = NO_MEMORY if isinstance(error, MemoryError) else 0  # where there is none left to say so
        with contextlib.suppress(Exception):
            channel.say("crash", **describe(error, spec.source))
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
        channel.say("start")
        if spec.max_steps is not None:  # the preflight: random tokens
            tokens = np.random.default_rng(0).integers(0, spec.vocab_size, 65536).astype("<u2")
        else:
            tokens = channel.receive_tokens()
        started = clock()
        return tokens

    steps = 0

    def on_step(count: int, tokens: int) -> None:
        nonlocal steps
        steps = count
        channel.now_and_then("step", steps=count, tokens=tokens)

    def on_log(values: dict[str, float]) -> None:
        few = {str(name)[:40]: float(value) for name, value in list(values.items())[:16]}
        channel.now_and_then("log", step=steps, progress=run.progress, values=few)

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
        torch.compile = uncompiled  # a preflight finds what crashes; compiling for it takes a minute or more
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
        torch.cuda.synchronize()  # what is still queued is training
        gc.collect()
        torch.cuda.empty_cache()  # what training held is of use to the scorer now
    params = sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else None
    channel.say("trained", params=params, steps=run._steps, tokens=run._served)
    return model


def uncompiled(model: Any = None, **_: Any) -> Any:
    """Stands for torch.compile, as a function or a decorator, and compiles nothing."""
    return model if model is not None else uncompiled


def _answer(channel: Channel, spec: Spec, model: Any) -> None:
    """Tokens in, logits out, until the scorer hangs up."""
    tokens = wire.Shared(spec.batch * spec.seq_len * 8, spec.inputs).array("<i8", (spec.batch, spec.seq_len))
    answer_bytes = spec.batch * spec.seq_len * spec.vocab_size * 4
    room = wire.Shared(answer_bytes, spec.outputs)
    memory: lent.DeviceMemory | None = None
    while True:
        message, handles = channel.listen()
        if message["say"] == "memory":
            memory = _borrow(handles, answer_bytes)
            if memory is None:
                room.pin()
            channel.say("memory", lent=memory is not None)
            continue
        batch = int(message["batch"])
        x = torch.from_numpy(tokens[:batch].copy()).to(spec.device)
        try:
            with torch.no_grad():
                logits = model(x)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or batch == 1:
                raise
            channel.say("too big")  # the weights are still here: the scorer asks for less at once
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
        channel.say("answer")


def _borrow(handles: list[int], nbytes: int) -> lent.DeviceMemory | None:
    """The scorer's GPU memory behind a descriptor; None where none was lent, or it cannot be mapped here."""
    try:
        return lent.DeviceMemory.open(handles[0], nbytes) if handles else None
    except (lent.NotLent, RuntimeError):
        return None
    finally:
        for handle in handles:
            os.close(handle)


class Contract(Exception):
    """train.py does not keep the training contract."""


class BadShape(Exception):
    """The model's output has the wrong shape."""


# How running out of memory is said by the C library, by CUDA and compilers around it, by cuBLAS and cuDNN, and by the
# allocator of torch where it cannot ask the driver how full the GPU is.
OUT_OF_MEMORY = (
    "can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "outofmemoryerror", "alloc_failed",
    "bad_alloc", "nvml_success == r",
)  # fmt: skip


def out_of_memory(error: BaseException) -> bool:
    """Of the machine's memory or of a GPU's, also where another error was raised in its place."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError | torch.OutOfMemoryError) or speaks_of_memory(str(seen)):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def speaks_of_memory(text: str) -> bool:
    """Whether a message says that memory was lacking."""
    return any(words in text.lower() for words in OUT_OF_MEMORY)


def describe(error: BaseException, source: str) -> dict[str, str]:
    """Class, reason and the lines of the traceback that a human wants to see."""
    words = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {words[0] if words else ''}".rstrip(": ")
    if isinstance(error, SyntaxError):
        kind = "syntax"
    elif isinstance(error, Contract):
        kind, reason = "contract", str(error)
    elif isinstance(error, BadShape):
        kind, reason = "output shape", str(error)
    elif isinstance(error, ImportError):
        kind = "import"
    elif isinstance(error, PermissionError):
        kind, reason = "exception", f"it tried what a trainer may not do ({reason})"
    elif out_of_memory(error):
        kind, reason = "out-of-memory", f"it ran out of memory ({reason})"
    else:
        kind = "exception"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILENAME]
    lines = io.StringIO(source, newline=None).readlines()  # as Python counts them: not at a form feed
    shown = []
    for frame in frames[-6:]:
        shown.append(f"train.py:{frame.lineno} in {frame.name}")
        if frame.lineno and frame.lineno <= len(lines):
            shown.append(f"    {lines[frame.lineno - 1].strip()}")
    shown.append(f"{type(error).__name__}: {' '.join(words[:3])}")
    return {"crash": kind, "reason": reason[:300], "traceback": "\n".join(shown[-TRACEBACK_LINES:])[:1500]}
