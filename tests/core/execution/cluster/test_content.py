"""Files by their hash in a node's cache, and what comes back from a node."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.execution.cluster import content
from core.execution.cluster.content import BadContent, Store, relative
from core.execution.cluster.files import Mirror, Sources, may_leave
from core.execution.cluster.messages import Ending, News, Tail, decode, encode
from core.execution.cluster.node import _files, _tail
from core.execution.cluster.reference import References, machine
from core.execution.cluster.work import WorkFolder
from nanochat.contract.job import Job, Outcome, Result
from nanochat.contract.messages import Started


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_pieces_become_a_file_that_is_verified(tmp_path: Path) -> None:
    store, name = Store(tmp_path), digest(b"abcdef")
    assert not store.has(name)
    store.put(name, 0, b"abc", last=False)
    assert not store.has(name)
    store.put(name, 3, b"def", last=True)
    assert store.has(name) and store.path(name).read_bytes() == b"abcdef"
    store.put(name, 0, b"abcdef", last=True)  # a second sender does no harm
    assert store.has(name)


def test_damage_is_found_when_it_arrives_and_when_it_is_used(tmp_path: Path) -> None:
    store, name = Store(tmp_path), digest(b"abcdef")
    with pytest.raises(BadContent, match="damaged on its way"):
        store.put(name, 0, b"abcdeX", last=True)
    store.put(name, 0, b"abc", last=False)
    with pytest.raises(BadContent, match=r"3 bytes have arrived .* 4 were expected"):
        store.put(name, 4, b"ef", last=True)
    store.put(name, 0, b"abcdef", last=True)
    store.path(name).chmod(0o644)
    store.path(name).write_bytes(b"abcdeX")
    assert not store.has(name) and not store.path(name).exists()


def test_a_tree_holds_its_files_and_their_list(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for data in (b"one", b"two"):
        store.put(digest(data), 0, data, last=True)
    files = {"harness/a.py": digest(b"one"), "data/x/b.bin": digest(b"two"), "data/c.bin": digest(b"two")}
    tree = store.tree(files)
    assert (tree / "data" / "x" / "b.bin").read_bytes() == (tree / "data" / "c.bin").read_bytes() == b"two"
    assert sorted(path.name for path in tree.iterdir()) == ["data", "frozen.json", "harness"]
    assert store.tree(files) == tree and store.tree({"harness/a.py": digest(b"one")}) != tree
    with pytest.raises(FileNotFoundError):
        store.tree({"a": digest(b"three")})
    assert len(list((tmp_path / "trees").glob("[!.]*"))) == 2


def test_the_cache_loses_what_was_interrupted_and_what_no_run_uses(tmp_path: Path) -> None:
    store = Store(tmp_path)
    used, left, arriving, interrupted = (digest(data) for data in (b"used", b"left", b"arriving", b"interrupted"))
    for data in (b"used", b"left"):
        store.put(digest(data), 0, data, last=True)
    trees = [store.tree({"a": used}), store.tree({"a": left})]
    for name in (arriving, interrupted):
        store.put(name, 0, b"a", last=False)
    age = time.time() - content.UNUSED_S - 60
    draft = next((tmp_path / "files").glob(f".{interrupted}.*"))
    for path in (*trees, store.path(used), store.path(left), draft):
        os.utime(path, (age, age))
    assert store.has(used) and store.tree({"a": used}) == trees[0]
    assert store.path(used).stat().st_mtime == pytest.approx(age), "trees are checked by the times of their files"
    store.clean()
    assert trees[0].exists() and not trees[1].exists()
    assert {path.name.split(".")[1 if path.name.startswith(".") else 0] for path in (tmp_path / "files").iterdir()} == {
        used,
        arriving,
    }


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "a/../../b", "a\0b"])
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadContent):
        relative(name)
    with pytest.raises(BadContent), Mirror(tmp_path).whole(name):
        pass
    with pytest.raises(BadContent):
        Store(tmp_path).path(f"../{name}")


def test_growing_files_follow_those_of_the_node_also_when_they_are_rewritten(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    mirror = Mirror(here)

    def step(text: str) -> str:
        (there / "metrics.jsonl").write_text(text)
        tail = _tail(there / "metrics.jsonl", mirror.sizes["metrics.jsonl"])
        mirror.add({"metrics.jsonl": tail} if tail else {})
        return (here / "metrics.jsonl").read_text()

    assert step("1\n2\n3\n4\n") == "1\n2\n3\n4\n"
    assert step("1\n2\n3\n4\n5\n") == "1\n2\n3\n4\n5\n"
    assert step("1\n3\n5\n") == "1\n3\n5\n"
    mirror.add({"metrics.jsonl": Tail(start=100, data=b"x"), "../evil": Tail(start=0, data=b"x")})
    assert (here / "metrics.jsonl").read_text() == "1\n3\n5\n" and not (tmp_path / "evil").exists()


def test_a_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    with pytest.raises(RuntimeError), mirror.whole("compiled/k.bin") as file:
        file.write(b"half")
        raise RuntimeError
    assert list((tmp_path / "compiled").iterdir()) == []
    with mirror.whole("compiled/k.bin") as file:
        file.write(b"ha")
        file.write(b"lf")
    assert (tmp_path / "compiled" / "k.bin").read_bytes() == b"half"


def test_only_files_that_a_job_may_leave_are_offered(tmp_path: Path) -> None:
    for name in ("metrics.jsonl", "output.txt", "nats.npy", "train.py", "secret", "compiled/a/k"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    os.symlink("/etc/passwd", tmp_path / "model.safetensors")
    os.symlink("/etc/passwd", tmp_path / "compiled" / "link")
    assert list(_files(tmp_path, nats=False)) == ["metrics.jsonl", "output.txt", "compiled/a/k"]
    assert list(_files(tmp_path, nats=True)) == ["metrics.jsonl", "output.txt", "nats.npy", "compiled/a/k"]


def test_a_message_keeps_what_the_contract_allows() -> None:
    result = Result(job="j", outcome=Outcome.CRASH, reason="a path \udcff", final_loss=float("inf"))
    news = News(
        number=3,
        messages=(Started(job="j", pids=(1, 2)),),
        tails={"output.txt": Tail(start=1, data=b"\x00\xff")},
        ending=Ending(result=result, files={"a": 1}),
    )
    assert decode(encode(news), News) == news and encode(news).isascii()
    with pytest.raises(ValueError):
        decode(b'{"number": 1, "unknown": 2}', News)


def test_a_job_names_the_files_that_go_along(tmp_path: Path) -> None:
    (tmp_path / "compiled").mkdir()
    for name in ("baseline.npy", "compiled/k"):
        (tmp_path / name).write_text(name)
    sources = Sources(tmp_path, {"data/a": digest(b"a")})
    job = Job(
        id="j",
        source="s",
        out="o",
        data="d",
        reference=str(tmp_path / "baseline.npy"),
        compiled=str(tmp_path / "compiled"),
    )
    found = sources.of_job(job)
    assert found == {"baseline.npy": digest(b"baseline.npy"), "compiled/k": digest(b"compiled/k")}
    assert sources.path(digest(b"compiled/k")) == tmp_path / "compiled" / "k"
    assert sources.path(digest(b"a")) == tmp_path / "data" / "a"
    with pytest.raises(KeyError):
        sources.path(digest(b"other"))


def test_a_folder_that_a_killed_actor_has_left_is_removed_and_no_other(tmp_path: Path) -> None:
    script = "import sys, os, pathlib; from core.execution.cluster.work import WorkFolder\n"
    script += "ours = WorkFolder(pathlib.Path(sys.argv[1])); print(ours.path, flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    theirs = Path(process.stdout.readline().strip())
    ours = WorkFolder(tmp_path)
    assert theirs.is_dir() and ours.path.is_dir() and theirs != ours.path
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    third = WorkFolder(tmp_path)
    assert not theirs.exists() and ours.path.is_dir()
    (ours.fresh("job") / "a").write_text("")
    assert list(ours.fresh("job").iterdir()) == []
    ours.remove()
    third.remove()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["lock"]


def test_only_what_a_job_asked_for_is_taken() -> None:
    usual, asking = (
        Job(id="j", source="", out="", data=""),
        Job(id="j", source="", out="", data="", keep_compiled=True, keep_weights=True),
    )
    assert may_leave(usual, "nats.npy") and may_leave(usual, "output.txt")
    for name in ("model.safetensors", "compiled/a"):
        assert may_leave(asking, name) and not may_leave(usual, name)
    for name in ("train.py", "result.json", "compiled/../train.py", "../x", "/x"):
        assert not may_leave(asking, name)


def test_two_machines_with_one_home_keep_two_references_and_two_drafts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine()
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert machine() != before
    name = digest(b"abcdef")
    first, second = Store(tmp_path), Store(tmp_path)
    first.put(name, 0, b"abc", last=False)
    second.put(name, 0, b"ab", last=False)
    first.put(name, 3, b"def", last=True)
    assert first.has(name)


def test_the_first_slot_that_ends_a_training_decides_the_reference(tmp_path: Path) -> None:
    first, second = References(tmp_path, "run"), References(tmp_path, "run")
    assert first.read() is None
    first.keep(0.0123)
    second.keep(0.5)
    assert first.read() == second.read() == 0.0123
    assert References(tmp_path, "another run").read() is None
    assert len(list((tmp_path / "references").iterdir())) == 1
