"""A long night on three raylets while something of it is killed every ten seconds."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.record import events as ev
from core.record import journal
from core.verdicts import Verdict
from tests.cluster.test_executor import Ray
from tests.core.execution.cluster.test_executor import harnesses
from tests.product import Product, harmless, until

EXPERIMENTS, EVERY_S = 200, 10.0


@pytest.fixture
def nodes(product: Product, tmp_path: Path) -> Iterator[Ray]:
    made = Ray(product.logs / "r", tmp_path / "cache")
    made.nodes["three"] = made.add("three")
    yield made
    made.end()


class Killer:
    """Kills something of the night at each turn: an actor or a process that it has started.

    At every third turn a whole raylet ends instead, and another one joins. Ray lets only the main thread start one.
    """

    def __init__(self, nodes: Ray) -> None:
        self._nodes, self._chance = nodes, random.Random(11)
        self.killed: Counter[str] = Counter()
        self.turns = 0

    def turn(self) -> None:
        self.turns += 1
        kill = self._node if self.turns % 3 == 0 else self._process
        kill()

    def _process(self) -> None:
        found = harnesses(self._nodes.cache)
        with contextlib.suppress(psutil.Error, IndexError):
            chosen = self._chance.choice(found)
            actors = [one for one in chosen.parents() if "ray::" in " ".join(one.cmdline())]
            victim = self._chance.choice([chosen, *actors])
            victim.kill()
            self.killed["actor" if victim in actors else "process"] += 1

    def _node(self) -> None:
        name = self._chance.choice(sorted(self._nodes.nodes))
        self._nodes.cluster.remove_node(self._nodes.nodes.pop(name), allow_graceful=False)
        self.killed["node"] += 1
        joining = f"after-{self.killed['node']}"
        self._nodes.nodes[joining] = self._nodes.add(joining)


@pytest.mark.timeout(2400)
def test_nothing_is_lost_and_nothing_counts_twice(product: Product, nodes: Ray) -> None:
    product.env["AUTORESEARCH_CLUSTER"] = os.environ["AUTORESEARCH_CLUSTER"]
    agent = product.script(*(harmless(i) for i in range(EXPERIMENTS)))
    options = list(product.options())
    options[options.index("--slots") + 1] = "3"
    process = product.start(
        *options, "--executor", "ray", "--ray-address", nodes.cluster.address, "--agent", agent, "--budget", "0.3",
        "--max-experiments", str(EXPERIMENTS),
    )  # fmt: skip
    until(lambda: (product.logs / "r" / journal.NAME).exists() and product.state().judged, "a first verdict")
    killer, said = Killer(nodes), [""]
    reader = threading.Thread(target=lambda: said.append(process.communicate(timeout=2000)[0]))
    reader.start()
    while reader.is_alive():
        reader.join(EVERY_S)
        if reader.is_alive():
            killer.turn()
    assert process.returncode == 0, said
    print(dict(killer.killed))
    assert sum(killer.killed.values()) >= killer.turns * 0.7 and len(killer.killed) == 3, (killer.turns, killer.killed)
    check(product, killer.killed["process"])
    until(lambda: not harnesses(nodes.cache), "no process stays behind", within=60)


def check(product: Product, most_crashed: int) -> None:
    """What the journal and git say of a night in which things were killed: a killed trainer is a crash, as at home, and all else is not."""
    state = product.state()
    events = list(journal.read(product.logs / "r" / journal.NAME))
    assert state.judged == EXPERIMENTS
    assert state.stopped is not None and state.stopped.finished and not state.running
    for kind, key in ((ev.Launched, "job"), (ev.Measured, "job"), (ev.Judged, "number")):
        found = Counter(getattr(event, key) for event in events if isinstance(event, kind))
        assert set(found.values()) == {1}, (kind, found.most_common(3))
    launched, measured = (
        {event.job for event in events if isinstance(event, kind)} for kind in (ev.Launched, ev.Measured)
    )
    assert launched == measured, "each job has one result"
    assert all(experiment.verdict is not None for experiment in state.experiments.values())
    crashed = [e.reason for e in state.experiments.values() if e.verdict is Verdict.CRASH]
    assert len(crashed) <= most_crashed and all("was ended by SIGKILL" in reason for reason in crashed), crashed
    assert product.git("fsck", "--no-dangling") == ""
    kept = [e for e in state.experiments.values() if e.verdict is not None and e.verdict.kept]
    assert len(product.git("log", "--format=%s", "main..autoresearch/r").splitlines()) == len(kept) + 1
