"""Lets the start and the best of a run write for the same prompt, and exports them first if need be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from core.export import samples, writing
from core.export.samples import Sample, Samples
from core.export.training import Exported, Exporter, sampling
from core.export.version import BEST, START, Version, find
from core.export.writing import SamplingFailed
from core.machine.project import Project, UsageError
from core.reporting import phrases
from core.run.device_use import check_command_device
from core.run.reading import read_state
from core.text import capital
from nanochat.contract.sampling import Sampled, Sampling


def write_samples(
    project: Project,
    name: str | None,
    prompt: str | None,
    tokens: int,
    temperature: float,
    seed: int,
    *,
    beside: bool,
    say: Callable[[str], None],
) -> Samples:
    """Return what the start and the best of a run write.

    Args:
        project: The source tree and its logs.
        name: The run; None for the running one, else the one that was started last.
        prompt: What the text begins with; None for one that fits the dataset.
        tokens: Most tokens to write.
        temperature: 0 takes the likeliest token.
        seed: Of the choice of tokens.
        beside: Whether to do it although a run uses the device.
        say: Called with a sentence before each training.

    Raises:
        UserError: There is no such run, it cannot be exported, or a model does not answer.
    """
    writing.check_prompt(temperature)
    folder = project.pick(name)
    state = read_state(folder)
    start, best = (find(state, asked) for asked in (START, BEST))
    both = [start] if best.commit == start.commit else [start, best]
    exporter = Exporter(project, folder, state, beside, say)
    if not beside:
        check_command_device(project, folder, exporter.config.device)
    _announce(exporter, both, say)
    exported = exporter.export(both)
    prompt = samples.default_prompt(exporter.config.dataset) if prompt is None else prompt
    if len(both) == 1:
        say(f"Run {folder.name} has kept nothing, so its best is the start.")
    asked = [
        replace(_request(exporter, folder, one), prompt=prompt, tokens=tokens, temperature=temperature, seed=seed)
        for one in exported
    ]
    try:
        texts = writing.write(folder, exporter.config, asked)
    except SamplingFailed as error:
        raise SamplingFailed(f"{error} The exports are kept. Try again.") from error
    found = [_sample(*one) for one in zip(both, exported, texts, strict=True)]
    return Samples(
        run=folder.name, prompt=prompt, temperature=temperature, seed=seed, start=found[0],
        best=found[1] if len(found) > 1 else None,
    )  # fmt: skip


def _announce(exporter: Exporter, both: list[Version], say: Callable[[str], None]) -> None:
    """Say how long the exports take that are needed first."""
    missing = [one for one in both if exporter.existing(one) is None]
    if missing:
        seconds = sum(one.measured.result.total_wall_s for one in missing)
        what = "Two models are" if len(missing) > 1 else "One model is"
        say(f"{what} exported first, which takes about {phrases.duration(seconds)}. Later samples take seconds.")


def _request(exporter: Exporter, folder: Path, exported: Exported) -> Sampling:
    return sampling(folder, exporter.config, exported.folder, exported.facts)


def _sample(which: Version, exported: Exported, sampled: Sampled) -> Sample:
    if sampled.reason:
        raise UsageError(
            f"{capital(which.words)} of run {exported.facts.run} cannot write: "
            f"{phrases.one_line(sampled.reason, 400).rstrip('.')}. Its export in {exported.folder} is kept."
        )
    facts = exported.facts
    return Sample(
        version=which.words, commit=facts.commit, val_bpb=facts.val_bpb, text=sampled.text, tokens=sampled.tokens
    )
