"""The doctor on this very machine: a line a check, nothing changed, problems with what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core import doctor
from core.config import files
from core.machine.project import Project, find
from core.machine.stats import Gpu
from tests.fake_cuda import make, plant, shadow
from tests.ollama_server import Script, serving
from tests.product import ROOT


def by_name(project: Project) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine(project)}


def test_every_part_is_looked_at() -> None:
    found = by_name(find())
    assert set(found) >= {
        "python",
        "torch",
        "device",
        "memory",
        "logs",
        "data",
        "tokenizer",
        "git",
        "sandbox",
        "compiler",
        "agents",
    }
    assert found["python"].status == found["torch"].status == "ok"
    assert all("\n" not in check.line for check in found.values())
    assert all(check.todo for check in found.values() if check.status == "problem")


def test_missing_data_is_a_note_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "none"))
    found = by_name(find(logs=tmp_path / "logs"))
    assert found["data"].status == "note" and "prepare" in found["data"].todo
    assert not (tmp_path / "none").exists() and not (tmp_path / "logs").exists()


def test_an_ollama_server_is_asked_as_an_agent_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Script(lambda body, count: "")) as url:
        monkeypatch.setenv("OLLAMA_HOST", url.removeprefix("http://"))
        assert doctor._ollama().line.split() == ["ok", "ollama", "answers", "at", f"{url};", "models:", "1"]
    assert doctor._ollama().status == "note" and "does not answer" in doctor._ollama().words
    monkeypatch.setenv("OLLAMA_HOST", "user:secret@host:abc")
    assert doctor._ollama().status == "note" and "'***@host:abc'" in doctor._ollama().line
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:99999/v1")
    assert "OPENAI_BASE_URL is 'http://localhost:99999/v1'" in doctor._openai().words


@pytest.mark.parametrize(
    ("gpus", "torch", "release", "model", "words"),
    [
        ([], doctor.Torch(0), "6.8.0", "", None),
        ([Gpu("a", uuid="GPU-1")], doctor.Torch(1), "6.8.0", "", None),
        ([], doctor.Torch(2, hip=True), "6.8.0", "", "ROCm build and sees 2"),
        ([], doctor.Torch(1), "6.8.0", "", "NVML) none"),
        ([Gpu("Orin")], doctor.Torch(1), "5.15.0-tegra", "NVIDIA Jetson Orin Nano", "Jetson Orin Nano"),
        ([Gpu("a", uuid="MIG-1")], doctor.Torch(1), "6.8.0", "", "1 MIG instance"),
        ([Gpu("a", uuid="GPU-1")], doctor.Torch(1), "5.15.0-microsoft-standard-WSL2", "", "WSL2"),
    ],
)
def test_machines_of_which_little_is_known(
    gpus: list[Gpu], torch: doctor.Torch, release: str, model: str, words: str | None
) -> None:
    found = doctor.platform_check(gpus, torch, release, model)
    assert (found is None) == (words is None)
    if found is not None and words is not None:
        assert found.status == "note" and words in found.words and "ntested" in found.todo


def test_on_a_gpu_a_kernel_is_compiled(tmp_path: Path) -> None:
    """The command as a user types it, on a fake card: every line is there, and no line is a traceback."""
    cards = make(tmp_path / "cards")
    root = tmp_path / "tree"
    shutil.copytree(ROOT / "nanochat", root / "nanochat", ignore=shutil.ignore_patterns("__pycache__"))
    plant(root, cards)
    environment = os.environ | {"PYTHONPATH": f"{shadow(tmp_path / 'shadow', cards)}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "core.cli", "doctor"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert "Traceback" not in done.stdout + done.stderr
    assert lines["device"].startswith("ok") and "cuda, profile gpu-8, 1 GPU(s)" in lines["device"]
    assert "GPU works" in lines["torch"]
    assert lines["compiler"].startswith("ok") and "compiled and ran on Fake GPU 0" in lines["compiler"], lines[
        "compiler"
    ]


def test_broken_surroundings_are_findings_each_in_its_own_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "tree"
    (root / ".git").mkdir(parents=True)
    (root / "file").write_text("")
    (root / "link").symlink_to("nowhere")
    for name, words in (
        ("file", "not a folder"),
        ("file/logs", "not a folder"),
        ("link", "leads nowhere"),
        ("link/x", "leads nowhere"),
    ):
        found = doctor._disk("logs", root / name)
        assert found.status == "problem" and words in found.words and found.todo
    project = Project(root, root / "logs")
    assert doctor._git(project).status == "problem" and ".git is not a repository" in doctor._git(project).words
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(git.parent))
    assert doctor._git(project).words == "`git --version` fails: broken"
    failing = doctor._tried("x", lambda: doctor.Check("x", "ok", (root / "file/x").read_text()))
    assert failing.status == "problem" and "Not a directory" in failing.words and failing.todo
    assert not (root / "logs").exists()


def test_config_files_are_shown_with_what_they_set(tmp_path: Path) -> None:
    user, project = files.ConfigFile(tmp_path / "config.toml"), tmp_path / files.PROJECT_FILE
    project.write_text("budget = 120\n")
    found = files.Config((user, *files.read(tmp_path).files[1:]))
    lines = [check.line for check in doctor._config(found)]
    assert lines[0].endswith("config.toml: does not exist") and lines[1].endswith("autoresearch.toml: budget = 120")
    project.write_text("bugdet = 120\n")
    (broken,) = doctor._config(files.Config(files.read(tmp_path).files[1:]))
    assert broken.status == "problem" and "line 1: There is no key bugdet. Did you mean budget?" in broken.line
