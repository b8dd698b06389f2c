"""The simulated nights of benchmarks/: their worlds, their arms, and what is compared."""

from __future__ import annotations

import contextlib
import copy
import math
import random
import statistics
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.agents.base import AgentFailed, Context, PastExperiment
from core.change import knobs
from core.model import Notes, Proposal
from core.verdicts import Verdict
from tests.benchmark import benchmark

ROOT = Path(__file__).resolve().parent.parent


def test_a_simulated_night_counts_each_training_and_knows_the_truth() -> None:
    searches, worlds = benchmark("search_worlds"), benchmark("worlds")
    source = (ROOT / "nanochat" / "train.py").read_text()
    world = worlds.World(worlds.Kind(interaction=0.0), source, 1)
    assert world.gain(source) == 0.0
    for name, effect in world._edits.items():
        assert world.gain(source, frozenset((name,))) == pytest.approx(effect), "whatever text it leaves in train.py"
    moved = knobs.set_knobs(source, {"MATRIX_LR": 0.034})
    best, curve = world._best["MATRIX_LR"], world._curve["MATRIX_LR"]
    assert world.gain(moved) == pytest.approx(curve * (2 * best - 1)), "one step on the parabola"
    night = searches.run("search", searches.KINDS["rough"], source, 1, 6)
    assert len(night.curve) == 6 and night.left == 0 and len(night.past) >= 1
    assert all((one.gain is None) == one.verdict.failed and (one.seeds or one.gain is None) for one in night.past)
    steep = worlds.World(worlds.Kind(cliffs=1.0), source, 1)
    far = knobs.set_knobs(source, {"MATRIX_LR": 0.02 * 1.7 ** math.copysign(2, steep._cliff["MATRIX_LR"])})
    assert steep.gain(far) is None, "beyond its cliff the training diverges"


def test_a_simulated_night_goes_on_with_and_without_ablations() -> None:
    found = benchmark("ablation")
    source = (ROOT / "nanochat" / "train.py").read_text()
    both, alone, before, after, made, dropped = found.outcomes(found.KINDS["large"], source, 1, 40)
    assert min(both, alone) >= min(before, after) and 0 <= dropped <= made


def test_a_change_that_hurts_is_dropped_by_a_simulated_ablation() -> None:
    found = benchmark("ablation")
    source = (ROOT / "nanochat" / "train.py").read_text()
    night = found.Night(found.World(found.Kind(), source, 1), source, 1, 60)
    worse = min(
        (found.removal.knobs.set_knobs(source, {"MATRIX_LR": value}) for value in (0.006, 0.06)), key=night.world.gain
    )
    night.incumbent = night._known(worse, frozenset())
    night._measure(night.incumbent, night.order[0])
    assert found.take_out(night, found.Change(source, worse, frozenset())) and night.sources[night.incumbent] == source


# -- recorded.py ------------------------------------------------------------------------------------------------------


def test_the_distribution_of_true_effects_is_narrower_than_what_was_measured() -> None:
    """True effects of -3 in one half and 1 in the other, measured with errors of 1.4."""
    recorded, dice = benchmark("recorded"), random.Random(1)
    truths = [-3.0 if index % 2 else 1.0 for index in range(400)]
    measured = [truth + dice.gauss(0, 1.4) for truth in truths]
    found = recorded.deconvolved(measured, [1.4] * len(measured))
    assert found.mean == pytest.approx(statistics.fmean(measured), abs=0.1)
    assert found.sd == pytest.approx(2.0, abs=0.15) and statistics.stdev(measured) > 2.3
    assert found.above(3) < 0.03 < sum(one > 3 for one in measured) / len(measured)
    drawn = [found.draw(dice) for _ in range(4000)]
    assert statistics.stdev(drawn) == pytest.approx(found.sd, abs=0.1)
    exact = recorded.deconvolved([-2.0, 5.0], [0.05, 0.05])
    assert exact.mean == pytest.approx(1.5, abs=0.1) and exact.sd == pytest.approx(3.5, abs=0.1)


