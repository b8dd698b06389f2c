"""Texts of the start and the best of a run for the same prompt, as data and as text. Pure."""

from __future__ import annotations

import io

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.text import capital, sanitize_text
from nanochat.contract.value import Data

WIDTH = 100  # characters where there is no terminal
SIDE_BY_SIDE = 100  # characters from which two texts stand beside each other
PROMPTS = {"python": "def ", "tinystories": "Once upon a time"}  # by dataset
PROMPT = "The "  # for all others


class Sample(Data, frozen=True, kw_only=True):
    """What one version writes. `text` follows the prompt."""

    version: str  # such as "the start"
    commit: str
    val_bpb: float  # of the weights that wrote it
    text: str
    tokens: int


class Samples(Data, frozen=True, kw_only=True):
    """What `sample --json` prints. `best` is None where the run has kept nothing: its best is the start."""

    run: str
    prompt: str
    temperature: float
    seed: int
    start: Sample
    best: Sample | None


def default_prompt(dataset: str) -> str:
    """Return a prompt that fits the dataset."""
    return PROMPTS.get(dataset, PROMPT)


def as_json(samples: Samples) -> str:
    return msgspec.json.encode(samples).decode()


def as_text(samples: Samples, width: int, styled: bool) -> str:
    """Return the texts, beside each other where `width` characters are enough, else one below the other.

    `styled`: with escape sequences for a terminal.
    """
    console = Console(
        width=width, file=io.StringIO(), force_terminal=styled, color_system="standard" if styled else None,
        highlight=False, markup=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    both = [samples.start] + ([samples.best] if samples.best is not None else [])
    if len(both) > 1 and width >= SIDE_BY_SIDE:
        table = Table.grid(padding=(0, 4, 0, 0), expand=True)
        for _ in both:
            table.add_column(ratio=1, overflow="fold")
        table.add_row(*(_title(one) for one in both))
        table.add_row(*(_body(samples.prompt, one) for one in both))
        console.print(table)
    else:
        for number, one in enumerate(both):
            if number:
                console.print()
            console.print(_title(one))
            console.print(_body(samples.prompt, one))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().split("\n"))


def _title(sample: Sample) -> Text:
    return Text(f"{capital(sample.version)}, val_bpb {sample.val_bpb:.4f}", style="bold")


def _body(prompt: str, sample: Sample) -> Text:
    return Text(sanitize_text(prompt), style="dim").append(sanitize_text(sample.text), style="not dim")
