"""The scratch copy in which a coding agent works. It has the tracked files only, so it contains no secrets and no logs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from core.target import TARGET

TASK = "TASK.md"

TRAIN = Path(TARGET.path)
PLAIN = ("program.md", "README.md", "prepare.py", "pyproject.toml", "nanochat")  # copied if there is no git repository
NOTES = (".claude", ".codex", ".opencode", ".aider")  # prefixes of the tools' own files
GIT_S = 30.0

Seen = dict[Path, str]  # the files in a folder, with their hashes


async def lay_out(root: Path, folder: Path, source: str, charter: str, task: str) -> Seen:
    """Fill the folder with the tracked files, this train.py and program.md, and the task. Returns its files."""
    for path in await _tracked(root):
        origin, copy = root / path, folder / path
        if origin.is_file() and not origin.is_symlink():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin, copy)
    for path, text in ((TRAIN, source), (Path("program.md"), charter), (Path(TASK), task)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return look(folder)


async def _tracked(root: Path) -> list[Path]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        process = await asyncio.create_subprocess_exec(
            "git", "-C", str(root), "ls-files", "-z", env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), GIT_S)
    except (OSError, TimeoutError):
        out = b""
    names = [os.fsdecode(name) for name in out.split(b"\0") if name]
    return [Path(name) for name in names] or _plain(root)


def _plain(root: Path) -> list[Path]:
    plain = []
    for name in PLAIN:
        paths = [root / name] if (root / name).is_file() else sorted((root / name).rglob("*.py"))
        plain += [path.relative_to(root) for path in paths]
    return plain


def look(folder: Path) -> Seen:
    """Return the files below a folder, without links and compiled modules."""
    seen = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
            seen[path.relative_to(folder)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return seen


def changed(before: Mapping[Path, str], after: Mapping[Path, str]) -> list[str]:
    """Return the files other than train.py that were changed, created or deleted. New files of the tools themselves do not count."""
    paths = [path for path in {*before, *after} if path != TRAIN and before.get(path) != after.get(path)]
    return sorted(str(path) for path in paths if path in before or not path.parts[0].startswith(NOTES))
