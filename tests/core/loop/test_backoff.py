"""How long a machine that fails is waited for, and when a change is given up."""

from __future__ import annotations

from core.loop.backoff import BACKOFF_S, HARNESS_GIVEN_UP_S, HARNESS_TRIES, Backoff


def test_waits_grow_by_what_fails_until_it_succeeds() -> None:
    backoff = Backoff()
    waits = [backoff.failed("job", 100.0) for _ in range(12)]
    assert waits[:3] == [2.0, 4.0, 8.0] and waits[-1] == BACKOFF_S[1] and backoff.until == 100.0 + BACKOFF_S[1]
    assert backoff.failed("verdict", 100.0) == BACKOFF_S[0], "another thing"
    backoff.succeeded("job")
    assert backoff.failed("job", 100.0) == BACKOFF_S[0]


def test_a_change_is_given_up_only_where_others_work_or_after_long() -> None:
    backoff = Backoff()
    assert not any(backoff.is_hopeless("a", float(at)) for at in range(10)), "nothing works: that is the machine"
    assert backoff.is_hopeless("a", HARNESS_GIVEN_UP_S + 1)
    backoff = Backoff()
    assert not backoff.is_hopeless("b", 10.0)
    backoff.job_finished(11.0)
    assert [backoff.is_hopeless("b", 12.0) for _ in range(HARNESS_TRIES - 1)] == [False] * (HARNESS_TRIES - 2) + [True]
