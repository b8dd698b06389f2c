"""The weights of a model as a file in the safetensors format: a JSON header, then the raw tensors. Loading it runs no code.

The trainer writes and reads the file, since only train.py knows the model. The scorer checks it before it leaves the sandbox.

The package `safetensors` reads these files and could replace `save`. It is not used: it refuses tensors that share memory, as tied
embeddings do, and it writes types and notes that `read_header` would have to refuse. `read_header` stays in any case, because the
trusted side bounds the header, the shapes and the offsets of an untrusted file itself, and in Python.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import torch

from nanochat.contract.value import Data
from nanochat.harness.crashes import Contract

FILE = "model.safetensors"
MOST_BYTES = 1 << 30  # of a file; a trainer may write no larger one
MOST_HEADER = 4 << 20  # bytes
COMPILED = "_orig_mod."  # torch.compile puts this into the names of a module's tensors
TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class Entry(Data, frozen=True, kw_only=True):
    """One tensor. `data_offsets` are its first byte and the one after its last, counted from the end of the header."""

    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"]
    shape: Annotated[tuple[Count, ...], msgspec.Meta(max_length=16)]
    data_offsets: tuple[Count, Count]

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def fits(self) -> bool:
        """Whether the offsets hold just as many bytes as the shape needs."""
        first, end = self.data_offsets
        return end - first == self.numel * TYPES[self.dtype].itemsize


class BadWeights(Exception):
    """A file is not what `save` writes. The message is a clause."""


def save(model: Any, path: Path) -> None:
    """Write the parameters and buffers of a model.

    Raises:
        Contract: The model is not a torch module, or it has something that this format cannot hold.
        OSError: The file cannot be written.
    """
    found = _tensors(model)
    names = {kind: name for name, kind in TYPES.items()}
    for name, tensor in found.items():
        if tensor.dtype not in names or tensor.layout is not torch.strided:
            raise Contract(f"its tensor {name[:80]} of the type {tensor.dtype} cannot be saved")
    order = sorted(found, key=lambda name: (-found[name].element_size(), name))  # so that every tensor is aligned
    header, end = {}, 0
    for name in order:
        first, end = end, end + found[name].numel() * found[name].element_size()
        header[name] = {
            "dtype": names[found[name].dtype],
            "shape": list(found[name].shape),
            "data_offsets": [first, end],
        }
    raw = json.dumps(header).encode()
    raw = raw.ljust(-(-len(raw) // 8) * 8)
    if 8 + len(raw) + end > MOST_BYTES:
        raise Contract(
            f"its weights take {(8 + len(raw) + end) / 1e9:.2f} GB, and at most {MOST_BYTES / 1e9:.2f} GB are saved"
        )
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for name in order:
            flat = found[name].detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)


@torch.no_grad()
def load(model: Any, raw: np.ndarray) -> None:
    """Copy saved tensors into a model of the same shape.

    Args:
        model: The model, as train(run) returns it without training.
        raw: The file, uint8 (n,).

    Raises:
        Contract: The model has other tensors than the file.
    """
    header = read_header(raw)
    start, there = 8 + int.from_bytes(raw[:8].tobytes(), "little"), _tensors(model)
    if there.keys() != header.keys():
        odd = sorted(there.keys() ^ header.keys())[0]
        raise Contract(f"the untrained model and the saved weights differ in the tensor {odd[:80]}")
    for name, tensor in there.items():
        entry = header[name]
        if tuple(tensor.shape) != entry.shape:
            raise Contract(f"the tensor {name[:80]} has the shape {tuple(tensor.shape)}, and saved was {entry.shape}")
        if entry.numel:
            first, end = entry.data_offsets
            part = torch.from_numpy(raw[start + first : start + end].copy())
            tensor.copy_(part.view(TYPES[entry.dtype]).view(entry.shape))


def read_header(raw: np.ndarray) -> dict[str, Entry]:
    """Return the entries of a file, uint8 (n,), by the name of the tensor. Raises BadWeights if they do not describe it."""
    size = int.from_bytes(raw[:8].tobytes(), "little")
    if not 2 <= size <= min(MOST_HEADER, len(raw) - 8):
        raise BadWeights("its header is cut off")
    try:
        header = msgspec.json.decode(raw[8 : 8 + size].tobytes(), type=dict[str, Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadWeights(f"its header cannot be read ({str(error)[:100]})") from None
    at = 0
    for entry in sorted(header.values(), key=lambda entry: entry.data_offsets):
        if entry.data_offsets[0] != at or not entry.fits:
            raise BadWeights("its tensors overlap, leave gaps or do not have the size of their shapes")
        at = entry.data_offsets[1]
    if 8 + size + at != len(raw):
        raise BadWeights("it does not end with its last tensor")
    return header


def check(path: Path) -> None:
    """Check a file that an untrusted trainer wrote. Raises BadWeights, and OSError if it cannot be read."""
    if path.is_symlink() or not path.is_file():
        raise BadWeights("it is not a file")
    if not 8 < path.stat().st_size <= MOST_BYTES:
        raise BadWeights(f"it has {path.stat().st_size} bytes")
    read_header(np.memmap(path, dtype=np.uint8, mode="r"))


def _tensors(model: Any) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers of a model by name, whether or not it is compiled. Raises Contract."""
    if not isinstance(model, torch.nn.Module):
        raise Contract(
            f"train(run) returned a {type(model).__name__}, and only the weights of a torch module can be saved"
        )
    found = {name.replace(COMPILED, ""): tensor for name, tensor in model.state_dict().items()}
    for name, tensor in found.items():
        if not isinstance(tensor, torch.Tensor):
            raise Contract(f"its state {name[:80]} is not a tensor, so it cannot be saved")
    return found
