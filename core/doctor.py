"""`doctor`: is everything here that a night needs? One line each: ok, problem or note, and what to do."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from core import profiles, stats
from core.begin import machine
from core.project import Project, data_folder, data_root, manifest, torch_build

LEAST_MEMORY, LEAST_DISK = 3 << 30, 2 << 30
OLLAMA_PORT = 11434

Status = Literal["ok", "problem", "note"]


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    status: Status
    words: str
    todo: str = ""

    @property
    def line(self) -> str:
        return f"{self.status:<8} {self.name:<10} {self.words}{'. ' + self.todo if self.todo else ''}"


def examine(project: Project) -> list[Check]:
    """Look at everything, within a few seconds; nothing is changed."""
    gpus = stats.gpu_memory()
    device, profile = machine()
    return [
        _python(),
        _torch(len(gpus)),
        Check("device", "ok", f"{device}, profile {profile.name}" + (f", {len(gpus)} GPU(s)" if gpus else "")),
        _memory(),
        _disk("logs", project.logs),
        _disk("data disk", data_root()),
        _data(profile),
        _tokenizer(data_folder("python", profile.vocab_size)),
        _git(project),
        _sandbox(project),
        Check("agents", "ok", "search is always there, script:FILE replays a list"),
        _ollama(),
    ]


def _python() -> Check:
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if "microsoft" in platform.release().lower():
        todo = "Keep the source tree in the Linux file system (not under /mnt), and install no GPU driver inside WSL"
        return Check("python", "note", f"{words}, in WSL2: the GPU comes through the Windows driver", todo)
    return Check("python", "ok", words)


def _torch(gpus: int) -> Check:
    code = "import torch; print(torch.__version__, torch.cuda.is_available())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Check("torch", "problem", f"cannot be imported: {last}", "rm -r .venv and make run install it anew")
    version, cuda = done.stdout.split()
    kind = "GPU works" if cuda == "True" else "CPU"
    if gpus and cuda != "True":
        return Check("torch", "problem", f"{version} does not see the GPU", "Install a CUDA build of torch 2.13")
    return Check("torch", "ok", f"{version} ({kind}{', CPU build' if '+cpu' in torch_build() else ''})")


def _memory() -> Check:
    total = stats.memory_total()
    if total < LEAST_MEMORY:
        return Check(
            "memory", "problem", f"{total / 1e9:.1f} GB", "Training wants 3 GB; use --slots 1 and a smaller program"
        )
    return Check("memory", "ok", f"{total / 1e9:.1f} GB")


def _disk(name: str, path: Path) -> Check:
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return Check(name, "problem", f"{path} cannot be written", "Change its rights, or name another folder")
    if free < LEAST_DISK:
        return Check(name, "problem", f"{free / 1e9:.1f} GB free for {path}", "Free some space")
    return Check(name, "ok", f"{free / 1e9:.0f} GB free for {path}")


def _data(profile: profiles.Profile) -> Check:
    ready = [name for name in ("python", profile.dataset) if manifest(data_folder(name, profile.vocab_size))]
    if not ready:
        return Check("data", "note", "nothing is prepared yet", "The first run does it, or: make prepare")
    return Check("data", "ok", f"ready: {', '.join(sorted(set(ready)))}")


def _tokenizer(folder: Path) -> Check:
    if manifest(folder) is None:
        return Check("tokenizer", "note", "comes with the data")
    try:
        count = len(json.loads((folder / "tokenizer.json").read_text())["tokens"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Check("tokenizer", "problem", f"cannot be read ({error})", "make prepare ARGS=--force")
    return Check("tokenizer", "ok", f"{count} tokens and one special")


def _git(project: Project) -> Check:
    if shutil.which("git") is None:
        return Check("git", "problem", "not installed", "Install git")
    version = subprocess.run(["git", "--version"], capture_output=True, text=True).stdout.split()[-1]
    inside = (project.root / ".git").exists()
    where = "this tree is a repository" if inside else "this tree is none, so a private one in logs/ will serve"
    return Check("git", "ok" if inside else "note", f"{version}; {where}")


def _sandbox(project: Project) -> Check:
    done = subprocess.run(
        [sys.executable, "-m", "nanochat.sandbox"], capture_output=True, text=True, cwd=project.root
    )  # fmt: skip
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return Check("sandbox", "problem", f"its check failed: {done.stderr.strip()[-200:]}")
    if found["missing"]:
        todo = "Runs are marked unprotected; a newer Linux kernel with Landlock helps"
        return Check("sandbox", "note", f"missing: {', '.join(found['missing'])}", todo)
    return Check("sandbox", "ok", f"Landlock {found['landlock_abi']}, process and network namespaces, seccomp")


def _ollama() -> Check:
    host = os.environ.get("OLLAMA_HOST", "127.0.0.1")
    parts = urlsplit(host if "//" in host else f"//{host}")
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, OLLAMA_PORT)
    name = parts.hostname or "127.0.0.1"
    try:
        with socket.create_connection(("127.0.0.1" if name == "0.0.0.0" else name, port), timeout=1.0):
            return Check("ollama", "ok", f"answers on {name}:{port}")
    except OSError:
        return Check("ollama", "note", f"no server on {name}:{port}; not needed for search")
