"""The folder of an exported model: what is in it, and whether it is complete."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from core.export.samples import default_prompt
from core.machine.project import UsageError
from core.reporting import phrases
from core.target import TARGET
from core.text import capital
from nanochat.contract.shell import quoted
from nanochat.contract.value import Data

EXPORT = "export"  # in the folder of a run: one folder for each exported version
WEIGHTS, TRAIN, TOKENIZER, FACTS = "model.safetensors", "train.py", "tokenizer.json", "model.json"
LOADER, MODEL, README = "sample.py", "model.py", "README.md"
FILES = (WEIGHTS, TRAIN, TOKENIZER, MODEL, LOADER, README, FACTS)  # the last one makes it complete
SCRIPTS = {name: Path(__file__).with_name(f"{name}.txt") for name in (MODEL, LOADER)}


class Facts(Data, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What model.json says.

    Attributes:
        run: The run.
        version: What was exported, such as "experiment 12".
        commit: Its commit in the repository of the run.
        dataset: What it was trained on.
        device: Where it was trained.
        seed: The seed of the training.
        budget_s: Seconds of training.
        val_bpb: The score of these weights, in bits per byte.
        recorded_bpb: What the run measured on the same seed.
        change, change_error: The change of val_bpb from the start of the run to this version on the scale of the run, and its standard
            error. A minus is better. None for the start, the error also for experiments other than the best.
        confirmed_change, confirmed_error: The same measured afresh, if this is the best and its final check was made.
        params: Number of parameters.
        vocab_size: Tokens of the tokenizer.
        seq_len: Tokens that the model sees at once.
        batches: Batches of random tokens that train.py needs to build its model.
        nats: Mean nats per token on a row of training text, by which a loaded model is recognised.
        weights_bytes: Size of the weights.
        torch: The version of PyTorch.
        seconds: Wall time of the training and its scoring.
    """

    run: str
    version: str
    commit: str
    dataset: str
    device: str
    seed: int
    budget_s: float
    val_bpb: float
    recorded_bpb: float
    params: int | None
    vocab_size: int
    seq_len: int
    batches: int
    nats: float
    weights_bytes: int
    torch: str
    seconds: float
    change: float | None = None
    change_error: float | None = None
    confirmed_change: float | None = None
    confirmed_error: float | None = None

    @property
    def change_words(self) -> str:
        """The change from the start of the run, as a phrase; "" for the start."""
        if self.change is None:
            return ""
        afresh = (
            f"; measured afresh: {phrases.change(self.confirmed_change, self.confirmed_error)}"
            if self.confirmed_change is not None
            else ""
        )
        return f"against the start of the run: {phrases.change(self.change, self.change_error)} ({TARGET.better_sign}){afresh}"


class Export(Data, frozen=True, kw_only=True):
    """What `export --json` prints.

    Attributes:
        folder: The folder of the model.
        fresh: Whether it was trained just now.
        unprotected: Parts of the sandbox that this machine lacked at that training.
        facts: The content of model.json.
    """

    folder: str
    fresh: bool
    unprotected: tuple[str, ...]
    facts: Facts


def read(folder: Path, commit: str) -> Facts | None:
    """Return the facts of a complete export of this commit, or None if the folder has no such export."""
    try:
        facts = msgspec.json.decode((folder / FACTS).read_bytes(), type=Facts)
        complete = all((folder / name).is_file() for name in FILES)
        size = (folder / WEIGHTS).stat().st_size
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return facts if complete and facts.commit == commit and size == facts.weights_bytes else None


def fill(folder: Path, facts: Facts, data: Path) -> None:
    """Write the files beside the weights and train.py. `data`: the folder of the prepared data. Raises OSError."""
    shutil.copyfile(data / TOKENIZER, folder / TOKENIZER)
    for name, script in SCRIPTS.items():
        shutil.copyfile(script, folder / name)
    (folder / README).write_text(_readme(facts), encoding="utf-8")
    (folder / FACTS).write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n")


def move(draft: Path, target: Path) -> None:
    """Move the files of an export to its folder. Other files there stay. Raises OSError."""
    target.mkdir(parents=True, exist_ok=True)
    (target / FACTS).unlink(missing_ok=True)  # until all files are there, the folder is not complete
    for name in FILES:
        os.replace(draft / name, target / name)


def make_empty(out: Path) -> None:
    """Make the folder that the user names for a copy. Raises UsageError if it has content or cannot be made."""
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder. Nothing was trained. Name another one with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{out} cannot be made ({error.strerror}). Nothing was trained. Name another one with --out."
        ) from error


def copy(folder: Path, out: Path) -> None:
    """Copy an export to a folder of the user. Raises OSError."""
    for name in FILES:
        shutil.copyfile(folder / name, out / name)


def _readme(facts: Facts) -> str:
    change = f"* {facts.change_words}\n" if facts.change_words else ""
    size = f"{facts.params:,} parameters, " if facts.params is not None else ""
    return f"""# A model of AutoResearch

{capital(facts.version)} of run {facts.run}, trained for {facts.budget_s:g} s on {facts.device} with seed {facts.seed}.

* val_bpb {facts.val_bpb:.4f} (the run measured {facts.recorded_bpb:.4f} on the same seed); lower is better
{change}* {size}a vocabulary of {facts.vocab_size} tokens, {facts.seq_len} tokens of context
* trained on {facts.dataset} with PyTorch {facts.torch}

```
pip install torch tiktoken
{quoted(["python", LOADER, default_prompt(facts.dataset)])} --tokens 200
```

Your own code can use the model as `{LOADER}` does, in about 20 lines:

```python
import torch
from model import load

found = load()
tokens = torch.tensor([[found.end, *found.tokenizer.encode_ordinary("Once upon a time")]], device=found.device)
logits = found.model(tokens)  # (1, T, {facts.vocab_size}), for at most {facts.seq_len} tokens
```

`{MODEL}` imports `train.py`, which an AI agent may have changed. Read it before you run it outside of AutoResearch's sandbox.

| file | what it is |
| --- | --- |
| `{WEIGHTS}` | the parameters and buffers, in the safetensors format; loading them runs no code |
| `{TRAIN}` | the code of the model, and of its training |
| `{TOKENIZER}` | the tokenizer: a pattern, and the bytes of each token in base64 |
| `{MODEL}` | loads the model: train.py builds it, then it gets the weights |
| `{LOADER}` | prints text |
| `{FACTS}` | the figures above as data |
"""
