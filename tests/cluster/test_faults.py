"""What a real cluster does wrong: its head ends, its stores are full, its versions differ, its network is slow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.execution.base import ExecutorFailed, MachineLost, Placed
from core.execution.cluster.ray_cluster import connect
from core.machine.project import UsageError
from core.record import events as ev
from core.record import journal
from nanochat.contract.job import Outcome
from tests.cluster.raylets import HOST, Raylets
from tests.cluster.slow import slow
from tests.cluster.test_executor import Ray, gone, node_of
from tests.core.execution.cluster.nodes import job, run_folder
from tests.core.execution.cluster.test_executor import Told, harnesses, ignore
from tests.e2e.conftest import end
from tests.fake_cuda import make
from tests.product import BETTER, TRAIN, Product, build, harmless, slowly, until

KNOWN = "AUTORESEARCH_CLUSTER"
pytestmark = pytest.mark.timeout(900)  # Ray starts up to three times in a test


@pytest.fixture
def head(product: Product) -> Iterator[Raylets]:
    made = Raylets(Path(product.env[KNOWN]))
    made.start()
    yield made
    made.end()


def training(product: Product, number: int) -> bool:
    if not (product.logs / "r" / journal.NAME).exists():
        return False
    return any(launched.number == number for launched in product.state().running.values())


def begin(product: Product, address: str, agent: str, experiments: int) -> subprocess.Popen[str]:
    """Start a run on a cluster ("" for one that it starts itself), and wait until it trains its first experiment."""
    where = ("--ray-address", address) if address else ()
    process = product.start(
        *product.options(),
        "--executor",
        "ray",
        *where,
        "--agent",
        agent,
        "--budget",
        "0.5",
        "--max-experiments",
        str(experiments),
    )
    until(lambda: process.poll() is not None or training(product, 1), "a training")
    assert process.poll() is None, process.communicate()
    return process


def check(product: Product, experiments: int) -> None:
    """Nothing is lost and nothing counts twice."""
    state, events = product.state(), list(journal.read(product.logs / "r" / journal.NAME))
    assert state.judged == experiments and not state.running and not state.open
    assert state.stopped is not None and state.stopped.finished
    for kind, key in ((ev.Launched, "job"), (ev.Measured, "job"), (ev.Judged, "number")):
        found = Counter(getattr(event, key) for event in events if isinstance(event, kind))
        assert set(found.values()) == {1}, (kind, found.most_common(3))
    launched, measured = ({e.job for e in events if isinstance(e, kind)} for kind in (ev.Launched, ev.Measured))
    assert launched == measured
    assert product.git("fsck", "--no-dangling") == ""


# -- the head -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
def test_a_head_that_ends_in_mid_run_ends_the_run_with_a_sentence_and_the_next_start_goes_on(
    product: Product, head: Raylets, restarted: bool
) -> None:
    agent = product.script(slowly(BETTER), harmless(1), harmless(2))
    process = begin(product, head.address, agent, 3)
    head.kill()
    killed = time.monotonic()
    if restarted:
        head.start()
    said, _ = process.communicate(timeout=150)
    took = time.monotonic() - killed
    assert process.returncode == 1, said
    told = said.splitlines()[-1]
    if restarted:
        assert "was started anew. The new cluster knows nothing of this run." in told
    else:
        assert "has not answered for 35 s." in told and took >= 35
    assert "All that was recorded is kept" in told and told.endswith("the run continues.")
    stopped = product.state().stopped
    assert stopped is not None and stopped.reason in told and not stopped.finished
    until(lambda: not harnesses(Path(product.env[KNOWN])), "no process stays behind", within=60)
    if not restarted:
        head.start()
    done = product.run("--agent", agent, "--max-experiments", "3", timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    check(product, 3)
    assert product.state().kept


def test_a_head_of_a_cluster_on_this_machine_that_ends_alone_is_noticed_too(product: Product) -> None:
    agent = product.script(slowly(BETTER), harmless(1))
    process = begin(product, "", agent, 2)
    loop = psutil.Process(process.pid)
    started = [loop, *loop.children(recursive=True)]
    (head,) = [one for one in started if one.name() == "gcs_server"]
    head.kill()
    said, _ = process.communicate(timeout=150)
    told = said.splitlines()[-1]
    assert process.returncode == 1, said
    assert told.startswith("The head of the Ray cluster on this machine has not answered for 35 s."), said
    assert told.endswith("`make run` starts Ray again and continues the run.")
    assert psutil.wait_procs(started, timeout=150)[1] == [], "no process stays behind"
    done = product.run("--agent", agent, "--max-experiments", "2", timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    check(product, 2)


# -- a slow network -----------------------------------------------------------------------------------------------------


def test_the_proxy_is_as_slow_as_it_says_and_refuses_when_it_is_cut() -> None:
    with socket.create_server((HOST, 0)) as server:
        thread = threading.Thread(target=_echo, args=(server,))
        thread.start()
        with slow(server.getsockname()[1], delay_s=0.05, bytes_per_s=1 << 20) as proxy:
            with socket.create_connection((HOST, proxy.port), 30) as line:
                begun, sent = time.monotonic(), bytes(1 << 18)
                line.sendall(sent)
                assert len(_received(line, len(sent))) == len(sent)
                assert time.monotonic() - begun >= 0.25 + 0.05, "a quarter of a second for these bytes"
                assert proxy.passed == 2 * len(sent)
                proxy.cut()
                with contextlib.suppress(ConnectionError):
                    assert line.recv(1) == b""
            with pytest.raises(ConnectionError):
                socket.create_connection((HOST, proxy.port), 30)
        thread.join()


def _echo(server: socket.socket) -> None:
    line, _ = server.accept()
    with line, contextlib.suppress(ConnectionError):
        while data := line.recv(1 << 16):
            line.sendall(data)


def _received(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (data := line.recv(1 << 16)):
        found += data
    return found


def test_a_night_over_a_slow_network_is_whole_and_one_that_is_cut_is_continued(product: Product, head: Raylets) -> None:
    """By Ray's client, of which all goes through one port: 50 ms and 2 MB a second. Then nothing for a while."""
    agent = product.script(slowly(BETTER), harmless(1))
    with slow(head.client, delay_s=0.05, bytes_per_s=2e6) as network:
        process = begin(product, f"ray://{HOST}:{network.port}", agent, 2)
        assert network.passed > 500_000, "the harness and the data went through it"
        network.cut()
        said, _ = process.communicate(timeout=150)
        assert process.returncode == 1 and f"at {HOST}:{network.port} has not answered for 35 s." in said, said
        network.heal()
        done = product.run("--agent", agent, "--max-experiments", "2", timeout=380)
        assert done.returncode == 0, done.stdout + done.stderr
    check(product, 2)


