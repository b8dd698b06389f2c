"""What holds on this machine where nobody says otherwise."""

from __future__ import annotations

import pytest

from core.machine import defaults
from core.machine.defaults import scored_windows, usable_slots
from core.machine.profiles import named


def test_data_must_be_long_enough_for_the_windows_it_is_scored_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "default_profile", lambda: ("cuda", named("gpu-80")))
    assert scored_windows(8192) == (2048, 128), "as this machine scores"
    assert (scored_windows(320), scored_windows(2048), scored_windows(4096)) == ((32, 16), (256, 16), (512, 128))
    assert scored_windows(1000) == (32, 16), "no profile has it"


@pytest.mark.parametrize(
    ("wanted", "device", "cards", "slots"),
    [(2, "cuda", ["0"], 1), (2, "cuda", ["0", "1"], 2), (3, "cuda", None, 1), (2, "mps", None, 1), (4, "cpu", None, 4)],
)
def test_a_gpu_trains_one_experiment_at_a_time(wanted: int, device: str, cards: list[str] | None, slots: int) -> None:
    found, words = usable_slots(wanted, device, cards)
    assert found == slots and bool(words) == (slots < wanted)
