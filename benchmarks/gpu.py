"""Measure the speed of this GPU, and the share of an experiment that is training. python benchmarks/gpu.py

Runs one experiment with the card's profile in the real harness twice: first all kernels are compiled, then they are reused. Then
trains the same model without the harness, as an upper limit. Prints tokens/s, MFU, seconds by part, the share of wall time in
training at a budget of 300 s, peak memory, and how far answers differ. Takes under 5 minutes. Nothing is asserted or kept.

    python benchmarks/gpu.py [--profile gpu-24] [--seconds 12]
    python benchmarks/gpu.py --device cpu       the same code on tiny shapes, to check that it works
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from gpu_experiments import LIMIT_S, Deadline, Setting, experiments, plain_loop, say
from gpu_report import NOT_A_GPU, describe, report
from trainings import Unmeasured, fitted

from core.machine import profiles, stats
from core.machine.defaults import default_profile
from core.machine.profiles import Profile
from core.machine.project import lacking

CORPUS_BYTES = {"cuda": 32_000_000, "cpu": 800_000}
SECONDS = {"cuda": 12.0, "cpu": 2.0}


def texts() -> Iterator[Path]:
    """Yield Python sources of the standard library and of installed packages, always in the same order."""
    paths = sysconfig.get_paths()
    for root in (paths["stdlib"], paths["purelib"]):
        for folder, names, files in os.walk(root):
            names[:] = sorted(name for name in names if name not in ("site-packages", "dist-packages", "__pycache__"))
            yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


def collect_text(folder: Path, most: int) -> int:
    """Copy about `most` bytes of sources into a new folder. Returns the bytes copied."""
    folder.mkdir()
    size = 0
    largest = min(400_000, most // 50)  # small files, so that each split gets some
    for count, path in enumerate(texts()):
        if size >= most:
            break
        with contextlib.suppress(OSError, UnicodeDecodeError):
            raw = path.read_bytes()
            raw.decode()
            if 500 <= len(raw) <= largest:
                (folder / f"{count:06d}.txt").write_bytes(raw)
                size += len(raw)
    return size


def prepare_data(folder: Path, device: str, vocab_size: int) -> Path:
    """Make a corpus in `folder`, prepare it with prepare.py and return the folder of prepared data. Raises Unmeasured."""
    corpus = folder / "corpus"
    collect_text(corpus, CORPUS_BYTES[device])
    dataset = f"text:{corpus}"
    done = subprocess.run(
        [sys.executable, str(ROOT / "prepare.py"), "--dataset", dataset, "--vocab", str(vocab_size)],
        env={**os.environ, "AUTORESEARCH_DATA": str(folder / "data")}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise Unmeasured(f"The data could not be prepared: {done.stderr.strip()[-300:]}")
    (made,) = (folder / "data").glob(f"*-v{vocab_size}")
    return made


def card() -> tuple[str, str]:
    """Return the card's name, and a line that describes card and driver."""
    gpu = stats.gpus()[0]
    memory = f", {gpu.memory_total / 2**30:.1f} GiB" if gpu.memory_total else ""
    return gpu.name, f"{gpu.name}{memory}, driver {driver_version()}"


def driver_version() -> str:
    try:
        import pynvml

        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
        return version if isinstance(version, str) else version.decode()
    except Exception:  # a missing version must not end the benchmark
        return "unknown"


def run(device: str, profile: Profile, seconds: float, folder: Path) -> None:
    """Measure and print everything. Raises Unmeasured if no experiment was scored."""
    deadline = Deadline(LIMIT_S)
    card_name, card_line = card() if device == "cuda" else ("", "none: the CPU")
    if device != "cuda":
        say(NOT_A_GPU)
    say("Preparing data ...")
    data = prepare_data(folder, device, profile.vocab_size)
    setting = Setting(device, profile, fitted(profile), data, folder, seconds)
    describe(setting, card_line)
    setting, start_s, cold, warm = asyncio.run(experiments(setting, deadline))
    plain = plain_loop(setting, deadline)
    report(setting, card_name, start_s, cold, warm, plain)
    say(f"Measured in {LIMIT_S - deadline.left:.0f} s.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--profile", choices=tuple(profiles.PROFILES), help="default: the card's; tiny on a CPU")
    parser.add_argument("--seconds", type=float, help="of training in each experiment; default: 12, 2 on a CPU")
    options = parser.parse_args()
    if options.seconds is not None and not 0.5 <= options.seconds <= 60:
        parser.error("--seconds must lie between 0.5 and 60.")
    if options.device == "cuda" and (lack := lacking("cuda", len(stats.gpu_memory()))):
        print(f"Nothing was measured: {lack}. --device cpu tries the benchmark without a card.", file=sys.stderr)
        return 2
    default = default_profile("cuda")[1] if options.device == "cuda" else profiles.named("tiny")
    profile = profiles.named(options.profile) if options.profile else default
    with tempfile.TemporaryDirectory(prefix="autoresearch-benchmark-") as folder:
        try:
            run(options.device, profile, options.seconds or SECONDS[options.device], Path(folder))
        except Unmeasured as error:
            print(f"{error} Nothing was kept; `make doctor` looks for what is missing.", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
