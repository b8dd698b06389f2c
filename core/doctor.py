"""The command `doctor`: checks whether this machine has what a run needs. One line a check: ok, problem or note, and what to do."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.agents import reach
from core.agents.base import AgentFailed
from core.agents.llm.connection import to_ollama
from core.config import files, shown
from core.errors import explained
from core.execution import compiling, sandboxing
from core.git.errors import RepositoryError
from core.git.repository import Repository
from core.machine import stats
from core.machine.defaults import default_profile
from core.machine.project import Project, torch_build
from nanochat.contract import dataset
from nanochat.contract.value import Data

LEAST_MEMORY, LEAST_DISK = 3 << 30, 2 << 30

Status = Literal["ok", "problem", "note"]


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    status: Status
    words: str
    todo: str = ""

    @property
    def line(self) -> str:
        return f"{self.status:<8} {self.name:<10} {self.words}{'. ' + self.todo if self.todo else ''}"


class Health(Data, frozen=True, kw_only=True):
    """What `doctor --json` prints. `ok`: whether there is no problem."""

    ok: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Torch:
    """The installed torch: how many GPUs it sees, and whether it is a build for AMD GPUs."""

    devices: int = 0
    hip: bool = False


def examine(project: Project) -> list[Check]:
    """Run all checks. Changes nothing. Takes a few seconds, or up to a minute with a GPU, since a kernel is compiled."""
    gpus = stats.gpus()
    device, profile = default_profile()
    checked, torch = _torch(len(gpus))
    special = platform_check(gpus, torch, platform.release(), _model())
    return [
        _python(),
        checked,
        Check("device", "ok", f"{device}, profile {profile.name}" + (f", {len(gpus)} GPU(s)" if gpus else "")),
        *([special] if special else []),
        _memory(),
        _tried("logs", lambda: _disk("logs", project.logs)),
        _tried("data disk", lambda: _disk("data disk", dataset.root())),
        _tried(
            "data",
            lambda: _data({name: dataset.find(name, profile.vocab_size) for name in ("python", profile.dataset)}),
        ),
        _tried("tokenizer", lambda: _tokenizer(dataset.find("python", profile.vocab_size))),
        *_config(files.read(project.root)),
        _tried("git", lambda: _git(project)),
        _tried("sandbox", lambda: _sandbox(project, device)),
        _tried("compiler", lambda: _compiler(project, device)),
        Check("agents", "ok", "search is always there, script:FILE replays a list"),
        _tried("ollama", _ollama),
        *([_tried("openai", _openai)] if os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_KEY") else []),
    ]


def _tried(name: str, check: Callable[[], Check]) -> Check:
    """Return the result of a check. If the check fails for a reason of the machine, the result says so."""
    try:
        return check()
    except Exception as error:
        words = explained(error)
        if words is None:
            raise
        return Check(
            name, "problem", f"the check failed: {words.removesuffix('.')}", "Fix this and run `make doctor` again"
        )


def _python() -> Check:
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if "microsoft" in platform.release().lower():
        todo = "Keep the source tree in the Linux file system (not under /mnt), and install no GPU driver inside WSL"
        return Check("python", "note", f"{words}, in WSL2: the GPU comes through the Windows driver", todo)
    return Check("python", "ok", words)


def _torch(gpus: int) -> tuple[Check, Torch]:
    code = (
        "import json, torch; n = torch.cuda.device_count(); "
        "print(json.dumps([torch.__version__, n if torch.cuda.is_available() else 0, bool(torch.version.hip)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        check = Check(
            "torch", "problem", f"cannot be imported: {last}", "`rm -r .venv`, then `make run` installs it again"
        )
        return check, Torch()
    version, devices, hip = json.loads(done.stdout.strip().splitlines()[-1])
    torch = Torch(devices, hip)
    kind = "GPU works" if devices else "CPU"
    if gpus and not devices:
        if "driver on your system is too old" in done.stderr:
            return Check("torch", "problem", f"{version} needs a newer NVIDIA driver", "Install one"), torch
        return Check("torch", "problem", f"{version} does not see the GPU", "Install a CUDA build of torch 2.13"), torch
    return Check("torch", "ok", f"{version} ({kind}{', CPU build' if '+cpu' in torch_build() else ''})"), torch


def platform_check(gpus: Sequence[stats.Gpu], torch: Torch, release: str, model: str) -> Check | None:
    """Return a note about GPUs on an unusual kind of machine; None for NVIDIA cards on Linux.

    Args:
        gpus: The GPUs that NVML shows.
        torch: What the installed torch says.
        release: The release of the kernel.
        model: The machine's model from the device tree, '' if unknown.
    """
    if torch.hip:
        words = f"torch is a ROCm build and sees {torch.devices} GPU(s)"
        todo = "AMD GPUs are untested; --device cuda tries one. Memory held by other programs and thermal throttling are not detected"
        return Check("platform", "note", words, todo)
    if "jetson" in model.lower() or "tegra" in release.lower():
        todo = "Jetsons are untested. The GPU shares the machine's memory, so choose a --profile and a small batch"
        return Check("platform", "note", f"{model or 'an NVIDIA Jetson'}", f"{todo}; --device cuda tries it")
    if torch.devices and not gpus:
        todo = "Untested; --device cuda uses the first of them. Memory held by other programs and thermal throttling are not detected"
        return Check("platform", "note", f"torch sees {torch.devices} GPU(s), the driver's library (NVML) none", todo)
    if any(gpu.uuid.startswith("MIG-") for gpu in gpus):
        todo = "Untested. Each instance is one slot, with a profile by its own memory; load and clocks are not shown"
        return Check("platform", "note", f"{len(gpus)} MIG instance(s) or GPU(s)", todo)
    if gpus and "microsoft" in release.lower():
        todo = "Untested. The driver does not tell which programs hold memory, so a game in Windows can disturb a run unseen"
        return Check("platform", "note", "the GPU of WSL2", todo)
    return None


def _model() -> str:
    """Return the machine's model from the device tree, or ''."""
    try:
        return Path("/proc/device-tree/model").read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _memory() -> Check:
    total = stats.memory_total()
    if total < LEAST_MEMORY:
        return Check(
            "memory", "problem", f"{total / 1e9:.1f} GB", "Training needs 3 GB; use --slots 1 and a smaller --profile"
        )
    return Check("memory", "ok", f"{total / 1e9:.1f} GB")