def test_what_changes_lose_beside_others_beyond_their_errors_is_their_interaction() -> None:
    recorded, dice = benchmark("recorded"), random.Random(1)
    gains = []
    for number in range(500):
        base = dice.gauss(-1, 3)
        for beside in ((), ("a",), ("a", "b")):
            gain = base + sum(dice.gauss(0, 2.0) for _ in beside) + dice.gauss(0, 1.0)
            gains.append(recorded.Gain(f"c{number}", "", gain, 1.0, frozenset(beside)))
    pairs = [one for one in gains if len(one.beside) < 2]
    assert recorded.interaction(pairs) == pytest.approx(2.0, rel=0.1)
    alone = [one for one in gains if not one.beside]
    assert recorded.interaction(alone) == 0.0
    once = recorded.single(gains)
    assert len(once) == 500 and once[0].error == pytest.approx(3**-0.5)


def test_recorded_effects_are_those_of_the_nights_and_of_the_edits_in_the_unit_of_one_score() -> None:
    recorded = benchmark("recorded")
    gains = list(recorded.measured())
    by = {(one.change, one.beside): one for one in gains}
    shift = next(one for one in gains if one.change == "key-shift")
    assert (
        shift.beside == {"two-back"} and shift.gain * 0.0028 == pytest.approx(0.0324, rel=0.03) and shift.error == 1.0
    )
    wide = [one for one in gains if one.change == "WIDTH 128 -> 64"]
    assert [one.knob for one in wide] == ["WIDTH"] * 2, "HEAD_DIM only follows"
    assert any(one.knob == "TOTAL_BATCH" and one.error < 0.5 for one in gains), "measured on twelve seeds"
    assert len(by) > 50 and not any(one.change.startswith("ADAM_BETA2") for one in gains), "a quarter of a step"
    found = recorded.recorded()
    several = recorded.single([one for one in gains if not one.knob])
    assert found.ideas.mean == pytest.approx(statistics.fmean(one.gain for one in several), abs=0.3)
    assert found.ideas.sd < statistics.pstdev(one.gain for one in several)


def test_knobs_of_a_recorded_world_have_two_recorded_steps() -> None:
    worlds, source = benchmark("worlds"), (ROOT / "nanochat" / "train.py").read_text()
    found = benchmark("recorded").recorded()
    one, other = (worlds.World(worlds.KINDS["recorded"], source, seed) for seed in (1, 2))
    again = worlds.World(worlds.KINDS["recorded"], source, 1)
    assert one._edits == again._edits != other._edits and one._curve == again._curve != other._curve
    impact = worlds.TARGET.impacts["MATRIX_LR"]
    for world in (one, other):
        best, curve = world._best["MATRIX_LR"], world._curve["MATRIX_LR"] / impact
        steps = [curve * (2 * best - 1), curve * (-2 * best - 1)]
        assert all(min(abs(step - value) for value in found.steps.values) < 1e-6 for step in steps)
        assert abs(best) <= worlds.FARTHEST and curve > 0 and curve * best**2 <= found.most
    tangled = worlds.World(worlds.KINDS["tangled"], source, 1)
    names = len(tangled._edits) + len(tangled._start)
    assert len(tangled._pairs) == names * (names - 1) / 2 and tangled._edits == one._edits


# -- search_worlds.py: ratios -----------------------------------------------------------------------------------------


def test_the_ratio_of_two_arms_has_an_error_over_the_worlds() -> None:
    searches = benchmark("search_worlds")
    assert searches.ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == (2.0, 0.0), "the same in each world"
    found, error = searches.ratio([3.0, 3.0, 3.0, 3.0], [2.0, 1.0, 2.0, 1.0])
    assert found == 2.0 and error == pytest.approx(2 * statistics.stdev([2, 1, 2, 1]) / 2 / 1.5)
    assert math.isnan(searches.ratio([3.0, 3.0], [1.0, -0.9])[0]), "a gain that is not clearly above 0"


