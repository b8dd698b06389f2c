"""What is happening this second: written by the loop, shown by `status` and by the app."""

from __future__ import annotations

from pathlib import Path

from core.judging.schedule import Work
from core.model import Role
from core.record import live
from core.record.live import Picture, Slot, Waiting
from core.record.state import State
from core.reporting import status
from core.run.live import Live
from nanochat.contract.messages import Progress
from tui.view.status import run_status


def test_what_the_agent_does_is_shown_by_status_and_app(tmp_path: Path) -> None:
    now = Live(tmp_path)
    now.write(None, proposing=True)
    for phase in ("asking ollama:a:1b", "unloading a:1b", "waiting for GPU memory"):
        now.doing(phase)
        found = live.read(tmp_path)
        assert found.phase == phase, "at once, however short it is"
        assert status.phase(State(), 1, found) == phase
        assert run_status(State(), found, True, 0.0, None).doing == phase
    now.doing("")
    assert status.phase(State(), 1, live.read(tmp_path)) == "proposing"


def test_beside_a_training_it_is_shown_too() -> None:
    slot = Slot(slot=0, number=3, role="candidate", job="j1", phase="training", progress=0.4)
    assert (
        status.phase(State(), 1, Picture(slots=(slot,), proposing=True, phase="asking x"))
        == "#3 training 40%, asking x"
    )
    assert status.phase(State(), 1, Picture(slots=(slot,), proposing=True)) == "#3 training 40%"
    assert status.phase(State(), 1, Picture()) == "between experiments"


def test_another_waiting_proposal_is_shown_at_once(tmp_path: Path) -> None:
    now = Live(tmp_path)
    for waiting in (Waiting(number=3, left_s=9.0, held=False), Waiting(number=3, left_s=9.0, held=True), None):
        now.write(waiting, proposing=False)
        assert live.read(tmp_path).waiting == waiting


def test_a_training_on_a_node_is_shown_with_its_name(tmp_path: Path) -> None:
    now, work = Live(tmp_path), Work(Role.CANDIDATE, "c", 1, 3)
    told = Progress(
        job="j1",
        phase="training",
        step=1,
        loss=None,
        progress=0.4,
        charged_s=1.0,
        tokens_per_s=None,
        wall_s=1.0,
        speed=None,
    )
    now.update(0, work, told, "second")
    assert status.phase(State(), 1, live.read(tmp_path)) == "#3 training 40% on second"
