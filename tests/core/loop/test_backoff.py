"""How long a machine that fails is waited for, and when a change is given up."""

from __future__ import annotations

from core.loop.backoff import BACKOFF_S, HARNESS_PATIENCE_S, HARNESS_TRIES, Backoff


def test_waits_grow_by_what_fails_until_it_succeeds() -> None:
    trouble = Backoff()
    waits = [trouble.hold("job", 100.0) for _ in range(12)]
    assert waits[:3] == [2.0, 4.0, 8.0] and waits[-1] == BACKOFF_S[1] and trouble.until == 100.0 + BACKOFF_S[1]
    assert trouble.hold("verdict", 100.0) == BACKOFF_S[0], "another thing"
    trouble.succeeded("job")
    assert trouble.hold("job", 100.0) == BACKOFF_S[0]


def test_a_change_is_given_up_only_where_others_work_or_after_long() -> None:
    trouble = Backoff()
    assert not any(trouble.given_up("a", float(at)) for at in range(10)), "nothing works: that is the machine"
    assert trouble.given_up("a", HARNESS_PATIENCE_S + 1)
    trouble = Backoff()
    assert not trouble.given_up("b", 10.0)
    trouble.job_ended(11.0)
    assert [trouble.given_up("b", 12.0) for _ in range(HARNESS_TRIES - 1)] == [False] * (HARNESS_TRIES - 2) + [True]
