"""The `run` argument of `train(run)`: the device, batches of training data, the progress, and a log."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import torch

Batch = tuple[torch.Tensor, torch.Tensor]

WARMUP_BATCHES = 3
NEAR_END_S = 2.0
LOG_EVERY = 4  # every fourth call of `log` with GPU tensors is reported
HOPPER = (9, 0)  # compute capability


class Run:
    """One training, as train.py sees it.

    train.py uses `device`, `vocab_size`, `seq_len`, `seed`, `progress`, `batches`, `warmup_batches` and `log`.

    Args:
        device: Where to train. Batches are on this device.
        vocab_size: Number of tokens; token ids are in [0, vocab_size).
        seq_len: Length of the scored windows. Training may use another length.
        seed: Seed of this training. The caller has already applied it to the random generators.
        start: Called once, when the first batch is requested. Starts the clock and returns the training tokens, uint16 (n,).
        clock: Returns the seconds used since `start`.
        budget_s: Seconds of training, in the unit of `clock`.
        on_log: Called with each set of figures that `log` reports.
        on_step: Called with the total steps and tokens before each batch is returned.
        max_steps: End after this many batches (for the preflight), or earlier when the budget is spent. The progress is then
            the fraction of the steps. 0 builds the model without training it. None: no limit.
    """

    def __init__(
        self,
        *,
        device: torch.device,
        vocab_size: int,
        seq_len: int,
        seed: int,
        start: Callable[[], np.ndarray],
        clock: Callable[[], float],
        budget_s: float,
        on_log: Callable[[dict[str, float]], None],
        on_step: Callable[[int, int], None],
        max_steps: int | None = None,
    ) -> None:
        self.device = device
        self.vocab_size = vocab_size
        self.seq_len = seq_len
        self.seed = seed
        self._start = start
        self._clock = clock
        self._budget_s = budget_s
        self._on_log = on_log
        self._on_step = on_step
        self._max_steps = max_steps
        self._tokens: np.ndarray | None = None  # None until the clock starts
        self._ended = False
        self._steps = 0
        self._served = 0
        self._logs = 0
        use_flash_attention_3(device)
        # Separate generators, so that a warm-up does not change the training batches.
        training, warmup = np.random.SeedSequence(seed).spawn(2)
        self._random = np.random.default_rng(training)
        self._warmup_random = np.random.default_rng(warmup)

    @property
    def progress(self) -> float:
        """Fraction of the budget that is spent, in [0, 1]; 0 before the first batch."""
        if self._tokens is None:
            return 0.0
        if self._max_steps is not None:
            return min(1.0, self._steps / max(1, self._max_steps))
        return min(1.0, max(0.0, self._clock() / self._budget_s))

    def batches(self, batch_size: int, seq_len: int) -> Iterator[Batch]:
        """Yield batches of training data until the budget is spent.

        Each epoch covers the training tokens once with adjacent windows, in random order and from a random offset.

        Args:
            batch_size: Windows per batch.
            seq_len: Tokens per window.

        Yields:
            Pairs (x, y) of int64 tensors (batch_size, seq_len) on the device. y is x shifted by one token.

        Raises:
            ValueError: A size is not a positive integer, or there are too few training tokens for `seq_len`.
        """
        _check_sizes(batch_size, seq_len)
        return self._serve(batch_size, seq_len)

    def _serve(self, batch_size: int, seq_len: int) -> Iterator[Batch]:
        if self._tokens is None:
            self._tokens = self._start()
        tokens = self._tokens
        if len(tokens) < 2 * seq_len + 1:
            raise ValueError(
                f"The training data has {len(tokens)} tokens: too few for windows of {seq_len}. Use a smaller seq_len."
            )
        order = self._epochs(len(tokens), seq_len)
        span = np.arange(seq_len + 1)  # (T+1,)
        while not self._over():
            starts = np.fromiter(order, dtype=np.int64, count=batch_size)  # (B,)
            rows = tokens[starts[:, None] + span].astype(np.int64)  # (B, T+1)
            self._steps += 1
            self._served += batch_size * seq_len
            self._on_step(self._steps, self._served)
            yield self._to_device(rows)

    def _epochs(self, length: int, seq_len: int) -> Iterator[int]:
        """Yield the starts of windows of seq_len + 1 tokens, without end."""
        while True:
            offset = int(self._random.integers(seq_len))
            count = (length - 1 - offset) // seq_len
            yield from self._random.permutation(count) * seq_len + offset

    def _over(self) -> bool:
        """Return whether the training has ended. Once it has, it has ended for every iterator."""
        if not self._ended:
            out_of_steps = self._max_steps is not None and self._steps >= self._max_steps
            self._ended = out_of_steps or self._used() >= self._budget_s
        return self._ended

    def _used(self) -> float:
        """Return the seconds used.

        A GPU executes steps later than they are queued. Near the end this waits for the GPU, so that the last step ends in time.
        """
        used = self._clock()
        if self.device.type == "cuda" and used > self._budget_s - NEAR_END_S:
            torch.cuda.synchronize()
            used = self._clock()
        return used

    def warmup_batches(self, batch_size: int, seq_len: int) -> Iterator[Batch]:
        """Yield three batches of uniformly random tokens, for compilation before the clock starts.

        They do not count as steps. Yields nothing after the first batch of `batches`.

        Args:
            batch_size: Windows per batch.
            seq_len: Tokens per window.

        Yields:
            Pairs (x, y) with the shapes and types of those of `batches`.

        Raises:
            ValueError: A size is not a positive integer.
        """
        _check_sizes(batch_size, seq_len)
        for _ in range(WARMUP_BATCHES):
            if self._tokens is not None:
                return
            yield self._to_device(self._warmup_random.integers(self.vocab_size, size=(batch_size, seq_len + 1)))

    def _to_device(self, rows: np.ndarray) -> Batch:
        """Split rows (B, T+1) into inputs and targets (B, T) on the device."""
        both = torch.from_numpy(rows)
        if self.device.type == "cuda":
            both = both.pin_memory().to(self.device, non_blocking=True)
        elif self.device.type != "cpu":
            both = both.to(self.device)
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()

    def log(self, loss: float | torch.Tensor, **scalars: float | torch.Tensor) -> None:
        """Report figures for the live display and the training curve.

        Reading a GPU tensor waits until the GPU has computed it. So only the first and then every fourth call with GPU tensors
        is reported; the others return at once.

        Args:
            loss: The training loss: a number or a tensor of one element. It may be NaN.
            scalars: Further figures by name.
        """
        values = {"loss": loss, **scalars}
        if any(isinstance(value, torch.Tensor) and value.device.type != "cpu" for value in values.values()):
            self._logs += 1
            if self._logs % LOG_EVERY != 1:
                return
        self._on_log({name: float(value) for name, value in values.items()})


def use_flash_attention_3(device: torch.device) -> bool:
    """Replace PyTorch's flash attention by Flash Attention 3 in this process, and return whether that worked.

    Needs a Hopper GPU and the optional package that provides `flash_attn_interface`. train.py needs no change.
    """
    if device.type != "cuda" or importlib.util.find_spec("flash_attn_interface") is None:
        return False
    if torch.cuda.get_device_capability(device) != HOPPER:
        return False
    try:
        from torch.nn.attention import activate_flash_attention_impl

        activate_flash_attention_impl("FA3")
        q = torch.zeros(1, 16, 1, 64, device=device, dtype=torch.bfloat16)
        torch.ops.aten._flash_attention_forward(q, q, q, None, None, 16, 16, 0.0, True, False)
        return True
    except Exception:  # the package does not fit this PyTorch: train without it
        with contextlib.suppress(Exception):
            from torch.nn.attention import restore_flash_attention_impl

            restore_flash_attention_impl()
        return False


def _check_sizes(batch_size: int, seq_len: int) -> None:
    for name, value in (("batch_size", batch_size), ("seq_len", seq_len)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}.")
