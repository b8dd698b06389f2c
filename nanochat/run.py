"""What train.py is given: the device, a stream of batches that ends with the budget, the progress, and a log."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import torch

Batch = tuple[torch.Tensor, torch.Tensor]

WARMUP_BATCHES = 3
NEAR_END_S = 2.0
LOG_EVERY = 4  # of the figures that lie on a GPU
HOPPER = (9, 0)  # compute capability


class Run:
    """One training, seen from inside. The clock and the tokens belong to whoever made it.

    `start` is called once, when the first real batch is asked for: it starts the clock and returns the training
    tokens (1-D uint16). `clock` gives the seconds used since then. `on_step(steps, tokens)` hears the totals after
    each batch served, `on_log` every set of figures. With `max_steps` (the preflight) the number of batches served
    decides the progress and the end, and the clock can only end it earlier.
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
        self.seq_len = seq_len  # the scoring length; training may use another
        self.seed = seed  # already applied
        self._start = start
        self._clock = clock
        self._budget_s = budget_s
        self._on_log = on_log
        self._on_step = on_step
        self._max_steps = max_steps
        self._tokens: np.ndarray | None = None  # None until the clock has started
        self._ended = False
        self._steps = 0
        self._served = 0
        self._logs = 0
        use_flash_attention_3(device)
        # Streams of their own: a warm-up does not change which training batches follow it.
        training, warmup = np.random.SeedSequence(seed).spawn(2)
        self._random = np.random.default_rng(training)
        self._warmup_random = np.random.default_rng(warmup)

    @property
    def progress(self) -> float:
        """The fraction of the budget that is spent, in [0, 1]; 0 before the first batch."""
        if self._tokens is None:
            return 0.0
        if self._max_steps is not None:
            return min(1.0, self._steps / self._max_steps)
        return min(1.0, max(0.0, self._clock() / self._budget_s))

    def batches(self, batch_size: int, seq_len: int) -> Iterator[Batch]:
        """Yield (x, y), each int64 (batch_size, seq_len) on the device; y is x shifted by one. Ends with the budget.

        The windows tile the training tokens from a random offset, in random order, anew in every epoch. Raises
        ValueError for sizes that are not positive integers, or a seq_len that the training data cannot fill.
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
        """Starts of windows of seq_len + 1 tokens, for ever."""
        while True:
            offset = int(self._random.integers(seq_len))
            count = (length - 1 - offset) // seq_len
            yield from self._random.permutation(count) * seq_len + offset

    def _over(self) -> bool:
        """Once over, over for every iterator, whatever the clock says later."""
        if not self._ended:
            out_of_steps = self._max_steps is not None and self._steps >= self._max_steps
            self._ended = out_of_steps or self._used() >= self._budget_s
        return self._ended

    def _used(self) -> float:
        """Seconds used. A GPU lags some steps behind what it was told; near the end it is waited for, so that the last step
        ends in time."""
        used = self._clock()
        if self.device.type == "cuda" and used > self._budget_s - NEAR_END_S:
            torch.cuda.synchronize()
            used = self._clock()
        return used

    def warmup_batches(self, batch_size: int, seq_len: int) -> Iterator[Batch]:
        """Yield three batches of uniformly random tokens, shaped like real ones: for compilation, before the clock.

        They are not counted as steps. Once real batches have been served there is nothing to warm up: none come.
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
        """Report live figures. Numbers or tensors of one element; not-a-number is passed on as it is.

        To read a tensor is to wait until the GPU has computed it. So of the calls with tensors on a GPU only every fourth,
        the first among them, is passed on; the others return at once.
        """
        values = {"loss": loss, **scalars}
        if any(isinstance(value, torch.Tensor) and value.device.type != "cpu" for value in values.values()):
            self._logs += 1
            if self._logs % LOG_EVERY != 1:
                return
        self._on_log({name: float(value) for name, value in values.items()})


def use_flash_attention_3(device: torch.device) -> bool:
    """Put Flash Attention 3 in the place of PyTorch's flash attention, for this process; return whether it is there.

    Needs a Hopper GPU and the optional package that provides `flash_attn_interface`; train.py need not know of it.
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
    except Exception:  # a package that does not fit this PyTorch: training goes on without it
        with contextlib.suppress(Exception):
            from torch.nn.attention import restore_flash_attention_impl

            restore_flash_attention_impl()
        return False


def _check_sizes(batch_size: int, seq_len: int) -> None:
    for name, value in (("batch_size", batch_size), ("seq_len", seq_len)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}.")