# -- object stores ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ray(tmp_path: Path, tiny_data: Path) -> Iterator[Ray]:
    """A cluster whose object stores neither spill nor grow."""
    settings = {"automatic_object_spilling_enabled": False, "local_fs_capacity_threshold": 0.0}
    made = Ray(run_folder(tmp_path / "run", tiny_data), tmp_path / "cache", _system_config=settings)
    yield made
    made.end()


def filled() -> list[Any]:
    """Objects that leave no room in the store of this machine. It is full while they live."""
    import ray as api

    held: list[Any] = []
    for size in (8 << 20, 1 << 20, 200_000):
        with contextlib.suppress(api.exceptions.ObjectStoreFullError, api.exceptions.OutOfDiskError):
            for _ in range(500):
                held.append(api.put(bytes(size)))
            raise AssertionError("this store has no end")
    return held


def kernels(ray: Ray, size: int) -> str:
    """A folder with a file that a job takes along to its node."""
    folder = ray.run / f"kernels-{size}"
    folder.mkdir()
    (folder / "kernel").write_bytes(bytes(size))
    return str(folder)


async def test_a_full_object_store_of_this_machine_is_a_sentence_and_costs_no_node(ray: Ray) -> None:
    """A training whose files are on the node needs no room."""
    (executor,) = ray.slots(1)
    seen: list[Told] = []
    assert (await executor.run(job(ray.run, "first"), seen.append)).outcome is Outcome.SCORED
    held = await asyncio.to_thread(filled)
    assert (await executor.run(job(ray.run, "second"), ignore)).outcome is Outcome.SCORED
    compiled = kernels(ray, 1 << 20)
    with pytest.raises(ExecutorFailed, match=r"This machine has (no room in Ray's object store|a full disk)") as raised:
        await executor.run(job(ray.run, "third", compiled=compiled), ignore)
    assert not isinstance(raised.value, MachineLost), "the loop waits, and blames no node"
    held.clear()
    assert (await executor.run(job(ray.run, "fourth", compiled=compiled), seen.append)).outcome is Outcome.SCORED
    assert len({told.node for told in seen if isinstance(told, Placed)}) == 1, "on the node of before"
    await executor.close()
    await gone(ray.cache)


async def test_a_full_object_store_of_a_node_costs_a_training_and_the_next_one_is_elsewhere(ray: Ray) -> None:
    (executor,) = ray.slots(1)
    seen: list[Told] = []
    assert (await executor.run(job(ray.run, "first"), seen.append)).outcome is Outcome.SCORED
    first = node_of(seen)
    filler = fill_node(ray, first)
    compiled = kernels(ray, 8 << 20)
    with pytest.raises(MachineLost, match=rf"Node {first} has (no room in Ray's object store|a full disk).* run again"):
        await executor.run(job(ray.run, "second", compiled=compiled), ignore)
    seen.clear()
    assert (await executor.run(job(ray.run, "third", compiled=compiled), seen.append)).outcome is Outcome.SCORED
    assert node_of(seen) != first
    del filler
    await executor.close()
    await gone(ray.cache)