def _disk(name: str, path: Path) -> Check:
    there = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
    if not there.is_dir():
        what = "is a link that leads nowhere" if there.is_symlink() else "is not a folder"
        return Check(name, "problem", f"{there} {what}", "Put it out of the way, or name another folder")
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return Check(name, "problem", f"{path} cannot be written", "Change its rights, or name another folder")
    if free < LEAST_DISK:
        return Check(name, "problem", f"{free / 1e9:.1f} GB free for {path}", "Free some space")
    return Check(name, "ok", f"{free / 1e9:.0f} GB free for {path}")


def _data(datasets: Mapping[str, dataset.Found]) -> Check:
    ready = [name for name, prepared in datasets.items() if prepared.manifest]
    if not ready:
        return Check("data", "note", "nothing is prepared yet", "The first run does it, or: make prepare")
    return Check("data", "ok", f"ready: {', '.join(sorted(set(ready)))}")


def _tokenizer(prepared: dataset.Found) -> Check:
    if prepared.manifest is None:
        return Check("tokenizer", "note", "comes with the data")
    try:
        count = len(json.loads((prepared.folder / "tokenizer.json").read_text())["tokens"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Check("tokenizer", "problem", f"cannot be read ({error})", dataset.command(prepared.manifest))
    return Check("tokenizer", "ok", f"{count} tokens and one special")


def _git(project: Project) -> Check:
    """Check git and the repository in the way a run does."""
    if shutil.which("git") is None:
        return Check("git", "problem", "not installed", "Install git")
    done = subprocess.run(["git", "--version"], capture_output=True, text=True, errors="replace")
    if done.returncode or not done.stdout.split():
        words = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Check("git", "problem", f"`git --version` fails: {words}", "Reinstall git")
    version = done.stdout.split()[-1]
    try:
        repo = Repository.find(project.root, project.logs / "repository")
        if repo is not None:
            repo.base()
    except RepositoryError as error:
        return Check("git", "problem", f"{version}; {error}".removesuffix("."), "Runs need a working repository")
    if (project.root / ".git").exists():
        return Check("git", "ok", f"{version}; this source tree is a repository")
    return Check("git", "note", f"{version}; this source tree is not a repository, so a private one in logs/ is used")


def _config(config: files.Config) -> list[Check]:
    """Return a line for each config file: what it sets, or what is wrong with it."""
    checks = []
    for file in config.files:
        words = f"{file.name}: {shown.file_words(config, file)}".removesuffix(".")
        todo = "Runs do not start with it; correct it" if file.problems else ""
        checks.append(Check("config", "problem" if file.problems else "ok", words, todo))
    return checks


def _sandbox(project: Project, device: str) -> Check:
    finding = sandboxing.check(project.root, device)
    if finding.error:
        return Check("sandbox", "problem", f"its check failed: {finding.error}")
    if finding.missing:
        todo = "Runs are marked unprotected; a newer Linux kernel with Landlock helps, or a container with fewer restrictions"
        return Check("sandbox", "note", f"missing: {', '.join(finding.missing)}", todo)
    return Check("sandbox", "ok", f"Landlock {finding.landlock_abi}, process and network namespaces, seccomp")


def _compiler(project: Project, device: str) -> Check:
    if device != "cuda":
        return Check("compiler", "ok", f"not checked: trainings compile on NVIDIA GPUs only, and this is {device}")
    finding = compiling.check(project.root)
    if finding.works:
        return Check("compiler", "note" if finding.slow else "ok", finding.words, finding.todo)
    return Check("compiler", "problem", finding.words, finding.todo)


def _ollama() -> Check:
    """Check the Ollama server with the settings and the request that an agent would use."""
    try:
        installed = reach.models()
    except AgentFailed as error:
        return Check("ollama", "note", str(error).removesuffix("."), "Not needed for search")
    return Check("ollama", "ok", f"answers at {to_ollama().words}; models: {len(installed)}")


def _openai() -> Check:
    return Check("openai", "note", reach.endpoint()[0].removesuffix("."))