def test_nights_in_a_file_are_not_simulated_again(tmp_path: Path) -> None:
    searches, records = benchmark("search_worlds"), benchmark("simulated_record")
    source, path = (ROOT / "nanochat" / "train.py").read_text(), tmp_path / "nights.jsonl"
    first = searches.simulated(records.Record(path), "plain", "random", source, 1, 8)
    with path.open("a") as file:
        file.write('{"kind":"pl')  # cut short
    again = records.Record(path)
    assert again.rows == [first] and searches.simulated(again, "plain", "random", source, 1, 6) == first
    assert searches.simulated(again, "plain", "random", source, 2, 6) != first
    assert [one.seed for one in records.Record(path).rows] == [1, 2]
    nights = {("plain", "search"): [first], ("plain", "random"): [first]}
    assert searches.ratios(nights, [6])[0].split() == ["plain", "random", "-"], "one world has no error"


# -- plateau.py -------------------------------------------------------------------------------------------------------


def test_the_rest_of_a_night_without_branches_is_the_same_night() -> None:
    found = benchmark("plateau")
    source = (ROOT / "nanochat" / "train.py").read_text()
    night = found.Night(found.World(found.KINDS["recorded"], source, 1), source, 1, 26)
    agent = found.Search()
    while night.left > 12:
        night.try_out(agent.propose_now(night.context()))
    alone, never = copy.deepcopy(night), found.Branching(copy.deepcopy(night), streak=10**6)
    with contextlib.suppress(StopIteration, AgentFailed):
        while True:
            alone.try_out(agent.propose_now(alone.context()))
    never.run()
    assert never.night.curve == alone.curve and len(alone.curve) == 25 and never.counts["branches"] == 0
    assert [one.fingerprint for one in never.night.past] == [one.fingerprint for one in alone.past]
    assert len(alone.past) > len(night.past)


def test_with_branches_a_night_goes_on_from_its_streak_with_as_many_trainings() -> None:
    found = benchmark("plateau")
    source = (ROOT / "nanochat" / "train.py").read_text()
    alone, soon, late = found.simulate("tangled", source, 1, 40, [3, 1000])
    assert late.curve == alone.curve and late.counts["left"] == 0, "no such streak"
    before = 40 - soon.counts["left"]
    assert soon.curve[:before] == alone.curve[:before] and len(soon.curve) == len(alone.curve) == 40
    assert soon.counts["plateaus"] >= 1 and soon.counts["merges"] <= soon.counts["wins"]
    assert found.arm(3) == soon.arm
    cells = found.report([alone, soon, late], "tangled", [3, 1000], 40)[1].split()
    assert cells[:4] == ["tangled", "1000", "1", "0"] and "+0.00" in cells


class Scripted:
    """An agent that proposes these values of constants, each time the next one."""

    def __init__(self, *values: dict[str, float]) -> None:
        self._left = list(values)

    def propose_now(self, context: Context) -> Proposal:
        if not self._left:
            raise AgentFailed("nothing is left")
        values = self._left.pop(0)
        return Proposal(hypothesis="h", source=knobs.set_knobs(context.source, values), notes=Notes(knobs=values))


A, B, OTHER = {"EMBED_LR": 0.34}, {"UNEMBED_LR": 0.0068}, {"MATRIX_LR": 0.034}  # a step up each


