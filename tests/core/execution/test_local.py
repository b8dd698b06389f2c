"""The local executor over a real harness: results, aborts, breakage, and nothing of the user's environment."""

from __future__ import annotations

import asyncio
import platform
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
import pytest_asyncio

from core.execution import local
from core.execution.base import DataUnusable, DeviceGone, ExecutorFailed
from core.execution.local import LocalExecutor, harness_environment
from core.machine import stats
from nanochat.contract import dataset
from nanochat.contract.job import Job, Outcome
from nanochat.contract.messages import Progress, Started
from tests.fake_cuda import Nvml, make, plant
from tests.product import ROOT, TRAIN


def job(folder: Path, data: Path, name: str, budget: float = 0.4, train: str = TRAIN) -> Job:
    out = folder / name
    out.mkdir()
    (out / "train.py").write_text(train)
    return Job(
        id=name, source=str(out / "train.py"), out=str(out), data=str(data), budget_s=budget, seq_len=32, eval_tokens=2048,
        score_batch=4, wall_factor=20.0,
    )  # fmt: skip


async def until(messages: list[Started | Progress], phase: str) -> None:
    async with asyncio.timeout(200):
        while not any(isinstance(told, Progress) and told.phase == phase for told in messages):  # noqa: ASYNC110  a plain callback fills it
            await asyncio.sleep(0.02)


@pytest.fixture
def executor(tmp_path: Path) -> LocalExecutor:
    return LocalExecutor(ROOT, "cpu", tmp_path / "harness.log")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalExecutor]:
    """One harness for the tests that leave it running. It takes seconds to start."""
    made = LocalExecutor(ROOT, "cpu", tmp_path_factory.mktemp("shared") / "harness.log")
    yield made
    await made.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_job_after_job_on_one_harness(shared: LocalExecutor, tmp_path: Path, tiny_data: Path) -> None:
    seen: list[Started | Progress] = []
    for name in ("a", "b"):
        result = await shared.run(job(tmp_path, tiny_data, name), seen.append)
        assert result.outcome is Outcome.SCORED and result.job == name
    assert {type(told) for told in seen} == {Started, Progress}


@pytest.mark.asyncio(loop_scope="module")
async def test_an_aborted_job_says_interrupted(shared: LocalExecutor, tmp_path: Path, tiny_data: Path) -> None:
    seen: list[Started | Progress] = []
    running = asyncio.create_task(shared.run(job(tmp_path, tiny_data, "long", 60.0), seen.append))
    await until(seen, "training")
    await shared.abort()
    assert (await running).outcome is Outcome.INTERRUPTED


