"""Train the shipped train.py and print val_bpb. python benchmarks/training.py [--budget 60] [--seeds 3] [--device cpu] [--profile cpu]

Sets its knobs for this machine as a run does, trains on the prepared `python` dataset for the budget, and measures val_bpb on the
fixed windows. The budget is in CPU seconds of one core on a CPU, and in wall seconds on a GPU. The settings of malloc and OpenMP
are those of an experiment. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.change import knobs
from core.machine import profiles
from core.machine.defaults import default_profile

SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "200000000",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}


def machine() -> str:
    """Return the processor's name, the number of cores and the system."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def fitted(profile: profiles.Profile) -> ModuleType:
    """Return the shipped train.py with the knobs of the profile, as a module."""
    source = knobs.set_knobs((ROOT / "nanochat" / "train.py").read_text(encoding="utf-8"), dict(profile.knobs))
    module = sys.modules["fitted"] = ModuleType("fitted")
    exec(compile(source, "train.py", "exec"), module.__dict__)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of training")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from 0")
    parser.add_argument("--dataset", default="python")
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cpu")
    parser.add_argument("--profile", choices=tuple(profiles.PROFILES), help="default: the one of this machine")
    parser.add_argument("--seq-len", type=int, default=256, help="length of the scoring windows")
    parser.add_argument("--eval-tokens", type=int, default=94_208)
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        # malloc and OpenMP read these when a process starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **SETTINGS})

    import torch

    from nanochat import local
    from nanochat.data.prepared import DataError

    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        prepared = local.find_data(options.dataset)
    except DataError as error:
        sys.exit(str(error))
    profile = profiles.named(options.profile) if options.profile else default_profile(options.device)[1]
    train = fitted(profile)
    print(f"machine: {machine()}; torch {torch.__version__}; computing in {train.compute_dtype(device)}")
    print(f"profile {profile.name}: {', '.join(f'{k} = {v}' for k, v in profile.knobs.items()) or 'as shipped'}")
    print(
        f"data: {prepared.folder.name}, {len(prepared.tokens('train')):,} training tokens; budget {options.budget:g} s"
    )
    scores = []
    for seed in range(options.seeds):
        model, figures = local.train_once(
            train.train, prepared, device=device, seed=seed, budget_s=options.budget, seq_len=options.seq_len
        )
        score = local.bits_per_byte(
            model, prepared, device=device, seq_len=options.seq_len, eval_tokens=options.eval_tokens
        )
        scores.append(score)
        print(
            f"seed {seed}: val_bpb {score:.4f}  {figures.tokens / figures.seconds:,.0f} tokens/s  {figures.steps} batches"
            f"  {figures.tokens:,} tokens  {figures.seconds:.1f} s charged  {figures.wall_s:.1f} s wall",
            flush=True,
        )
    if len(scores) > 1:
        print(f"mean {statistics.mean(scores):.4f}, standard deviation {statistics.stdev(scores):.4f}")


if __name__ == "__main__":
    main()