@pytest.fixture
def stuck() -> Any:
    """A night in a world where A and B gain only together. It has kept OTHER; A was a near miss on the start."""
    found, source = benchmark("plateau"), (ROOT / "nanochat" / "train.py").read_text()
    world = found.World(found.KINDS["plain"], source, 1)
    world._curve, world._pairs = dict.fromkeys(world._curve, 0.0), [("EMBED_LR", "UNEMBED_LR", 15.0)]
    night = found.Night(world, source, 1, 60)
    start = night.incumbent
    night.incumbent = night._known(knobs.set_knobs(source, OTHER), frozenset())
    near = night._known(knobs.set_knobs(source, A), frozenset())
    for number, (version, verdict) in enumerate(((near, Verdict.DISCARD), (night.incumbent, Verdict.KEEP)), 1):
        for seed in night.order[:2]:
            night._measure(version, seed)
        night.past.append(
            PastExperiment(
                number=number, parent=start, fingerprint=version, proposal=Proposal(hypothesis="h"), verdict=verdict,
                gain=2 * found.SIGMA, seeds=tuple(night.order[:2]),
            )
        )  # fmt: skip
    return found, night, start, near


def test_branches_begin_with_near_misses_and_with_what_was_the_best_earlier(stuck: Any) -> None:
    found, night, start, near = stuck
    assert found.line_of(night) == [night.incumbent, start] and found.lost(night) == 0
    assert found.sources(night, set()) == [(start, near), (start, start)]
    assert found.sources(night, {near}) == [(start, start)]
    night.past[0] = msgspec.structs.replace(night.past[0], gain=0.5 * found.SIGMA)
    assert found.sources(night, set()) == [(start, start)], "a weak one"


def test_what_wins_in_a_branch_is_put_on_the_best(stuck: Any) -> None:
    found, night, start, near = stuck
    best, rest = night.incumbent, found.Branching(night, 1, agent=Scripted({"SCALAR_LR": 0.085}, B))
    rest._plateau()
    assert rest.counts == {"plateaus": 1, "branches": 1, "wins": 1, "merges": 1}
    moved = knobs.moved(night.sources[start], night.sources[night.incumbent])
    assert {name: after for name, (_, after) in moved.items()} == {**A, **B, **OTHER}
    assert night.past[-1].parent == best and night.past[-2].parent == near and night.truth(night.incumbent) == 15.0


def test_a_branch_ends_after_so_many_losses_and_the_night_goes_on_with_the_best(stuck: Any) -> None:
    found, night, _start, near = stuck
    losing = [{"SCALAR_LR": 0.05 + 0.001 * number} for number in range(1, 2 * found.LENGTH + 1)]
    best, rest = night.incumbent, found.Branching(night, 1, agent=Scripted(*losing))
    rest._plateau()
    assert rest.counts == {"plateaus": 1, "branches": 2, "wins": 0, "merges": 0} and night.incumbent == best
    assert sum(one.parent == near for one in night.past) == found.LENGTH
    assert found.lost(night, rest._since) == 0, "the streak begins anew"


def test_a_branch_repeats_nothing_that_was_kept_since_it_left(stuck: Any) -> None:
    found, night, start, near = stuck
    rest = found.Branching(night, 1, agent=Scripted(OTHER, {**OTHER, **B}, {"MATRIX_LR": 0.012}, B))
    moved = [knobs.moved(night.sources[tip], rest._propose(start, tip).source) for tip in (start, near)]
    assert [list(one) for one in moved] == [["MATRIX_LR"], ["UNEMBED_LR"]], "the other direction is new"
    rest.agent = Scripted(*[OTHER] * found.ASKED)
    with pytest.raises(AgentFailed, match="only what the best has"):
        rest._propose(start, start)
    rest.agent = Scripted(OTHER)
    assert rest._propose(night.incumbent, near).source is not None, "nothing was kept since"


# -- search_slots.py ----------------------------------------------------------------------------------------------------

FAR, CLOSE, SAME = (
    {"ROPE_BASE": 17000.0},
    B,
    {"EMBED_LR": 0.5},
)  # a line far from that of A, one beside it, and the same one


