"""What `doctor` says of the nodes of a cluster."""

from __future__ import annotations

from pathlib import Path

from core import doctor_cluster
from core.execution.cluster.ray_cluster import NodeLost
from core.machine import stats
from core.machine.project import UsageError, torch_build
from nanochat.sandbox.probe import probe
from tests.core.execution.cluster.nodes import InProcess, Machine


def lines(*machines: Machine) -> list[str]:
    cluster = InProcess(list(machines))
    found = [check.line for check in doctor_cluster.checks(lambda: cluster, torch_build())]
    assert cluster.closed
    assert all(len(machine.closing) == len(machine.slots) for machine in machines), "the actors are killed"
    return found


def test_each_node_is_listed_with_its_resources(tmp_path: Path) -> None:
    whole, second = lines(Machine("second", tmp_path / "cache", places=4))
    assert whole == "ok       cluster    1 node, room for 4 on processors"
    lacks = probe().missing
    assert second.startswith(f"{'note' if lacks else 'ok':<8} node       second: {stats.processor()}, ")
    assert f"torch {torch_build()}; room for 4 on processors; " in second
    assert all(words in second for words in lacks or ("sandboxed",))


def test_what_a_node_lacks_is_reported_with_the_remedy(tmp_path: Path) -> None:
    old = Machine("old", tmp_path / "old", torch="1.0.0", cards=2)
    full = Machine("full", tmp_path / "full", free=1)
    whole, first, second = lines(old, full)
    assert whole == "ok       cluster    2 nodes, room for 2 on processors, 2 on cards"
    assert first.startswith("problem  node       full: ") and first.endswith(
        "0.0 GB free for its cache. Free some space"
    )
    assert (
        second.startswith("problem  node       old: ") and "torch 1.0.0; room for 1 on processors, 2 on cards" in second
    )
    assert second.endswith(f"this machine has torch {torch_build()}. `pip install -r requirements.txt` there")


def test_nodes_of_different_kinds_are_reported(tmp_path: Path) -> None:
    whole = lines(Machine("first", tmp_path / "first"), Machine("second", tmp_path / "second", kind="another"))[0]
    assert whole.startswith("note") and "different kinds" in whole


def test_a_node_that_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    first, second = Machine("first", tmp_path / "first"), Machine("second", tmp_path / "second")
    second.spoil = lambda method, answer: b"{"
    told = lines(first, second)
    assert told[1].startswith("ok") or told[1].startswith("note")
    assert told[2].startswith("problem  node       Node second gave an answer that cannot be read")


def test_a_node_that_is_lost_while_it_is_asked_is_a_problem(tmp_path: Path) -> None:
    def lose(method: str, answer: bytes) -> bytes:
        raise NodeLost("Node second or its process has ended\n\x1b[2J.")

    first, second = Machine("first", tmp_path / "first"), Machine("second", tmp_path / "second")
    second.spoil = lose
    told = lines(first, second)
    assert (
        told[2] == "problem  node       Node second or its process has ended [2J. `ray status` shows whether it lives"
    )


def test_a_cluster_that_cannot_be_reached_is_a_problem_beside_the_other_lines() -> None:
    def connect() -> InProcess:
        raise UsageError("Nothing answers at 10.0.0.1:6379. Nothing was started.")

    (told,) = doctor_cluster.checks(connect, torch_build())
    assert told.line == "problem  cluster    Nothing answers at 10.0.0.1:6379. Nothing was started"


def test_no_node_is_a_problem() -> None:
    assert lines() == ["problem  cluster    no node has room for a training. `ray status` lists its nodes"]
