"""Trainings on nodes: files that travel once, results as at home, aborts, nodes that are lost. The transport is that of a test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
import pytest

from core.errors import UserError
from core.execution import registry
from core.execution.base import DataUnusable, ExecutorFailed, MachineLost, Placed
from core.execution.cluster import ray_cluster
from core.execution.cluster.code import packed
from core.execution.cluster.executor import RayExecutor
from core.execution.cluster.files import plain
from core.execution.cluster.messages import News, Question, Setup, Training, decode, encode
from core.execution.cluster.node import NodeSlot
from core.execution.deterministic import DeterministicExecutor, World
from core.record.live import Load
from nanochat.contract.job import Job, Outcome
from nanochat.contract.messages import Progress, Started
from tests.core.execution.cluster.nodes import Machine, executors, job, run_folder
from tests.product import ROOT

Told = Started | Progress | Placed | Load


@pytest.fixture
def run(tmp_path: Path, tiny_data: Path) -> Path:
    return run_folder(tmp_path / "run", tiny_data)


class Make(Protocol):
    def __call__(self, name: str = "a", **more: object) -> Machine: ...


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes machines. At the end of the test all that was killed on them has ended."""
    made: list[Machine] = []

    def make(name: str = "a", **more: object) -> Machine:
        made.append(Machine(name, tmp_path / f"cache-{name}", **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    await asyncio.gather(*(task for one in made for task in one.closing))


async def until(messages: list[Told], phase: str) -> None:
    async with asyncio.timeout(200):
        while not any(isinstance(told, Progress) and told.phase == phase for told in messages):  # noqa: ASYNC110  a plain callback fills it
            await asyncio.sleep(0.02)


def ignore(told: Told) -> None:
    pass


def harnesses(cache: Path) -> list[psutil.Process]:
    """The living processes that work in the cache folder of a node."""
    found = []
    for process in psutil.process_iter(["cwd", "status"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(cache) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


async def test_a_job_on_a_node_gives_what_it_gives_at_home(run: Path, machine: Make) -> None:
    node = machine()
    (executor,), cluster = executors(run, node)
    seen: list[Told] = []
    first = await executor.run(job(run, "j1"), seen.append)
    assert first.outcome is Outcome.SCORED and first.job == "j1" and first.val_bpb
    assert isinstance(seen[0], Placed) and seen[0].kind
    assert seen[0] == Placed("j1", "a", (), seen[0].kind)
    assert {type(told) for told in seen} == {Placed, Started, Progress, Load}
    assert all(told.memory_total == psutil.virtual_memory().total for told in seen if isinstance(told, Load))
    assert all(told.pids == () for told in seen if isinstance(told, Started))
    out = run / "00001" / "j1"
    assert sorted(path.name for path in out.iterdir()) == ["metrics.jsonl", "nats.npy", "train.py"]
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["loss"] > 0
    assert np.load(out / "nats.npy").dtype == np.float32
    sent = node.put
    again = await executor.run(job(run, "j2", reference=str(out / "nats.npy")), ignore)
    assert again.outcome is Outcome.SCORED and not (run / "00001" / "j2" / "nats.npy").exists()
    assert node.put == sent + 1  # the reference; harness and data are there
    await executor.close()
    assert cluster.closed and not harnesses(node.cache) and not list((node.cache / "work").glob("*/job"))


async def test_both_slots_of_a_node_share_its_files_and_its_reference(run: Path, machine: Make) -> None:
    node = machine(places=2)
    slots, _ = executors(run, node, slots=2)
    jobs = [job(run, name, reference_s=123.0) for name in ("a", "b")]
    results = [await slot.run(one, ignore) for slot, one in zip(slots, jobs, strict=True)]
    speeds = [result.speed for result in results]
    assert all(result.outcome is Outcome.SCORED for result in results), results
    assert speeds[0] is not None and speeds[1] is not None
    assert speeds[0].reference_s == speeds[1].reference_s < 1.0  # not that of another machine
    assert len(list((node.cache / "files").iterdir())) == len(set(frozen(run).values())) <= node.put
    await asyncio.gather(*(slot.close() for slot in slots))


def frozen(run: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((run / "frozen.json").read_text())
    return found


async def test_what_a_node_has_is_verified_and_sent_again_if_it_was_altered(run: Path, machine: Make) -> None:
    node = machine()
    (executor,), _ = executors(run, node)
    assert (await executor.run(job(run, "j1"), ignore)).outcome is Outcome.SCORED
    copy = next((node.cache / "trees").glob("*/harness/nanochat/harness/scorer.py"))
    text = copy.read_text()
    copy.chmod(0o644)
    copy.write_text(text + "\n# altered\n")
    with pytest.raises(ExecutorFailed, match=r"scorer\.py was altered.* run again"):
        await executor.run(job(run, "j2"), ignore)
    assert (await executor.run(job(run, "j3"), ignore)).outcome is Outcome.SCORED
    assert next((node.cache / "trees").glob("*/harness/nanochat/harness/scorer.py")).read_text() == text
    await executor.close()


async def test_the_training_is_seen_while_it_runs_and_an_abort_ends_it(run: Path, machine: Make) -> None:
    node = machine()
    (executor,), _ = executors(run, node)
    seen: list[Told] = []
    running = asyncio.create_task(executor.run(job(run, "long", 60.0), seen.append))
    await until(seen, "training")
    metrics = run / "00001" / "long" / "metrics.jsonl"
    async with asyncio.timeout(60):
        while not metrics.exists():  # noqa: ASYNC110  another process writes it
            await asyncio.sleep(0.02)
    async with asyncio.timeout(20):
        await executor.abort()
        assert (await running).outcome is Outcome.INTERRUPTED
    assert (await executor.run(job(run, "next"), ignore)).outcome is Outcome.SCORED
    await executor.close()
    assert not harnesses(node.cache)


async def test_a_cancelled_job_leaves_nothing_running(run: Path, machine: Make) -> None:
    node = machine()
    (executor,), _ = executors(run, node)
    seen: list[Told] = []
    running = asyncio.create_task(executor.run(job(run, "long", 60.0), seen.append))
    await until(seen, "training")
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await executor.abort()
    await executor.close()
    async with asyncio.timeout(60):
        while harnesses(node.cache):  # noqa: ASYNC110  processes of another parent
            await asyncio.sleep(0.05)


# -- which node ---------------------------------------------------------------------------------------------------------

QUICK, ENDLESS = World(), World(seconds=600.0)


def computed(run: Path, name: str) -> Job:
    return job(run, name, gauge=False)


async def test_a_lost_node_is_a_sentence_and_the_next_job_runs_elsewhere(run: Path, machine: Make) -> None:
    first, second = machine("a", computed=ENDLESS), machine("b", computed=QUICK)
    (executor,), _ = executors(run, first, second)
    seen: list[Told] = []
    running = asyncio.create_task(executor.run(computed(run, "lost"), seen.append))
    await until(seen, "training")
    first.alive = False
    with pytest.raises(MachineLost, match=r"Node a .* ended\. The experiment is run again"):
        await running
    seen.clear()
    assert (await executor.run(computed(run, "next"), seen.append)).outcome is Outcome.SCORED
    assert isinstance(seen[0], Placed) and seen[0].node == "b"
    await executor.close()


async def test_an_idle_place_that_is_gone_costs_no_job(run: Path, machine: Make) -> None:
    first, second = machine("a", computed=QUICK), machine("b", computed=QUICK)
    (executor,), _ = executors(run, first, second)
    await executor.run(computed(run, "one"), ignore)
    first.alive = False
    seen: list[Told] = []
    assert (await executor.run(computed(run, "two"), seen.append)).outcome is Outcome.SCORED
    assert isinstance(seen[0], Placed) and seen[0].node == "b"
    await executor.close()


async def test_with_fewer_places_than_slots_jobs_take_turns(run: Path, machine: Make) -> None:
    node = machine(computed=World(seconds=0.5))
    slots, _ = executors(run, node, slots=2)
    seen: list[Told] = []
    jobs = [computed(run, name) for name in ("a", "b")]
    results = await asyncio.gather(*(slot.run(one, seen.append) for slot, one in zip(slots, jobs, strict=True)))
    assert [result.outcome for result in results] == [Outcome.SCORED, Outcome.SCORED] and len(node.slots) == 1
    notes = [words for told in seen if isinstance(told, Placed) for words in told.notes]
    assert notes == ["The Ray cluster has room for 1 of 2 parallel trainings. The others wait for their turn."]
    await asyncio.gather(*(slot.close() for slot in slots))


@pytest.mark.parametrize(
    ("unlike", "words"),
    [({"kind": "Z80"}, "has Z80, and this run's trainings use"), ({"torch": "1.0"}, "has torch 1.0, and this machine")],
)
async def test_nodes_whose_scores_could_not_be_compared_are_left_out(
    run: Path, machine: Make, unlike: dict[str, str], words: str
) -> None:
    usual = machine("a", computed=World(seconds=0.5))
    slots, _ = executors(run, usual, machine("b", computed=QUICK, **unlike), slots=2)
    seen: list[Told] = []
    await slots[0].run(computed(run, "first"), ignore)
    jobs = [computed(run, name) for name in ("a", "b")]
    await asyncio.gather(*(slot.run(one, seen.append) for slot, one in zip(slots, jobs, strict=True)))
    placed = [told for told in seen if isinstance(told, Placed)]
    assert [told.node for told in placed] == ["a", "a"] and len(usual.slots) == 1
    assert any(words in note and "not used" in note for told in placed for note in told.notes)
    await asyncio.gather(*(slot.close() for slot in slots))


async def test_an_abort_while_a_job_waits_for_a_place_ends_it(run: Path, machine: Make) -> None:
    slots, _ = executors(run, machine(computed=ENDLESS), slots=2)
    seen: list[Told] = []
    first = asyncio.create_task(slots[0].run(computed(run, "first"), seen.append))
    await until(seen, "training")
    second = asyncio.create_task(slots[1].run(computed(run, "second"), ignore))
    await asyncio.sleep(0)
    await slots[1].abort()
    assert (await second).outcome is Outcome.INTERRUPTED and not first.done()
    await slots[0].abort()
    assert (await first).outcome is Outcome.INTERRUPTED
    await asyncio.gather(*(slot.close() for slot in slots))


async def test_without_a_node_a_job_says_so(run: Path, machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.execution.cluster.places.NO_PLACE_S", 0.5)
    (executor,), _ = executors(run, machine(alive=False))
    with pytest.raises(ExecutorFailed, match=r"No node of the Ray cluster .* is left\. `ray status`") as raised:
        await executor.run(job(run, "a"), ignore)
    assert not isinstance(raised.value, MachineLost)  # the loop must wait
    await executor.close()


async def test_data_that_cannot_be_scored_ends_the_run(run: Path, machine: Make) -> None:
    listed = frozen(run)
    del listed["data/val.bin"]  # a node then has no such file
    (run / "frozen.json").write_text(json.dumps(listed))
    (executor,), _ = executors(run, machine())
    with pytest.raises(DataUnusable, match=r"val\.bin is missing.* on node a"):
        await executor.run(job(run, "a"), ignore)
    await executor.close()


async def test_a_node_ends_a_job_that_nobody_asks_about(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network to the loop is cut, or its machine is off."""
    monkeypatch.setattr("core.execution.cluster.node.SILENT_S", 0.2)
    slot = NodeSlot(tmp_path / "cache", lambda *_: DeterministicExecutor(ENDLESS, ENDLESS.seconds))
    await slot.open(encode(Setup(run="r", files={}, device="cpu", compiles=True)))
    asked = Training(job=plain(computed(run, "a")), source="", inputs={}, beside=1)
    await slot.begin(encode(asked))
    async with asyncio.timeout(60):  # a question waits longer than the node does
        while (news := decode(await slot.news(encode(Question(after=9, sizes={}))), News)).ending is None:
            pass
    assert news.ending.result is not None and news.ending.result.outcome is Outcome.INTERRUPTED
    await slot.close()


def test_the_packed_code_is_enough_for_a_node(tmp_path: Path) -> None:
    """The actor's own text and the packed code, in a Python that finds no other copy of the project."""
    (tmp_path / "code").write_bytes(packed())
    (tmp_path / "actor.py").write_text((ROOT / "core" / "execution" / "cluster" / "actor.py").read_text())
    script = (
        "import asyncio, hashlib, sys, pathlib\n"
        "from actor import Actor\n"
        "code = pathlib.Path('code').read_bytes()\n"
        "actor = Actor(code, hashlib.sha256(code).hexdigest())\n"
        "print(asyncio.run(actor.call('hello', b'cpu')).decode())\n"
        "print(asyncio.run(actor.call('open', b'{}')).decode())\n"
        "import core; print(core.__file__)\n"
        "print(asyncio.run(Actor(code, 'another hash').call('hello', b'cpu')).decode())\n"
    )
    (tmp_path / "main.py").write_text(script)
    environment = {"PATH": "/usr/bin:/bin", "AUTORESEARCH_CLUSTER": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    hello, refused, place, damaged = done.stdout.splitlines()
    assert json.loads(hello.removeprefix("+"))["pid"] > 0
    assert refused.startswith("-ValidationError: ")
    assert Path(place).is_relative_to(tmp_path / "cache" / "code")
    assert damaged.startswith("-ValueError: the code was damaged on its way")
    assert set(json.loads(zlib.decompress(packed()))) >= {"core/execution/cluster/node.py", "nanochat/contract/job.py"}


# -- the name on the command line -------------------------------------------------------------------------------------


def test_without_ray_the_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs the package ray\. Nothing was started\. .* -r requirements-ray\.txt"):
        registry.check("ray")


@pytest.mark.parametrize(
    ("address", "words"),
    [("127.0.0.1:1", "Nothing answers at 127.0.0.1:1"), ("ray://127.0.0.1:1", "Nothing answers at ray://"), ("here", "is not the address")],
)  # fmt: skip
def test_an_address_where_nothing_answers_is_refused_at_once(address: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        ray_cluster.check_reachable(address)


def test_the_folder_of_a_cluster_whose_process_was_killed_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = {
        f"autoresearch-ray-{ended.pid}-x": False,
        f"autoresearch-ray-{os.getpid()}-y": True,
        "autoresearch-ray-mine": True,
    }
    for name in names:
        (tmp_path / name / "session").mkdir(parents=True)
    ray_cluster.remove_left(tmp_path)
    assert {name: (tmp_path / name).exists() for name in names} == names


def test_a_run_on_this_machine_imports_nothing_of_ray(tmp_path: Path) -> None:
    """Not even where it is installed, for which a package of that name stands."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("")
    script = (
        "import sys, pathlib, core.session, core.run_command\n"
        "from core.execution import registry\n"
        "slot = registry.Slot(pathlib.Path('h'), 'cpu', pathlib.Path('l'), 0, True)\n"
        "print(type(registry.check('local')(slot)).__name__, 'ray' in sys.modules)\n"
        "registry.check('ray')\n"
        "print('ray' in sys.modules)\n"
        "import ray\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["LocalExecutor", "False", "False"]


async def test_executors_are_made_before_a_node_is_asked(run: Path, machine: Make) -> None:
    found, cluster = executors(run, machine(), slots=3)
    assert all(isinstance(one, RayExecutor) for one in found) and not cluster.closed