def slots_night(slots: int, *values: dict[str, float]) -> Any:
    """A night in a world where each of A, FAR and CLOSE gains 20 standard deviations."""
    found, worlds = benchmark("simulated_slots"), benchmark("worlds")
    source = (ROOT / "nanochat" / "train.py").read_text()
    world = worlds.World(worlds.KINDS["plain"], source, 1)
    gains = dict.fromkeys((*A, *FAR, *CLOSE), 20.0)
    world._curve, world._best = dict.fromkeys(world._curve, 0.0) | gains, dict.fromkeys(world._best, 1.0)
    world._pairs = []
    night = found.SlotsNight(world, source, 1, 30, slots)
    night._agent = Scripted(*values)
    night.run()
    return night


def test_with_two_slots_a_change_of_the_old_best_is_merged_into_the_new_one_and_measured_again() -> None:
    night = slots_night(2, A, FAR)
    assert night.best == pytest.approx(40.0) and night.counts == {"experiments": 2, "rebased": 1, "conflicts": 0}
    assert len(night.keeps) == 2 and not night.mistakes
    moved = knobs.moved(night._sources["start"], night._sources[night.state.incumbent])
    assert {name: after for name, (_, after) in moved.items()} == {**A, **FAR}
    measured = [one.measured for one in night.state.experiments.values()]
    assert sum(measured) < len(night.curve), "the best was measured too, and one change twice as often"


def test_a_constant_on_the_line_beside_is_merged_by_name() -> None:
    night = slots_night(2, A, CLOSE)
    assert night.best == pytest.approx(40.0) and night.counts == {"experiments": 2, "rebased": 1, "conflicts": 0}


def test_a_change_that_does_not_fit_the_new_best_is_a_conflict() -> None:
    night = slots_night(2, A, SAME)
    assert night.counts == {"experiments": 2, "rebased": 0, "conflicts": 1} and len(night.keeps) == 1
    assert [one.verdict for one in night.state.experiments.values()].count(Verdict.CONFLICT) == 1


@pytest.mark.parametrize("slots", [1, 4])
def test_a_night_with_slots_has_its_trainings_and_proposes_before_it_knows(slots: int) -> None:
    searches, records = benchmark("search_slots"), benchmark("simulated_record")
    source = (ROOT / "nanochat" / "train.py").read_text()
    one = searches.simulated(records.Record(None), "rough", slots, source, 1, 8)
    again = searches.simulated(records.Record(None), "rough", slots, source, 1, 8)
    assert one.curve == again.curve and len(one.curve) == 8 and one.arm.startswith(f"{slots} slot")
    night = searches.SlotsNight(searches.World(searches.KINDS["rough"], source, 1), source, 1, 8, slots)
    night.run()
    assert night.state.ended == 9 and not night.state.running and len(night.state.experiments) <= 9
    first = night.state.experiments[1].proposed.t
    early = [one for one in night.state.experiments.values() if one.proposed.t == first]
    assert len(early) == slots + 1, "one for each slot, and one that waits"
    assert night.time < 1 + 8 / slots * 1.3 + 1


def test_the_gain_of_several_slots_is_compared_with_that_of_one() -> None:
    searches, records = benchmark("search_slots"), benchmark("simulated_record")

    def row(kind: str, slots: int, seed: int, gain: float) -> Any:
        return records.Row(
            kind=kind, arm=searches.arm(slots), seed=seed, trainings=2, curve=(gain / 2, gain), keeps=(1,), mistakes=(), seconds=1.0,
            counts=dict.fromkeys(searches.COUNTED, 3),
        )  # fmt: skip

    nights = {
        (kind, slots): [row(kind, slots, seed, (4.0 + seed) * share) for seed in (1, 2, 3)]
        for kind in ("plain", "rough")
        for slots, share in ((1, 1.0), (4, 0.9))
    }
    found = [text.split() for text in searches.ratios(nights, [1, 2])]
    assert [words[:2] for words in found] == [["plain", "4"], ["rough", "4"], ["all", "4"]]
    assert all(words[2:] == ["0.90", "±", "0.00", "0.90", "±", "0.00"] for words in found)
    assert searches.line("plain", 4, nights["plain", 4], [2]).split()[:5] == ["plain", "4", "5.40", "1.0", "0.00"]
