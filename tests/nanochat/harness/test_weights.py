"""The file of a model's weights: what is saved can be loaded, and nothing else leaves the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nanochat.harness import weights
from nanochat.harness.crashes import Contract
from nanochat.harness.weights import BadWeights


class Model(nn.Module):
    """Tensors of several types and shapes, two of which are tied."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.full((3, 5), value))
        self.tied = self.table
        self.low = nn.Parameter(torch.full((7,), value, dtype=torch.bfloat16))
        self.scale = nn.Parameter(torch.tensor(value))
        self.register_buffer("seen", torch.tensor([value > 0, False]))
        self.register_buffer("count", torch.tensor(int(value), dtype=torch.int64))
        self.register_buffer("nothing", torch.zeros(0, 4))


def raw(path: Path) -> np.ndarray:
    return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def written(path: Path, header: object, data: bytes = b"", size: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if size is None else size).to_bytes(8, "little") + text + data)
    return path


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path, trained, fresh = tmp_path / "w", Model(3.0), Model(-1.0)
    weights.save(trained, path)
    weights.check(path)
    weights.load(fresh, raw(path))
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name]), name
    assert fresh.tied is fresh.table


def test_a_compiled_model_is_saved_under_the_names_of_the_plain_one(tmp_path: Path) -> None:
    path, trained, fresh = tmp_path / "w", Model(3.0), Model(-1.0)
    wrapped = nn.Module()
    wrapped.add_module("_orig_mod", trained)  # as torch.compile does
    weights.save(wrapped, path)
    weights.load(fresh, raw(path))
    assert torch.equal(fresh.table, trained.table)


@pytest.mark.parametrize(
    ("model", "why"),
    [(lambda x: x, "function"), (nn.ParameterList([torch.zeros(2, dtype=torch.complex64)]), "complex64")],
)
def test_what_the_format_cannot_hold_is_refused(model: object, why: str, tmp_path: Path) -> None:
    with pytest.raises(Contract, match=why):
        weights.save(model, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    weights.save(nn.Linear(2, 3), tmp_path / "w")
    for other, why in ((nn.Linear(2, 4), "shape"), (nn.Linear(2, 3, bias=False), "differ in the tensor bias")):
        with pytest.raises(Contract, match=why):
            weights.load(other, raw(tmp_path / "w"))


def entry(first: int, end: int, *shape: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": (first, end)}


@pytest.mark.parametrize(
    ("header", "data", "size"),
    [
        (b"{}", b"", 99),
        (b"{}", b"", 2**63),
        (b"[1]", b"", None),
        (b"\xff\xff", b"", None),
        (b'{"a":' * 5000, b"", None),
        ({"a": entry(0, 4, 2)}, bytes(4), None),
        ({"a": entry(0, 8, 2)}, bytes(4), None),
        ({"a": entry(0, 8, 2)}, bytes(12), None),
        ({"a": entry(0, 8, 2), "b": entry(4, 12, 2)}, bytes(12), None),
        ({"a": entry(4, 12, 2)}, bytes(12), None),
        ({"a": entry(0, 4, -1)}, bytes(4), None),
        ({"a": entry(0, 8, 1, dtype="C64")}, bytes(8), None),
    ],
)
def test_a_file_without_weights_is_refused(header: object, data: bytes, size: int | None, tmp_path: Path) -> None:
    with pytest.raises(BadWeights):
        weights.check(written(tmp_path / "w", header, data, size))


def test_a_link_to_weights_is_refused(tmp_path: Path) -> None:
    weights.save(nn.Linear(2, 3), tmp_path / "w")
    (tmp_path / "link").symlink_to(tmp_path / "w")
    with pytest.raises(BadWeights, match="not a file"):
        weights.check(tmp_path / "link")
