"""Defaults for a run on this machine: device, profile, parallel experiments, amount of data."""

from __future__ import annotations

from collections.abc import Sequence

from core.machine import profiles, stats
from core.machine.project import detect_device
from nanochat.contract import dataset as contract


def default_profile(device: str | None = None) -> tuple[str, profiles.Profile]:
    """Return the given or default device of this machine, and the profile that fits it."""
    gpus = stats.gpu_memory()
    device = device or detect_device(len(gpus))
    return device, profiles.choose(device, min(gpus, default=0), stats.memory_total(), stats.multiplies_bf16())


def usable_slots(wanted: int, device: str, cards: Sequence[str] | None) -> tuple[int, str]:
    """Return how many experiments train in parallel, and a sentence if that is fewer than `wanted` ('' otherwise).

    There is at most one on each GPU, since two trainings would share its memory and time.

    Args:
        wanted: How many are asked for.
        device: cpu, cuda or mps.
        cards: The usable GPUs; None if the driver does not say.
    """
    most = max(1, len(cards or ())) if device == "cuda" else 1
    if device == "cpu" or wanted <= most:
        return wanted, ""
    gpus = "1 GPU" if most == 1 else f"{most} GPUs"
    return (
        most,
        f"{wanted} parallel trainings were requested, but only {most} can run: one per GPU, with {gpus} usable.",
    )


def scored_windows(vocab_size: int) -> tuple[int, int]:
    """Return the length of the windows for scoring, in tokens, and how many are needed at least.

    They come from this machine's profile. If that has another vocabulary size, they come from the profile that needs least.
    """
    device, profile = default_profile()
    if profile.vocab_size == vocab_size:
        return profile.seq_len, contract.least_windows(device)
    all_of_them = profiles.PROFILES.values()
    others = [other for other in all_of_them if other.vocab_size == vocab_size] or list(all_of_them)
    windows = [(p.seq_len, contract.least_windows("cpu" if p.dataset == "python" else "cuda")) for p in others]
    return min(windows, key=lambda one: one[0] * one[1])
