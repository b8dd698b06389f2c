"""A night that keeps a combination, and that can be killed at a given step of the verdict."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from core.execution.deterministic import World
from core.git.plumbing import Git
from core.git.ref_store import RefStore
from core.model import Notes, Part, Proposal
from core.record.journal import Journal
from core.record.state import State
from core.run.active import ActiveRun
from core.run.experiments import Experiments
from tests.core.loop.night import SOURCE, Night, changed, in_a_process

IDEAS = ("K1 = 1", "K5 = 2", "K9 = 3")
WHOLE = changed(changed(changed(SOURCE, IDEAS[0]), IDEAS[1]), IDEAS[2])
PARTS = tuple(
    Part(name=f"{name} 0 -> {value}", gain=0.01, error=0.01, knobs={name: int(value)})
    for name, value in (idea.split(" = ") for idea in IDEAS)
)
COMBINATION = Proposal(hypothesis="Three at once.", source=WHOLE, notes=Notes(parts=PARTS))
WORLD = World(effects=dict.fromkeys(IDEAS, -0.1), noise=0.002)


def again(night: Night) -> State:
    """Continue a night that was killed, as the next start of the loop does."""
    state = night.clean_up()
    return night.run([] if state.experiments else [COMBINATION], WORLD)


def _kill_at(step: int) -> None:
    """Make the process kill itself before the `step`-th write of a verdict, counted from 1."""
    done = {"judging": False, "steps": 0}
    judge = Experiments.judge

    def judging(self: Experiments, judged: Any) -> None:
        done["judging"] = True
        judge(self, judged)
        done["judging"] = False

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            done["steps"] += done["judging"]
            if done["judging"] and done["steps"] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*args, **kwargs)

        return call

    for owner, name in (
        (Git, "write_blob"), (Git, "write_tree"), (Git, "write_commit"), (Journal, "append"), (RefStore, "move"),
        (ActiveRun, "publish"),
    ):  # fmt: skip
        setattr(owner, name, counted(getattr(owner, name)))
    Experiments.judge = judging  # type: ignore[method-assign]


def killed_at(night: Night, step: int) -> int:
    """Run a night in a process of its own, which kills itself at a step of the verdict. Returns its exit code."""

    def work() -> None:
        _kill_at(step)
        night.run([COMBINATION], WORLD)

    return in_a_process(work)
