"""Train the same model in this process without sandbox, scorer or messages, as an upper limit for the harness' speed.

Started by benchmarks/gpu.py: python benchmarks/plain_loop.py TRAIN DATA --device cuda --seconds 8 --rows 32 --seq-len 2048
It measures train.py on batches that are already on the device, a plain PyTorch loop (forward, backward, fused AdamW) over the
resulting model, and how answers to the same question differ. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nanochat.data.prepared import Prepared, load, val_windows
from nanochat.run import Batch, Run

POOL = 8  # batches on the device, which are used in turn
WARM_STEPS = 3
Model = Callable[[Tensor], Tensor]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_bytes(device: torch.device) -> int:
    """Return the peak bytes of tensors since the last call; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return peak


def compiles(device: torch.device) -> bool:
    """Return whether the loop is compiled, by the same rule as in train.py."""
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


class ResidentRun(Run):
    """A `Run` with batches that are on the device before its clock starts. It reports nothing."""

    def __init__(self, prepared: Prepared, device: torch.device, seconds: float, seq_len: int) -> None:
        self.seconds = seconds
        self.started: float | None = None
        self.elapsed = 0.0  # seconds of training until the device has finished
        self.tokens = 0
        self.loss: float | Tensor = float("nan")
        self.pool: list[Batch] = []
        super().__init__(
            device=device, vocab_size=prepared.vocab_size, seq_len=seq_len, seed=1, start=lambda: prepared.tokens("train"),
            clock=self._since_start, budget_s=seconds, on_log=lambda values: None, on_step=lambda steps, tokens: None,
        )  # fmt: skip

    def _since_start(self) -> float:
        return 0.0 if self.started is None else time.perf_counter() - self.started

    def batches(self, batch_size: int, seq_len: int) -> Iterator[Batch]:
        """Yield batches from the pool until the seconds are over."""
        source = super().batches(batch_size, seq_len)
        self.pool = [next(source) for _ in range(POOL)]
        synchronize(self.device)
        self.started = time.perf_counter()
        step = 0
        while self._since_start() < self.seconds:
            self.tokens += batch_size * seq_len
            yield self.pool[step % POOL]
            step += 1
        synchronize(self.device)
        self.elapsed = self._since_start()

    def log(self, loss: float | Tensor, **scalars: float | Tensor) -> None:
        """Keep the loss without waiting for the device."""
        self.loss = loss


def load_module(path: Path) -> ModuleType:
    """Import train.py from its file, so that a compiler finds the source."""
    spec = importlib.util.spec_from_file_location("measured_train", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_alone(module: ModuleType, run: ResidentRun) -> tuple[torch.nn.Module, dict[str, float]]:
    """Call `train(run)`. Returns the model and the figures: seconds, tokens/s, bytes."""
    torch.manual_seed(run.seed)
    began = time.perf_counter()
    model = module.train(run)
    assert run.started is not None
    figures = {
        "setup_s": run.started - began,
        "tokens_per_s": run.tokens / run.elapsed,
        "loss": float(run.loss),
        "peak_memory": peak_bytes(run.device),
    }
    return model, figures


def plain_loop(model: torch.nn.Module, pool: list[Batch], passes: int, seconds: float) -> dict[str, float]:
    """Train with a fused AdamW on batches on the device, without schedule, logging or waiting.

    Args:
        model: The model.
        pool: Batches on the device.
        passes: Forward passes per optimizer step.
        seconds: How long to train.

    Returns:
        Seconds of set-up, tokens/s, and peak bytes.
    """
    device = pool[0][0].device
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=device.type == "cuda")

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    step_loss: Any = torch.compile(loss_of, dynamic=False) if compiles(device) else loss_of
    model.train()

    def step(number: int) -> None:
        for index in range(passes):
            x, y = pool[(number * passes + index) % len(pool)]
            (step_loss(x, y) / passes).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    began = time.perf_counter()
    for number in range(WARM_STEPS):
        step(number)
    synchronize(device)
    started = time.perf_counter()
    steps = 0
    while time.perf_counter() - started < seconds:
        step(steps)
        steps += 1
    synchronize(device)
    elapsed = time.perf_counter() - started
    tokens = steps * passes * pool[0][0].numel()
    return {"setup_s": started - began, "tokens_per_s": tokens / elapsed, "peak_memory": peak_bytes(device)}


