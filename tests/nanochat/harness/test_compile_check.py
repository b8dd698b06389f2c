"""Whether torch.compile works in the sandbox: on the CPU here, with the rights of a GPU trainer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from core.execution.local import harness_environment
from nanochat.contract.checks import CompilerFinding
from nanochat.harness.compile_check import COMPILERS, diagnosis, lacking, locked_nodes
from tests.conftest import ROOT

# Inductor tries each vector extension of the processor and precompiles headers, which takes four times as long as a plain kernel.
PLAIN = {"TORCHINDUCTOR_VEC_ISA_OK": "0", "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0"}
HIDDEN = """
import sysconfig

_paths = sysconfig.get_paths
sysconfig.get_paths = lambda *a, **k: _paths(*a, **k) | {"include": "/nowhere"}
"""


def check(*options: str, **environment: str) -> CompilerFinding:
    done = subprocess.run(
        [sys.executable, "-m", "nanochat.harness.compile_check", "--json", *options],
        cwd=ROOT, env=harness_environment("cuda") | environment, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=CompilerFinding)


@pytest.mark.skipif(lacking() is not None, reason="here is no compiler, or no headers of Python")
def test_a_kernel_compiles_in_the_sandbox() -> None:
    """Forward and backward, by the real Inductor: it needs a compiler, setuptools and a cache to write to."""
    found = check(**PLAIN)
    assert found.works and found.device and "in the sandbox" in found.words, found.words


@pytest.mark.parametrize("options", [(), ("--quick",)])
def test_without_a_compiler_it_names_one(tmp_path: Path, options: tuple[str, ...]) -> None:
    found = check(*options, PATH=str(tmp_path))
    assert not found.works and "no C compiler" in found.words and "apt install gcc" in found.todo


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is Linux only")
def test_a_compiler_that_the_sandbox_refuses_does_not_count(tmp_path: Path) -> None:
    """Such as one of conda or nix, which lies in the user's folders."""
    (tmp_path / COMPILERS[0]).touch(0o755)
    found = check("--quick", PATH=str(tmp_path))
    assert not found.works and f"{tmp_path / COMPILERS[0]} may not run in the sandbox" in found.words


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="here is no compiler")
@pytest.mark.parametrize("options", [(), ("--quick",)])
def test_without_headers_it_names_their_package(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    found = check(*options, PYTHONPATH=str(tmp_path))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert not found.works and "headers of Python" in found.words and f"python{version}-dev" in found.todo


def test_nodes_that_may_not_be_opened(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch(0o666)
    (tmp_path / "nvidia0").symlink_to(tmp_path / "gone")
    assert locked_nodes(tmp_path) == [tmp_path / "nvidia0"], "a user that is not root lacks a right in the same way"


@pytest.mark.parametrize(
    ("text", "words", "todo"),
    [
        (
            "UserWarning: The NVIDIA driver on your system is too old (found version 11040).",
            "CUDA 11.4",
            "newer driver",
        ),
        (
            "RuntimeError: CUDA driver version is insufficient for CUDA runtime version",
            "driver is too old",
            "newer driver",
        ),
        (
            "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
            "no code for",
            "TORCH_INDEX",
        ),
        ("RuntimeError: Failed to find C compiler. Please specify via CC environment variable", "compiler", "g++"),
        ("main.c:3:10: fatal error: Python.h: No such file or directory", "headers of Python", "-dev"),
        (
            "PermissionError: [Errno 13] Permission denied: '/sbin/ldconfig'\n\n",
            "Permission denied: '/sbin/ldconfig'",
            "",
        ),
        ("", "no reason was given", ""),
    ],
)
def test_what_a_failure_means(text: str, words: str, todo: str) -> None:
    found = diagnosis(f"device: A card\n{text}" if text else "")
    assert not found.works and words in found.words and todo in found.todo


def test_what_works_but_slowly() -> None:
    found = diagnosis("device: A card\nno semaphores\nit compiles\n", 12.0)
    assert found.works and found.slow and "/dev/shm" in found.words
    found = diagnosis("device: A card\nno triton\n")
    assert found.works and found.slow and "triton is not installed" in found.words