async def test_a_harness_that_is_killed_is_a_sentence_and_the_next_job_runs(
    executor: LocalExecutor, tmp_path: Path, tiny_data: Path
) -> None:
    seen: list[Started | Progress] = []
    running = asyncio.create_task(executor.run(job(tmp_path, tiny_data, "long", 60.0), seen.append))
    await until(seen, "training")
    scorer = psutil.Process(next(told.pids[0] for told in seen if isinstance(told, Started)))
    fork_server = scorer.parent()
    assert fork_server is not None
    fork_server.kill()
    try:  # the scorer may still get its last word out, or not
        assert (await running).outcome is Outcome.INTERRUPTED
    except ExecutorFailed as error:
        assert "ended unexpectedly" in str(error)
    _, alive = psutil.wait_procs([scorer], timeout=60)
    assert not alive
    await asyncio.to_thread(psutil.wait_procs, [fork_server], 10)
    assert (await executor.run(job(tmp_path, tiny_data, "next"), seen.append)).outcome is Outcome.SCORED
    await executor.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_data_that_cannot_be_scored_is_not_tried_again(
    shared: LocalExecutor, tmp_path: Path, tiny_data: Path
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(tiny_data, copy)
    manifest = dataset.read(copy)
    short = msgspec.structs.replace(manifest.splits["val"], tokens=20)
    dataset.write(copy, msgspec.structs.replace(manifest, splits={**manifest.splits, "val": short}))
    (copy / "val.bin").write_bytes((copy / "val.bin").read_bytes()[:40])
    with pytest.raises(DataUnusable, match=r"20 tokens: too few to score .* The run ends here"):
        await shared.run(job(tmp_path, copy, "short"), lambda message: None)
    (copy / "val.bin").unlink()
    with pytest.raises(DataUnusable, match=r"val.bin is missing"):
        await shared.run(job(tmp_path, copy, "missing"), lambda message: None)


async def test_an_idea_is_not_blamed_for_a_missing_card(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver was updated under it, or it fell off the bus. The job can be run again when it is back."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cards, tree = make(tmp_path / "cards"), tmp_path / "tree"
    shutil.copytree(ROOT / "nanochat", tree / "nanochat", ignore=shutil.ignore_patterns("__pycache__"))
    plant(tree, cards)
    executor = LocalExecutor(tree, "cuda", tmp_path / "harness.log", gpu=0)
    there = cards.settings["cards"]
    cards.change(cards=[])
    with pytest.raises(ExecutorFailed, match=r"GPU cannot be used .* is run again"):
        await executor.run(on_gpu(job(tmp_path, tiny_data, "gone")), lambda message: None)
    cards.change(cards=there)
    result = await executor.run(on_gpu(job(tmp_path, tiny_data, "back", budget=2.0)), lambda message: None)
    assert result.outcome is Outcome.SCORED, result.reason
    await executor.close()


@pytest.mark.parametrize("works", [False, True])
async def test_one_that_hides_the_card_from_itself_is(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    """Otherwise it would be run again until the morning, since with one slot nothing else runs meanwhile."""
    monkeypatch.setattr(local, "USE_GPU", "pass" if works else "raise SystemExit(1)")
    cards, tree = make(tmp_path / "cards"), tmp_path / "tree"
    shutil.copytree(ROOT / "nanochat", tree / "nanochat", ignore=shutil.ignore_patterns("__pycache__"))
    plant(tree, cards)
    executor = LocalExecutor(tree, "cuda", tmp_path / "harness.log", gpu=0)
    hides = "def train(run):\n    raise RuntimeError('No CUDA GPUs are available')\n"
    hiding = on_gpu(job(tmp_path, tiny_data, "hiding", train=hides))
    if works:
        result = await executor.run(hiding, lambda message: None)
        assert result.outcome is Outcome.CRASH and "No CUDA GPUs" in result.reason
    else:
        with pytest.raises(DeviceGone, match=r"GPU cannot be used .* is run again"):
            await executor.run(hiding, lambda message: None)
    await executor.close()


def on_gpu(job: Job) -> Job:
    return msgspec.structs.replace(job, device="cuda", setup_s=10.0)


def test_the_environment_is_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    found = harness_environment("cpu")
    assert "secret" not in found.values() and "PYTHONPATH" not in found and found["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        (None, ["0", "1"]),
        ("1,0", ["1", "0"]),
        ("1", ["1"]),
        ("GPU-00000001", ["GPU-00000001-fake"]),
        ("0,7", ["0"]),
        ("", []),
    ],
)
def test_each_slot_sees_its_own_gpu_and_none_sees_one_that_is_not_there(
    two_cards: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str | None, names: list[str]
) -> None:
    if setting is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert [harness_environment("cuda", slot)["CUDA_VISIBLE_DEVICES"] for slot in range(len(names))] == names
    with pytest.raises(ExecutorFailed, match=f"no GPU for slot {len(names) + 1}"):
        LocalExecutor(ROOT, "cuda", tmp_path / "log", gpu=len(names))


def test_a_gpu_that_only_cuda_knows_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the driver's library nothing is counted: the first slot takes what is there or what the user names."""
    monkeypatch.setattr(stats, "_nvml", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "CUDA_VISIBLE_DEVICES" not in harness_environment("cuda", 0)
    with pytest.raises(ExecutorFailed):
        harness_environment("cuda", 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert harness_environment("cuda", 1)["CUDA_VISIBLE_DEVICES"] == "5"


@pytest.mark.parametrize(
    ("cores", "gigabytes", "processes"), [(16, 64, "8"), (4, 64, "4"), (16, 7, "3"), (1, 64, "1"), (8, 1, "1")]
)
def test_compilers_are_as_many_as_cores_and_memory_have_room_for(
    cores: int, gigabytes: int, processes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "physical_cores", lambda: cores)
    monkeypatch.setattr(stats, "memory_total", lambda: gigabytes << 30)
    assert harness_environment("cuda")["TORCHINDUCTOR_COMPILE_THREADS"] == processes
    assert "TORCHINDUCTOR_COMPILE_THREADS" not in harness_environment("cpu")


def test_the_allocator_of_a_gpu_wastes_less_memory_except_where_that_is_known_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    monkeypatch.setattr(platform, "release", lambda: "6.8.0-generic")
    assert harness_environment("cuda")["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    assert "PYTORCH_ALLOC_CONF" not in harness_environment("cpu")
    monkeypatch.setattr(platform, "release", lambda: "5.15.167.4-microsoft-standard-WSL2")
    assert "PYTORCH_ALLOC_CONF" not in harness_environment("cuda")
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:64")
    assert harness_environment("cuda")["PYTORCH_ALLOC_CONF"] == "max_split_size_mb:64"


def test_torch_reads_the_variable_of_the_allocator_when_it_first_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server takes it back, after torch is imported, for a card that cannot do it."""
    monkeypatch.setattr(platform, "release", lambda: "6.8.0-generic")
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    code = "import os, torch\nif os.fork(): os.wait()\nelse: del os.environ['PYTORCH_ALLOC_CONF']\n"
    code += "print('settings:', torch._C._accelerator_getAllocatorSettings(), flush=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=harness_environment("cuda"))
    assert done.stdout.split("\n") == ["settings: ", "settings: expandable_segments:True", ""], done.stderr


@pytest.fixture
def two_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The driver's library shows two cards."""
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(make(tmp_path / "cards", cards=2)))
    stats._nvml.cache_clear()
    yield
    stats._nvml.cache_clear()