# -- answers ----------------------------------------------------------------------------------------------------------


def nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (B, T) of targets (B, T) by logits (B, T, V), row by row, in float32."""
    rows = [F.cross_entropy(a.float(), b, reduction="none") for a, b in zip(logits, targets, strict=True)]
    return torch.stack(rows)


def question(prepared: Prepared, rows: int, seq_len: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return two sets of rows of the validation split, each int64 (rows, T). Fewer rows if there is too little text."""
    windows = val_windows(prepared.tokens("val"), seq_len, 2 * rows * seq_len)[:, :-1].astype(np.int64)
    rows = min(rows, len(windows) // 2)
    both = torch.from_numpy(windows[: 2 * rows]).to(device)
    return both[:rows], both[rows:]


@torch.no_grad()
def differences(model: Model, x: Tensor, other: Tensor) -> dict[str, dict[str, float]]:
    """Measure how answers to the rows x (B, T) differ when asked again, in another order, or together with other text.

    Returns:
        By kind of question: `logits`, the largest difference of a logit; `nats`, the largest difference of the loss at one position;
        and `mean_nats`, the difference of the mean loss, which could change a score.
    """
    rows, length = x.shape
    half = length // 2
    base = model(x)
    targets = torch.roll(x, -1, 1)
    reference = nats(base, targets)
    found: dict[str, dict[str, float]] = {}

    def compare(name: str, logits: Tensor, which: Tensor, upto: int = length) -> None:
        pairs = zip(logits, which.tolist(), strict=True)
        largest = max(float((row[:upto] - base[index][:upto]).abs().max()) for row, index in pairs)
        moved = (nats(logits, targets[which]) - reference[which])[:, :upto]
        found[name] = {"logits": largest, "nats": float(moved.abs().max()), "mean_nats": float(moved.mean())}

    everything = torch.arange(rows, device=x.device)
    compare("the same question again", model(x), everything)
    order = torch.randperm(rows, device=x.device)
    compare("rows in another order", model(x[order]), order)
    compare("another text behind it", model(torch.cat((x[:, :half], other[:, half:]), 1)), everything, half)
    if rows > 1:
        kept = rows // 2
        compare("in other company", model(torch.cat((other[kept:], x[:kept])))[rows - kept :], everything[:kept])
    return found


def answers(model: Model, prepared: Prepared, rows: int, seq_len: int, device: torch.device) -> dict[str, Any]:
    """Return the differences of answers for at most `rows` rows, and a lower limit for the evaluation's seconds per token."""
    x, other = question(prepared, rows, seq_len, device)
    while True:
        try:
            found = differences(model, x, other)
            break
        except torch.OutOfMemoryError:
            if len(x) == 1:
                raise
            x, other = x[: len(x) // 2], other[: len(x) // 2]
    targets = torch.roll(x, -1, 1)
    with torch.no_grad():
        nats(model(x), targets)
        synchronize(device)
        began = time.perf_counter()
        for _ in range(WARM_STEPS):
            nats(model(x), targets)
        synchronize(device)
    spent = (time.perf_counter() - began) / WARM_STEPS
    return {"rows": len(x), "differences": found, "token_s": spent / x.numel()}


# -- the program ------------------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    prepared = load(options.data)
    run = ResidentRun(prepared, device, options.seconds, options.seq_len)
    module = load_module(options.train)
    model, alone = train_alone(module, run)
    model.eval()
    found = answers(model, prepared, options.rows, options.seq_len, device)
    peak_bytes(device)  # reset, so that the answers do not count for the loop
    passes = max(1, module.TOTAL_BATCH // (module.BATCH_SIZE * module.SEQ_LEN))
    plain: dict[str, float] | str
    try:
        plain = plain_loop(model, run.pool, passes, options.seconds)
    except torch.OutOfMemoryError as error:
        plain = f"it ran out of memory ({str(error).splitlines()[0][:120]})"
    return {"compiled": compiles(device), "train_alone": alone, "plain_loop": plain, "answers": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("train", type=Path, help="a train.py")
    parser.add_argument("data", type=Path, help="a folder of prepared data")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each of the two loops")
    parser.add_argument("--rows", type=int, default=8, help="rows of one question to the model")
    parser.add_argument("--seq-len", type=int, default=256, help="length of the scoring windows")
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # only the figures go to stdout
        figures = measure(options)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