def fill_node(ray: Ray, name: str) -> Any:
    """An actor that holds as many objects in the store of a node as fit in it."""
    import ray as api

    strategies = __import__("ray.util.scheduling_strategies", fromlist=["_"])
    node = ray.nodes[name].node_id

    @api.remote(num_cpus=0)
    class Filler:
        def fill(self) -> int:
            import ray as there

            self.held: list[Any] = []
            for size in (8 << 20, 1 << 20, 200_000):
                with contextlib.suppress(there.exceptions.ObjectStoreFullError, there.exceptions.OutOfDiskError):
                    for _ in range(500):
                        self.held.append(there.put(bytes(size)))
            return len(self.held)

    affinity = strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    made = Filler.options(scheduling_strategy=affinity).remote()
    assert api.get(made.fill.remote()) < 500
    return made


# -- versions -----------------------------------------------------------------------------------------------------------


def test_a_cluster_with_another_ray_or_python_is_refused_with_a_sentence(tmp_path: Path, tiny_data: Path) -> None:
    made = Ray(run_folder(tmp_path / "run", tiny_data), tmp_path / "cache")
    try:
        client = __import__("ray._raylet", fromlist=["_"]).GcsClient(address=made.cluster.address)
        told = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster"))
        for changed in ({"ray_version": "2.9.0"}, {"python_version": "3.9.18"}):
            client.internal_kv_put(b"CLUSTER_METADATA", json.dumps(told | changed).encode(), True, namespace=b"cluster")
            (version,) = changed.values()
            with pytest.raises(UsageError, match=rf"(?s){version}.*Ray and Python must have the same versions"):
                connect(made.cluster.address, 1, "cpu")
        client.internal_kv_put(b"CLUSTER_METADATA", json.dumps(told).encode(), True, namespace=b"cluster")
        connect(made.cluster.address, 1, "cpu").close()
    finally:
        made.end()


async def test_a_node_with_another_torch_is_left_out_with_a_sentence(tmp_path: Path, tiny_data: Path) -> None:
    """Its Python finds the metadata of another version first, as after an installation of it."""
    information = tmp_path / "old" / "torch-1.13.1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.13.1\n")
    made = Ray(run_folder(tmp_path / "run", tiny_data), tmp_path / "cache")
    try:
        made.add("old", env_vars={"PYTHONPATH": str(tmp_path / "old")})
        slots = made.slots(3)
        seen: list[Told] = []
        results = await asyncio.gather(*(slot.run(job(made.run, f"j{i}"), seen.append) for i, slot in enumerate(slots)))
        assert {result.outcome for result in results} == {Outcome.SCORED}
        placed = [told for told in seen if isinstance(told, Placed)]
        assert {told.node for told in placed} == {"one", "two"}
        notes = [note for told in placed for note in told.notes]
        assert any(note.startswith("Node old has torch 1.13.1, and this machine torch ") for note in notes), notes
        await asyncio.gather(*(slot.close() for slot in slots))
        await gone(made.cache)
    finally:
        made.end()


# -- two cards ----------------------------------------------------------------------------------------------------------

TELLS = TRAIN.replace(
    "def train(run):\n", "def train(run):\n    print('card', __import__('os').environ.get('CUDA_VISIBLE_DEVICES'))\n"
)


def test_two_trainings_at_once_have_different_cards(tmp_path: Path, prepared: tuple[Path, Path]) -> None:
    """Both cards are fake. Ray gives each actor one, and the trainer sees that one only."""
    made = make(tmp_path / "cards", cards=2)
    for index in range(2):
        made.change_card(index, name="Fake GPU")  # scores of different cards could not be compared
    product = build(tmp_path, prepared, made, TELLS)
    product.env[KNOWN] = str(tmp_path / "cache")
    try:
        agent = product.script(*(slowly(harmless(i)) for i in range(4)))
        options = list(product.options())
        options[options.index("--slots") + 1] = "2"
        done = product(
            *options, "--executor", "ray", "--agent", agent, "--max-experiments", "4", "--budget", "2", timeout=380
        )
        assert done.returncode == 0, done.stdout + done.stderr
        state = product.state()
        assert state.config is not None and (state.config.device, state.config.slots) == ("cuda", 2)
        jobs = times(product)
        cards = {
            path.parent.name: path.read_text().split("card ")[1].split()[0] for path in product.logs.rglob("output.txt")
        }
        assert set(cards.values()) == {"0", "1"}
        beside = [(a, b) for a, b in combinations(jobs, 2) if max(jobs[a][0], jobs[b][0]) < min(jobs[a][1], jobs[b][1])]
        assert beside and all(cards[a] != cards[b] for a, b in beside), (beside, cards)
        assert not made.users(0) and not made.users(1), "nobody holds memory of a card any more"
    finally:
        end(product)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)


def times(product: Product) -> dict[str, tuple[float, float]]:
    """When each job began and ended."""
    begun, found = {}, {}
    for event in journal.read(product.logs / "r" / journal.NAME):
        if isinstance(event, ev.Launched):
            begun[event.job] = event.t
        elif isinstance(event, ev.Measured):
            found[event.job] = begun[event.job], event.t
    return found
