"""What a trainer is told: the limits of program.md, its share of the machine, and what depends on its role."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from core.charter import Charter
from core.judging.final_check import LONGER
from core.judging.schedule import Work
from core.machine.limits import RAM_SHARE
from core.machine.profiles import named
from core.model import Role
from core.record import events as ev
from core.record.fold import fold
from core.record.state import State
from core.run.jobs import job
from nanochat.contract.job import Job, Outcome, Result
from tests.core.run.test_active import CONFIG

RAM = 10_000_000_000
LIMITED = Charter(max_params=1000, max_memory_gb=2.0)


def told(role: Role, charter: Charter, *, slots: int = 1, device: str = "cpu", begun: bool = True) -> Job:
    config = replace(CONFIG, slots=slots, device=device)
    baseline = Result(job="j000001", outcome=Outcome.SCORED, val_bpb=1.5, score_s=2.0)
    events: list[ev.AnyEvent] = [
        ev.Created(v=ev.SCHEMA, config=config),
        ev.StartCommit(commit="c", source_hash="", nodes=1, knobs={}, parent="p"),
    ]
    if begun:
        events.append(ev.Measured(role=Role.BASELINE, commit="c", seed=1, result=baseline))
    state: State = fold(events)
    out = Path("/run/00001/j000002")
    return job(state, named("tiny"), charter, Work(role, "c", 1), "j000002", out, RAM)


@pytest.mark.parametrize("role", Role)
def test_the_limits_of_program_md_bind_what_may_be_kept(role: Role) -> None:
    found, share = told(role, LIMITED), int(RAM * RAM_SHARE)
    bound = role in (Role.CANDIDATE, Role.REPLICATE)
    assert found.max_params == (1000 if bound else None)
    assert found.memory_limit == (2_000_000_000 if bound else share)


def test_the_first_baseline_is_bound_too() -> None:
    found = told(Role.BASELINE, LIMITED, begun=False)
    assert (found.max_params, found.memory_limit) == (1000, 2_000_000_000)


@pytest.mark.parametrize("slots", [1, 4])
def test_without_a_limit_a_trainer_gets_the_share_of_its_slot(slots: int) -> None:
    """So it cannot use up the memory of the machine."""
    assert told(Role.CANDIDATE, Charter(), slots=slots).memory_limit == int(RAM * RAM_SHARE / slots)
    assert told(Role.CANDIDATE, Charter(max_memory_gb=100.0), slots=slots).memory_limit == int(RAM * RAM_SHARE / slots)


def test_on_a_gpu_the_limit_of_program_md_is_about_the_memory_of_the_gpu() -> None:
    assert told(Role.CANDIDATE, LIMITED, device="cuda").memory_limit == int(RAM * RAM_SHARE)


@pytest.mark.parametrize("role", Role)
def test_only_checks_are_scored_on_the_test_split_and_only_the_longer_one_is_longer(role: Role) -> None:
    found = told(role, Charter())
    assert found.split == ("test" if role in (Role.FINAL, Role.LONGER) else "val")
    assert found.budget_s == CONFIG.budget_s * (LONGER if role is Role.LONGER else 1.0)
    assert found.scoring_s is not None and told(role, Charter(), begun=False).scoring_s is None
