"""Lets exported models write, in the sandbox of a run's own harness."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from core.errors import UserError
from core.execution.local import LAUNCH, harness_environment
from core.export.folder import EXPORT
from core.machine.project import UsageError
from core.model import RunConfig
from nanochat.contract.layout import HARNESS
from nanochat.contract.sampling import Sampled, Sampling

LOG = "sampling.log"  # stderr of the harness
SCRATCH = ".sampling-"  # its folder for temporary files begins so
START_S = 120.0  # wall time for starting it


class SamplingFailed(UserError):
    """The models could not be asked. The message says only what happened; whoever asks knows what was kept."""


def write(folder: Path, config: RunConfig, requests: Sequence[Sampling]) -> list[Sampled]:
    """Answer all requests, in order.

    Args:
        folder: The folder of the run.
        config: Its settings.
        requests: What to write.

    Raises:
        SamplingFailed: The harness ended without the answers.
        ExecutorFailed: There is no GPU.
    """
    place, harness = folder / EXPORT, folder / HARNESS
    place.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=place))  # two commands may ask at the same time
    environment = harness_environment(config.device, 0, compiles=config.compiles) | {"TMPDIR": str(scratch)}
    asked = json.dumps(
        msgspec.to_builtins(list(requests))
    )  # not msgspec's JSON: a path may contain bytes that are not UTF-8
    limit_s = START_S + 2 * sum(request.limit_s for request in requests)
    try:
        with (place / LOG).open("wb") as log:
            done = subprocess.run(
                [sys.executable, "-P", "-c", LAUNCH, str(harness), "-m", "nanochat.harness.sampler"],
                input=asked.encode(), stdout=subprocess.PIPE, stderr=log, cwd=harness, env=environment, timeout=limit_s,
            )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SamplingFailed(f"{_words(requests)} did not answer within {limit_s:.0f} s.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != len(requests):
        raise SamplingFailed(
            f"The process that asks {_words(requests).lower()} ended unexpectedly (exit code {done.returncode}). Its last words "
            f"are in {place / LOG}."
        )
    return [msgspec.json.decode(line, type=Sampled) for line in lines]


def _words(requests: Sequence[Sampling]) -> str:
    return "The models" if len(requests) > 1 else "The model"


def check_prompt(temperature: float) -> None:
    """Raise UsageError for a temperature that is not a number from 0 on."""
    if not 0 <= temperature < float("inf"):
        raise UsageError(f"--temperature {temperature:g} must be 0 or more, such as 0.8. Nothing was started.")
