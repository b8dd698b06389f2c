"""Bad input gets a clear sentence and loses nothing."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.execution.deterministic import World
from tests.product import Product, edit, harmless

IDEA = edit("A larger learning rate.", ("LR = 0.01", "LR = 0.03"))
NO_TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture
def computed(product: Product) -> Product:
    """For tests whose subject is not the training."""
    product.compute(World(seeds=0.01, noise=0.002))
    return product


def refused(product: Product, *arguments: str, words: str) -> None:
    """The command fails with one sentence that has these words; nothing of a run is left behind half-made."""
    done = product(*arguments)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert words in done.stderr, done.stderr
    assert NO_TRACEBACK not in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "program.md"),
        ("", "program.md"),
        ("---\nmax_params: [1\n---\n# Aim\nLow.\n", "front matter"),
        ("---\nmax_params: many\n---\n# Aim\nLow.\n", "max_params"),
    ],
)
def test_a_charter_that_cannot_be_used(product: Product, content: str | None, words: str) -> None:
    path = product.root / "program.md"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    refused(product, *product.options(), "--agent", product.script(IDEA), words=words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("def train(run:\n", "syntax"),
        ("x = 1\n", "train(run)"),
    ],
)
def test_a_train_py_that_cannot_be_used(product: Product, content: str, words: str) -> None:
    path = product.root / "nanochat" / "train.py"
    path.write_text(content)
    refused(product, *product.options(), "--agent", product.script(IDEA), words=words)
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--agent", "oracle", "no agent 'oracle'"),
        ("--agent", "script:/nowhere.jsonl", "does not exist"),
        ("--dataset", "shakespeare", "shakespeare"),
        ("--device", "tpu", "no device 'tpu'"),
        ("--budget", "0", "--budget 0"),
        ("--budget", "-5", "--budget -5"),
        ("--budget", "nan", "--budget nan"),
        ("--slots", "0", "--slots 0"),
        ("--gate", "maybe", "--gate maybe"),
        ("--name", "Bad Name!", "cannot name a run"),
        ("--profile", "huge", "no profile 'huge'"),
    ],
)
def test_options_that_make_no_sense(product: Product, option: str, value: str, words: str) -> None:
    refused(product, *product.options(), option, value, words=words)


def test_stale_data_is_refused_for_a_continued_run(computed: Product, tmp_path: Path) -> None:
    data = tmp_path / "own-data"
    shutil.copytree(computed.env["AUTORESEARCH_DATA"], data) if Path(
        computed.env["AUTORESEARCH_DATA"]
    ).exists() else None
    computed.env["AUTORESEARCH_DATA"] = str(data)
    assert computed.run("--agent", computed.script(IDEA)).returncode == 0
    shutil.rmtree(data)  # a run that goes on has its own copy
    val = computed.logs / "r" / "data" / "val.bin"
    whole = val.read_bytes()
    val.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(computed, *computed.options(), words="the content of val.bin has changed")
    refused(computed, "report", "r", words="the content of val.bin has changed")
    val.write_bytes(whole)
    manifest = val.with_name("manifest.json")
    text = manifest.read_text()
    manifest.write_text(re.sub(r'("fingerprint": *)".{4}', r'\1"0000', text))
    refused(computed, *computed.options(), words="fingerprint")
    manifest.unlink()
    refused(computed, *computed.options(), words="no prepared data")
    assert computed("status", "r").returncode == 0


def test_a_corrupted_journal_line_is_named(computed: Product) -> None:
    assert computed.run("--agent", computed.script(IDEA)).returncode == 0
    path = computed.logs / "r" / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = b'{"type":"meas\n'
    path.write_bytes(b"".join(lines))
    refused(computed, *computed.options(), words="Line 5 of")
    refused(computed, "status", "r", words="Line 5 of")
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the file systems that this test needs")
def test_logs_that_cannot_be_written(product: Product) -> None:
    product.logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", product.logs], check=True)
    try:
        refused(product, *product.options(), "--agent", product.script(IDEA), words="cannot be written")
    finally:
        subprocess.run(["umount", product.logs], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the file systems that this test needs")
def test_a_full_disk_pauses_the_run_and_room_lets_it_go_on(product: Product) -> None:
    """From outside, once. tests/core/loop/test_full_disk.py fills it at every write."""
    product.compute(World(noise=0.002, seconds=0.5))
    product.logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", product.logs], check=True)
    try:
        agent = product.script(*map(harmless, range(3)))
        loop = product.start(*product.options(), "--agent", agent)
        assert loop.stdout is not None
        for line in loop.stdout:
            if "#1 training" in line:
                break
        ballast = product.logs / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        for line in loop.stdout:
            if "paused" in line and "disk" in line:
                break
        else:
            raise AssertionError("the run ended on a full disk")
        ballast.unlink()
        output, _ = loop.communicate(timeout=250)
        assert loop.returncode == 0, output
        assert product.state().judged == 3
    finally:
        for process in product.started:
            process.kill()
            process.wait()
        subprocess.run(["umount", "-l", product.logs], check=True)


def test_no_run_and_no_tree_are_said_so(product: Product) -> None:
    refused(product, "status", words="no run")
    refused(product, "notebook", "nothing-here", words="no run called nothing-here")
    assert "no run" in product("runs").stdout


def test_an_old_python_gets_a_sentence() -> None:
    old = shutil.which("python3.10") or shutil.which("python3.9") or shutil.which("python3.8")
    if old is None or subprocess.run([old, "-V"], capture_output=True).returncode:
        pytest.skip("this machine has no Python older than 3.11 to try it with")
    root = Path(__file__).resolve().parents[2]
    for script in ("autorun.py", "prepare.py"):
        done = subprocess.run([old, str(root / script)], capture_output=True, text=True)
        assert done.returncode == 1 and "3.11" in done.stderr and NO_TRACEBACK not in done.stderr
    assert sys.version_info >= (3, 11)


def test_a_pipe_that_nobody_reads_any_more_does_not_stop_the_loop(computed: Product, tmp_path: Path) -> None:
    computed.env["AUTORESEARCH_DATA"] = str(tmp_path / "data")  # still to be prepared: that goes on as well
    options = [*computed.options(), "--agent", computed.script(edit("Once.", ("LR = 0.01", "LR = 0.02")))]
    loop = subprocess.Popen(computed.command(*options), cwd=computed.root, env=computed.env, stdout=subprocess.PIPE)
    assert loop.stdout is not None
    loop.stdout.readline()
    loop.stdout.close()
    assert loop.wait(250) == 0
    state = computed.state()
    assert state.stopped is not None and state.stopped.finished and state.judged == 1
