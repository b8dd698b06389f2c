"""What the tests of git have in common: two texts of train.py, git itself, and what a run does with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from core.git.namespace import run_ref
from core.git.repository import Repository

OLD = "LR = 0.1  # rate\n\n\ndef train(run):\n    return None\n"


NEW = OLD.replace("0.1", "0.2")


WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


def git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *WHO, *arguments], cwd=where, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def opened(root: Path) -> Repository:
    return Repository.open(root, root.parent / "logs" / "repository")


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file of a checkout, work tree, index, HEAD, configuration, hooks and the user's own refs; not the objects."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        ours = name.startswith((".git/refs/autoresearch", ".git/refs/heads/autoresearch", ".git/logs/refs"))
        if path.is_file() and not name.startswith(".git/objects/") and not ours:
            found[name] = path.read_bytes()
    return found


def night(repo: Repository, run: str = "nov24") -> tuple[str, str, str]:
    """What a run does: a fit commit, a dropped attempt, a kept one."""
    base = repo.base()
    fit = repo.commit(base, OLD, "Start of the run")
    repo.refs.point(run_ref(run, "fit"), fit)
    repo.refs.point(repo.refs.branch(run), fit)
    dropped = repo.commit(fit, OLD.replace("0.1", "9.9"), "A wild rate")
    repo.refs.point(run_ref(run, "00001"), dropped)
    kept = repo.commit(fit, NEW, "Twice the rate")
    repo.refs.point(run_ref(run, "00002"), kept)
    repo.refs.point(repo.refs.branch(run), kept, [fit])
    return base, fit, kept
