"""Nights on a cluster of nodes whose scores differ, and of nodes whose scores do not: the real loop, places and nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.execution.cluster import places
from core.execution.deterministic import Ending, World
from core.judging import final_check, schedule
from core.loop import backoff
from core.loop.loop import Loop
from core.model import Role
from core.record import events as ev
from core.record.fold import apply, fold
from core.record.state import State
from core.reporting import log_lines
from tests.core.execution.cluster.nodes import Machine, executors
from tests.core.loop.night import Meanwhile, Night
from tests.core.loop.test_nights import until

EFFECTS = {"K1 = 1": -0.06, "K5 = 1": -0.06, "K9 = 1": -0.06}
IDEAS = [f"K{k} = {value}" for value in (1, 2) for k in range(1, 13) if value == 1 or f"K{k} = 1" not in EFFECTS]


class OnNode(World, frozen=True, kw_only=True):
    """The table of a node, whose noise is its own."""

    name: str

    def __call__(self, source: str, seed: int) -> float | Ending:
        return super().__call__(f"{source}# {self.name}", seed)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LOOK_S", 0.01)
    monkeypatch.setattr(backoff, "BACKOFF_S", (0.01, 0.05))


def machine(root: Path, name: str, offset: float = 0.0, seconds: float = 0.01) -> Machine:
    world = OnNode(name=name, val_bpb=1.5 + offset, effects=EFFECTS, seeds=0.01, noise=0.002, seconds=seconds)
    return Machine(name, root / f"cache-{name}", computed=world)


def night_on(root: Path, *machines: Machine, meanwhile: Meanwhile | None = None) -> tuple[Night, State]:
    """A night on these machines, with as many slots, to its end."""
    night = Night(root / "run", slots=len(machines), final_seeds=2)
    night.active().journal.close()  # makes the folder
    slots, _ = executors(night.folder, *machines, slots=len(machines))
    return night, night.run(IDEAS, lambda source, seed: 1.5, executors=slots, meanwhile=meanwhile)


def kept(state: State) -> list[str]:
    return [IDEAS[number - 1] for number in state.kept]


def gains_are_true(state: State) -> bool:
    """Whether each measured gain is that of the table, within the noise."""
    return all(
        experiment.gain == pytest.approx(-EFFECTS.get(IDEAS[experiment.number - 1], 0.0), abs=0.015)
        for experiment in state.experiments.values()
    )


def logged(night: Night) -> list[str]:
    state, lines = State(), list[str]()
    for event in night.events():
        apply(state, event)
        lines.append(log_lines.line(event, state) or "")
    return lines


def for_pairs(night: Night) -> list[ev.Launched]:
    """The trainings of the best that were wanted on a certain node."""
    return [
        event
        for event in night.events()
        if isinstance(event, ev.Launched) and event.role is Role.INCUMBENT and event.nodes
    ]


@pytest.mark.parametrize("offset", [0.1, -0.1, 0.03])
def test_on_two_unequal_nodes_only_true_improvements_are_kept(tmp_path: Path, offset: float) -> None:
    night, state = night_on(tmp_path, machine(tmp_path, "first"), machine(tmp_path, "second", offset))
    assert state.nodes == ["first", "second"] and sorted(kept(state)) == sorted(EFFECTS)
    assert gains_are_true(state) and state.groups.get("second", "second") == "second"
    told = [line for line in logged(night) if "pairs stay on one of them" in line]
    if abs(offset) > 0.05:
        assert len(told) == 1 and f"bpb {'higher' if offset > 0 else 'lower'} than first" in told[0]
    check = final_check.outcome(state, schedule.noise(state).sigma)
    assert check is not None and check.seeds == 2 and check.change == pytest.approx(sum(EFFECTS.values()), abs=0.015)
    again = fold(night.events())
    assert (again.groups, again.kept, again.on_nodes) == (state.groups, state.kept, state.on_nodes)


def test_equal_nodes_are_one_group_after_one_training(tmp_path: Path) -> None:
    night, state = night_on(tmp_path, machine(tmp_path, "first"), machine(tmp_path, "second"))
    assert sorted(kept(state)) == sorted(EFFECTS) and state.groups == {"second": "first"}
    events = list(night.events())
    ends = {event.job: place for place, event in enumerate(events) if isinstance(event, ev.Measured)}
    grouped = next(place for place, event in enumerate(events) if isinstance(event, ev.Grouped))
    extra = [event for event in for_pairs(night) if event.nodes == ("second",) and event.commit == state.commits[0]]
    compared = [event for event in extra if ends[event.job] == grouped - 1]
    assert len(compared) == 1, "the first training that both nodes have made"
    # Beside it, the change on the other slot may need the start on that node too.
    assert len(extra) <= 2 and all(events.index(event) < grouped for event in extra)
    assert not any("pairs stay" in line for line in logged(night))


def test_a_node_that_joins_later_is_compared_when_it_is_used(tmp_path: Path) -> None:
    late = machine(tmp_path, "second", 0.1)
    late.alive = False

    async def join(loop: Loop) -> None:
        await until(lambda: loop.active.state.kept)
        late.alive = True

    _, state = night_on(tmp_path, machine(tmp_path, "first"), late, meanwhile=join)
    assert state.nodes == ["first", "second"] and sorted(kept(state)) == sorted(EFFECTS)
    assert state.groups == {"second": "second"}


def test_a_pair_whose_node_has_left_is_made_on_another_one(tmp_path: Path) -> None:
    leaving = machine(tmp_path, "second", -0.1, seconds=0.5)

    async def leave(loop: Loop) -> None:
        state = loop.active.state
        # Before all are kept, the change may be merged into a newer best instead.
        await until(
            lambda: (
                len(state.kept) == len(EFFECTS)
                and any(launched.nodes == ("second",) for launched in state.running.values())
            )
        )
        leaving.alive = False

    night, state = night_on(tmp_path, machine(tmp_path, "first"), leaving, meanwhile=leave)
    assert sorted(kept(state)) == sorted(EFFECTS) and not state.open and not state.running
    assert state.gone == {"second"} and gains_are_true(state)
    again = [
        event
        for event in night.events()
        if isinstance(event, ev.Launched) and event.role is Role.REPLICATE and event.nodes
    ]
    assert [event.nodes for event in again] == [("first",)], "the candidate that was trained on the second node"
