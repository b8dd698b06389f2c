"""The tests of tests/gpu without a card: not collected by the whole suite, skipped with a reason where they are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.machine import stats
from core.machine.project import lacking

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_OTHERS = [f"--ignore=tests/{name}" for name in ("core", "e2e", "nanochat", "tui", "llm")]
PLUGINS = ("-p", "pytest_asyncio.plugin", "-p", "pytest_timeout")  # the others take seconds to import


def run_pytest(*arguments: str, timeout: float = 250) -> subprocess.CompletedProcess[str]:
    code = "import sys, pytest; code = pytest.main(sys.argv[1:]); print('torch' in sys.modules); sys.exit(code)"
    return subprocess.run(
        [sys.executable, "-c", code, *PLUGINS, "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_the_whole_suite_does_not_collect_them() -> None:
    """`make test` names no path, so the folder `tests` is collected; the other folders are left out to save time."""
    done = run_pytest("--collect-only", "tests", *WITHOUT_OTHERS)
    assert done.returncode == 0 and "test_gpu_suite.py" in done.stdout, done.stdout
    assert "tests/gpu/" not in done.stdout


@pytest.mark.skipif(not lacking("cuda", len(stats.gpu_memory())), reason="here is a card: make test-gpu runs them")
def test_without_a_card_each_says_why_and_torch_is_not_imported() -> None:
    done = run_pytest("tests/gpu", "-rs", timeout=60)
    *_, summary, torch_imported = done.stdout.splitlines()
    assert done.returncode == 0 and torch_imported == "False", done.stdout
    assert "skipped" in summary and "passed" not in summary and "failed" not in summary
    reasons = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert reasons and all("needs a CUDA card: " in line for line in reasons)
