"""Set up torch.compile for trainers: imports in the fork server, and processes that compile kernels."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator

# Inductor imports most of these only when it compiles. In a trainer that takes seconds, and it fails if the standard library or
# setuptools has no compiled modules, as after `uv pip install`.
_NEEDED = (
    "torch._dynamo",
    "torch._functorch.aot_autograd",
    "torch._inductor.async_compile",
    "torch._inductor.codecache",
    "torch._inductor.codegen.cpp",
    "torch._inductor.codegen.cpp_wrapper_cpu",
    "torch._inductor.compile_fx",
    "torch._inductor.cpp_builder",
    "torch._inductor.runtime.triton_heuristics",
    "torch._inductor.scheduler",
    "torch.nn.utils.parametrize",
    "torch.optim",
)
# Packages that may not be installed. Inductor needs setuptools for every CPU kernel.
_OPTIONAL = (
    "setuptools",
    "torch.utils.cpp_extension",
    "torch._inductor.codegen.triton",
    "triton",
    "triton.compiler",
    "triton.runtime",
    "triton.backends",
)


def preload() -> None:
    """Import the modules that torch.compile needs, so that forked processes have them. Takes 5 to 10 seconds.

    Does not start a thread or process, call CUDA, or change the environment.
    """
    with _settings_of_imports(), _without_cuda():
        for name in _NEEDED:
            importlib.import_module(name)
        for name in _OPTIONAL:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    from torch._inductor import config

    # A trainer compiles at most one kernel for the CPU, so a precompiled header costs more time than it saves.
    config.cpp_cache_precompile_headers = False


@contextlib.contextmanager
def _settings_of_imports() -> Iterator[None]:
    """Restore the environment afterwards. Dynamo sets a cache folder when imported, but each trainer uses its own."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="autoresearch-imports-") as folder:
        # Worker processes must be started by each trainer, not by the process it is forked from.
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCH_WARM_POOL": "0"}
        try:
            yield
        finally:
            for name in set(os.environ) - set(before):
                del os.environ[name]
            os.environ |= before


@contextlib.contextmanager
def _without_cuda() -> Iterator[None]:
    """Keep imports from asking the driver for GPUs: a process that has done so cannot fork others that use CUDA.

    Some versions of Inductor ask when they are imported (torch 2.11, torch/_inductor/runtime/benchmarking.py).
    """
    import torch.cuda

    asks = torch.cuda.is_available
    torch.cuda.is_available = lambda: True
    try:
        yield
    finally:
        torch.cuda.is_available = asks


def compile_in_process() -> None:
    """Compile kernels sequentially in this process and its children, for sandboxes where worker processes cannot start."""
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    if (config := sys.modules.get("torch._inductor.config")) is not None:  # it has already read the variable
        config.compile_threads = 1  # type: ignore[attr-defined]


def start_workers() -> None:
    """Start the processes that compile Triton kernels, without waiting for them.

    Call it after dropping rights, since it also starts a thread. The processes need some seconds until they are ready. Until then
    kernels are compiled sequentially.
    """
    if importlib.util.find_spec("triton") is None:
        return
    from torch._inductor import config
    from torch._inductor.async_compile import AsyncCompile

    if (config.compile_threads or 1) > 1:
        AsyncCompile.wakeup()
