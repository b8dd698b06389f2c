"""What train.py may rely on: batches that end with the budget, a progress, a log."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from nanochat.run import WARMUP_BATCHES, Run, use_flash_attention_3

TOKENS = np.arange(1000, dtype=np.uint16)  # each token says where it stands


@dataclass
class Watch:
    """The other side of a Run: a clock that moves by hand, and what was reported."""

    seconds: float = 0.0
    starts: int = 0
    steps: list[tuple[int, int]] = field(default_factory=list)
    logged: list[dict[str, float]] = field(default_factory=list)

    def start(self) -> np.ndarray:
        self.starts += 1
        return TOKENS

    def run(self, *, seed: int = 0, budget_s: float = 10.0, max_steps: int | None = None) -> Run:
        return Run(
            device=torch.device("cpu"),
            vocab_size=64,
            seq_len=16,
            seed=seed,
            start=self.start,
            clock=lambda: self.seconds,
            budget_s=budget_s,
            on_log=self.logged.append,
            on_step=lambda steps, tokens: self.steps.append((steps, tokens)),
            max_steps=max_steps,
        )


@pytest.mark.parametrize(("batch_size", "seq_len"), [(1, 1), (4, 16), (8, 128)])
def test_batches_are_pairs_shifted_by_one(batch_size: int, seq_len: int) -> None:
    x, y = next(Watch().run().batches(batch_size, seq_len))
    assert x.shape == y.shape == (batch_size, seq_len)
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(y, x + 1)  # TOKENS counts up by one
    assert torch.equal(x - x[:, :1], torch.arange(seq_len).expand(batch_size, -1))


def test_nothing_is_served_or_started_before_the_first_batch_is_asked_for() -> None:
    watch = Watch(seconds=5.0)  # a clock that already shows something
    run = watch.run()
    batches = run.batches(4, 16)
    assert (watch.starts, run.progress) == (0, 0.0)
    next(batches)
    next(batches)
    next(run.batches(2, 8))
    assert watch.starts == 1
    assert run.progress == 0.5


def test_the_budget_ends_every_iterator_for_good() -> None:
    watch = Watch()
    run = watch.run(budget_s=10.0)
    first, second = run.batches(4, 16), run.batches(4, 16)
    assert next(first) and next(second)
    watch.seconds = 10.0
    assert next(first, None) is None
    watch.seconds = 1.0  # a clock put back revives nothing
    assert next(first, None) is None
    assert next(second, None) is None
    assert list(run.batches(4, 16)) == []


def test_a_budget_without_time_serves_nothing() -> None:
    watch = Watch(seconds=10.0)
    assert list(watch.run(budget_s=10.0).batches(4, 16)) == []


def test_max_steps_ends_the_preflight_and_drives_its_progress() -> None:
    watch = Watch()
    run = watch.run(max_steps=2)
    seen = [run.progress for _ in run.batches(4, 16)]
    assert seen == [0.5, 1.0]
    assert list(run.batches(4, 16)) == []


def test_progress_stays_within_zero_and_one() -> None:
    watch = Watch()
    run = watch.run(budget_s=10.0)
    next(run.batches(4, 16))
    readings = []
    for watch.seconds in (-1.0, 0.0, 2.5, 10.0, 99.0):
        readings.append(run.progress)
    assert readings == [0.0, 0.0, 0.25, 1.0, 1.0]


def test_each_batch_is_counted() -> None:
    watch = Watch()
    list(islice(watch.run().batches(4, 16), 3))
    assert watch.steps == [(1, 64), (2, 128), (3, 192)]


def test_one_seed_gives_the_same_batches_whatever_the_warm_up_took() -> None:
    def starts(seed: int, warmups: int = 0) -> list[int]:
        run = Watch().run(seed=seed)
        list(islice(run.warmup_batches(4, 16), warmups))
        return [int(token) for x, _ in islice(run.batches(4, 16), 5) for token in x[:, 0]]

    assert starts(1) == starts(1) == starts(1, warmups=2)
    assert starts(1) != starts(2)


def test_an_epoch_shows_every_window_once() -> None:
    windows = (len(TOKENS) - 1) // 16 - 1  # the offset may cost one
    firsts = [int(x[0, 0]) for x, _ in islice(Watch().run().batches(1, 16), windows)]
    assert len(set(firsts)) == windows
    assert len({first % 16 for first in firsts}) == 1


def test_windows_reach_the_last_token_and_never_beyond() -> None:
    highest = max(int(y.max()) for _, y in islice(Watch().run().batches(8, 16), 200))
    assert highest == TOKENS[-1]


def test_warmup_batches_are_few_random_and_not_counted() -> None:
    watch = Watch()
    run = watch.run()
    served = list(run.warmup_batches(4, 16))
    assert len(served) == WARMUP_BATCHES <= 3
    for x, y in served:
        assert x.shape == y.shape == (4, 16)
        assert torch.equal(x[:, 1:], y[:, :-1])
        assert int(x.min()) >= 0 and int(y.max()) < run.vocab_size
    assert (watch.starts, watch.steps) == (0, [])


def test_the_warm_up_ends_once_training_has_begun() -> None:
    run = Watch().run()
    next(run.batches(4, 16))
    assert list(run.warmup_batches(4, 16)) == []


@pytest.mark.parametrize(("batch_size", "seq_len"), [(0, 16), (4, 0), (-1, 16), (4.0, 16)])
def test_impossible_sizes_are_named(batch_size: int, seq_len: int) -> None:
    with pytest.raises(ValueError, match="must be a positive integer"):
        Watch().run().batches(batch_size, seq_len)


def test_a_window_longer_than_the_data_is_named() -> None:
    with pytest.raises(ValueError, match="too few for windows of 1000"):
        next(Watch().run().batches(1, 1000))


def test_log_takes_tensors_and_passes_nonsense_on() -> None:
    watch = Watch()
    run = watch.run()
    run.log(loss=torch.tensor(2.5), lr_scale=1)
    run.log(loss=math.nan)
    assert watch.logged[0] == {"loss": 2.5, "lr_scale": 1.0}
    assert math.isnan(watch.logged[1]["loss"])


class OnGPU(torch.Tensor):
    """A figure that says it lies on a GPU, and counts how often it is waited for."""

    device = torch.device("cuda:0")  # type: ignore[assignment]
    read: ClassVar[list[float]] = []

    def __float__(self) -> float:
        OnGPU.read.append(self.as_subclass(torch.Tensor).item())
        return OnGPU.read[-1]


def test_of_the_figures_on_a_gpu_the_log_waits_for_every_fourth() -> None:
    OnGPU.read.clear()
    watch = Watch()
    run = watch.run()
    for step in range(9):
        run.log(loss=torch.tensor(float(step)).as_subclass(OnGPU), lr_scale=0.5)
    assert [figures["loss"] for figures in watch.logged] == OnGPU.read == [0.0, 4.0, 8.0]
    run.log(loss=1.5)
    assert watch.logged[-1] == {"loss": 1.5}, "a number is at hand"


def test_flash_attention_3_is_for_hopper_cards_with_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "flash_attn_interface.py").write_text("")
    cuda = torch.device("cuda")
    assert not use_flash_attention_3(cuda), "no package"
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    assert not use_flash_attention_3(cuda) and not use_flash_attention_3(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert not use_flash_attention_3(cuda), "a package without its kernels changes nothing"
    assert torch.nn.attention.current_flash_attention_impl() is None
