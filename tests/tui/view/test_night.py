"""What the picture of the night has room for."""

from __future__ import annotations

from msgspec import structs

from core.model import Role
from core.record import events as ev
from core.record.fold import apply
from core.verdicts import Verdict
from tests.core.judging.test_gain import judged, night, proposed, scored
from tui.view.experiments import table_row
from tui.view.night import Night, night_picture, val_bpb_range

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


def test_a_retry_that_has_not_begun_has_no_score_of_its_own() -> None:
    first = (proposed(1, "start"), scored("candidate", "c1", 1, 1.49, 1), judged(1, Verdict.INTERRUPTED, -0.01))
    again = structs.replace(proposed(2, "start"), commit="c1", retry_of=1)
    state = night(*first, again, ev.Stopped(reason="stop requested"))
    picture = night_picture(state, None)
    assert [number for number, _ in picture.scored] == [1], "one measurement, one dot"
    row = table_row(state, state.experiments[2], alive=False)
    assert row.verdict == "was queued" and row.val_bpb is None and not row.tokens_per_s and not row.memory
    begun = ev.Launched(job="j", role=Role.CANDIDATE, commit="c1", seed=2, slot=0, number=2)
    apply(state, begun)
    assert [number for number, _ in night_picture(state, None).scored] == [1, 2]
