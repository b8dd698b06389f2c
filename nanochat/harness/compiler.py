"""torch.compile in a trainer: what the fork server imports for it, and how many processes compile kernels."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator

# Inductor imports most of these only while it compiles. In a trainer that takes seconds, and it fails where the standard
# library has no compiled modules. `torch.utils.cpp_extension` is not among them: it asks CUDA whether it is there, and
# after that no forked process can use CUDA.
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
# Packages that a machine may lack. Inductor needs setuptools for every kernel on the CPU.
_OPTIONAL = (
    "setuptools",
    "torch._inductor.codegen.triton",
    "triton",
    "triton.compiler",
    "triton.runtime",
    "triton.backends",
)


def preload() -> None:
    """Import what torch.compile needs, so that every process forked from here has it.

    Takes 5 to 10 seconds. Starts no thread and no process, makes no call to CUDA, and leaves the environment as it was.
    """
    with _settings_of_imports():
        for name in _NEEDED:
            importlib.import_module(name)
        for name in _OPTIONAL:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


@contextlib.contextmanager
def _settings_of_imports() -> Iterator[None]:
    """Dynamo names a folder for caches in the environment when it is imported. Each trainer sets its own."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="autoresearch-imports-") as folder:
        # Workers belong to a trainer, not to the process that it is forked from.
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCH_WARM_POOL": "0"}
        try:
            yield
        finally:
            for name in set(os.environ) - set(before):
                del os.environ[name]
            os.environ |= before


def compile_in_process() -> None:
    """Compile kernels one after the other in this process and its children: worker processes cannot start here."""
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    if (config := sys.modules.get("torch._inductor.config")) is not None:  # it has read the variable already
        config.compile_threads = 1  # type: ignore[attr-defined]


def start_workers() -> None:
    """Start the processes that compile kernels for Triton, without waiting for them. Starts a thread too: drop rights before.

    They need some seconds until they are ready. Until then kernels are compiled one after the other.
    """
    if importlib.util.find_spec("triton") is None:
        return
    from torch._inductor import config
    from torch._inductor.async_compile import AsyncCompile

    if (config.compile_threads or 1) > 1:
        AsyncCompile.wakeup()
