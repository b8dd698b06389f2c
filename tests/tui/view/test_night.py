"""What the picture of the night has room for."""

from __future__ import annotations

from tui.view.night import Night, val_bpb_range

SIGMA = 0.03


def test_what_the_noise_explains_is_no_edge() -> None:
    bottom, top = val_bpb_range(
        Night(scored=((1, 2.30), (2, 2.33)), kept=(), failed=(), stairs=((0, 2.299), (2, 2.299)), sigma=SIGMA)
    )
    assert bottom < 2.299 and top > 2.33, "a score one sigma worse has a place of its own"


def test_a_staircase_that_rises_by_a_humans_verdict_is_whole() -> None:
    bottom, top = val_bpb_range(
        Night(scored=(), kept=((5, 2.5),), failed=(), stairs=((0, 2.3), (5, 2.5), (9, 2.5)), sigma=SIGMA)
    )
    assert bottom < 2.3 and top > 2.5


def test_one_hopeless_score_does_not_flatten_the_rest() -> None:
    _, top = val_bpb_range(
        Night(scored=((1, 9.0),), kept=((2, 2.2),), failed=(3,), stairs=((0, 2.3), (2, 2.2)), sigma=SIGMA)
    )
    assert 2.3 < top < 3.0
