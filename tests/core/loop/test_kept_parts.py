"""A kept combination has one commit for each of its changes, however often the loop is killed meanwhile."""

from __future__ import annotations

import signal
from pathlib import Path

from msgspec.structs import replace

from core.change import edits
from core.execution.deterministic import World
from core.git.refs import wanted_refs
from core.model import Proposal
from core.record.fold import fold
from core.record.state import State
from tests.core.loop.kept_parts import COMBINATION, IDEAS, PARTS, WHOLE, WORLD, again, killed_at
from tests.core.loop.night import SOURCE, Night, changed


def check(night: Night, state: State) -> None:
    """The branch has the three changes in order, and the last one has the judged tree and the scores."""
    kept = state.experiments[state.kept[-1]]
    active = night.active()
    git, start = active.repo.git, state.commits[0]
    branch = active.repo.refs.commits("night")[active.repo.refs.branch("night")]
    chain = git.run("rev-list", "--reverse", "--first-parent", f"{start}..{branch}").split()
    assert [part.commit for part in kept.parts] == chain and chain[-1] == kept.commit == state.incumbent
    assert git.run("rev-parse", f"{chain[0]}^").strip() == start == kept.parent
    assert git.run("rev-parse", f"{branch}^{{tree}}") == git.run("rev-parse", f"{kept.attempts[-1]}^{{tree}}")
    source = SOURCE
    for number, (commit, idea) in enumerate(zip(chain, IDEAS, strict=True), 1):
        edits.validate_change(source, active.source(commit))
        source = changed(source, idea)
        message = git.run("log", "-1", "--format=%B", commit)
        assert active.source(commit) == source
        assert message.startswith(f"{PARTS[number - 1].name} (part {number} of 3)\n")
        assert ("val_bpb 1." in message) == (number == 3)
    assert not active.repo.fsck() and set(chain) <= state.known
    refs = active.repo.refs.commits("night")
    assert {name: refs.get(name) for name in wanted_refs(active.repo.refs, state, "night")} == wanted_refs(
        active.repo.refs, state, "night"
    )
    active.journal.close()
    table = (night.folder / "results.tsv").read_text().splitlines()
    assert len(table) == 2 + len(state.experiments), "one row for each experiment, after the head and the baseline"


def test_a_kept_combination_has_a_commit_for_each_change(tmp_path: Path) -> None:
    night = Night(tmp_path / "n")
    state = night.run([COMBINATION], WORLD)
    check(night, state)
    check(night, fold(night.events(), State(name="night")))


def test_a_change_of_one_part_is_one_commit(tmp_path: Path) -> None:
    night = Night(tmp_path / "n")
    state = night.run([replace(COMBINATION, notes=replace(COMBINATION.notes, parts=PARTS[:1]))], WORLD)
    kept = state.experiments[1]
    assert kept.parts == () and kept.commit == state.incumbent and night.active().source(kept.commit) == WHOLE


def subject(night: Night, commit: str) -> str:
    return night.active().repo.git.run("log", "-1", "--format=%s", commit).strip()


def test_the_subject_of_a_kept_change_names_all_that_it_changes(tmp_path: Path) -> None:
    night = Night(tmp_path / "n")
    values = {name: int(value) for name, value in (idea.split(" = ") for idea in IDEAS)}
    notes = replace(COMBINATION.notes, parts=None, knobs=values, before=dict.fromkeys(values, 0))
    words = f"{', '.join(part.name for part in PARTS)}: by the 12 scores so far, these should gain 0.0123 ± 0.0040."
    state = night.run([replace(COMBINATION, hypothesis=words, notes=notes)], WORLD)
    assert subject(night, state.incumbent) == "K1 0 -> 1, K5 0 -> 2, K9 0 -> 3"
    assert f"\n\n{words}\n\nval_bpb " in night.active().repo.git.run("log", "-1", "--format=%B", state.incumbent)


def test_the_subject_of_a_kept_change_has_no_number_of_an_experiment(tmp_path: Path) -> None:
    night = Night(tmp_path / "n")
    undo = Proposal(hypothesis="Undo #7: lower K3.", source=changed(changed(SOURCE, "K3 = 1"), "K5 = 2"))
    state = night.run([undo], World(effects={"K3 = 1": -0.1}, noise=0.002))
    assert subject(night, state.incumbent) == "K3 0 -> 1, K5 0 -> 2"


def test_a_combination_on_a_new_best_is_split_there(tmp_path: Path) -> None:
    night = Night(tmp_path / "n", slots=2, seconds=0.02)
    state = night.run(["K3 = 7", COMBINATION], replace(WORLD, effects=WORLD.effects | {"K3 = 7": -0.3}))
    second = state.experiments[2]
    assert state.kept == [1, 2] and second.rebased is not None and len(second.parts) == 3
    assert night.active().source(second.parts[0].commit) == changed(changed(SOURCE, "K3 = 7"), IDEAS[0])


def test_a_loop_killed_at_any_step_of_the_verdict_keeps_it_all_the_same(tmp_path: Path) -> None:
    step, died = 0, True
    while died:
        step += 1
        night = Night(tmp_path / str(step))
        code = killed_at(night, step)
        died = code == -signal.SIGKILL
        assert died or code == 0, "it ended by an error, which it has printed"
        check(night, again(night))
    assert step > 8, "three blobs, trees and commits, an event, refs"
