"""Import directions, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
READ_SIDE = {
    *(f"core.{name}" for name in ("entry", "errors", "model", "text", "verdicts")),
    "core.change.edits", "core.change.touched",  # what the human writes is checked before it is sent
    "core.charter", "core.charter.front_matter",
    "core.charter.adopt",  # the only one that writes: a limit into program.md, when the human asks for it
    "core.config.files",
    *(f"core.judging.{name}" for name in ("final_check", "gain", "noise", "pairing", "schedule")),
    "core.machine.project", "core.machine.stats",
    "core.target",  # the name and the direction of the score
    *(f"core.record.{name}" for name in (
        "backlog", "events", "experiment", "fold", "hints", "journal", "live", "process_start", "run_lock", "state",
    )),
    *(f"core.reporting.{name}" for name in (
        "activity", "axes", "comparison", "findings", "kept_afresh", "log_lines", "phrases", "results", "run_comparison", "run_table",
        "scoreboard", "status", "summary",
    )),
    "core.run.applied", "core.run.comparing", "core.run.listing", "core.run.reading",
    "core.run.background", "core.run.backlog", "core.run.commands",  # how to start a loop, ideas, and commands to the loop
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """Every module that a file imports, with its parents."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            found |= {".".join(parts[: i + 1]) for i in range(len(parts))}
    return found


def imported_modules(path: Path) -> set[str]:
    """Every module of `core` that a file imports, itself or a name of it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if is_module(name) else node.module for name in names}
    return {name for name in found if name.startswith("core.")}


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_layers_and_purity_hold_as_pyproject_says() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_core_imports_nothing_of_nanochat_but_the_contract() -> None:
    for path in (ROOT / "core").rglob("*.py"):
        ours = {name for name in imports(path) if name.startswith("nanochat.")}
        assert all(name.startswith("nanochat.contract") for name in ours), path


def test_the_app_imports_only_these_modules_of_core() -> None:
    """Its read side. The contract of import-linter forbids other packages, also those that these would import."""
    found = {name for path in (ROOT / "tui").rglob("*.py") for name in imported_modules(path)}
    assert found - READ_SIDE == set(), "name it in READ_SIDE if the app should know it"
    assert READ_SIDE - found == set(), "the app no longer imports these"


def test_the_contract_needs_only_small_packages() -> None:
    allowed = {"__future__", "nanochat", "msgspec", "platformdirs", "certifi", "idna", *sys.stdlib_module_names}
    for path in (ROOT / "nanochat" / "contract").rglob("*.py"):
        found = imports(path)
        assert {name.split(".")[0] for name in found} <= allowed, path
        assert {name for name in found if name.startswith("nanochat.")} <= {
            name for name in found if name.startswith("nanochat.contract")
        }, path


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("core.session", "torch,textual,numpy,matplotlib,ray"),
        ("core.run.report_file", "torch,textual,numpy,matplotlib"),
        ("core.cli", "asyncio,git,yaml"),
        ("tui.app", "torch,git,yaml,pydantic"),
        (
            "tui.app",
            "psutil,markdown_it,rich.markdown,core.run.comparing,core.run.listing",
        ),  # what the first picture does without
    ],
)
def test_importing_does_not_drag_in(module: str, absent: str) -> None:
    code = f"import sys, {module}; print(sorted(set({absent.split(',')!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_every_package_is_installed() -> None:
    """`pip install .` takes the list of pyproject.toml."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("core", "nanochat", "tui")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert sorted(listed) == sorted(found)
