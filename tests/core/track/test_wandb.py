"""W&B offline, read back from the files that `wandb sync` sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.judging import gain
from core.machine.project import UsageError
from core.run.reading import read_state
from core.track import registry
from core.track.base import Destination
from tests.core.track.nights import START_AND_TRAINED, exported, with_files

wandb = pytest.importorskip(
    "wandb", reason="`.venv/bin/python -m pip install -c requirements-track.txt wandb` brings it"
)
BLOCK, HEAD = 32768, 7  # bytes of a block, and of the head of a piece of a record


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a .wandb file, which is a log of LevelDB behind a head of the same size as that of a piece."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), HEAD, b""
    while at + HEAD <= len(data):
        if BLOCK - at % BLOCK < HEAD:
            at += BLOCK - at % BLOCK
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + HEAD : at + HEAD + size]
        at += HEAD + size
        if kind in (1, 4):  # a whole record, or its last piece
            yield Record.FromString(whole)
            whole = b""


def read(folder: Path, number: int) -> tuple[Any, dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Return the run, its config, its history and its summary."""
    [path] = folder.glob(f"wandb/autoresearch/wandb/offline-run-*-{number:05d}/*.wandb")
    run, history, summary, config = None, [], {}, {}
    for record in records(path):
        if record.WhichOneof("record_type") == "run":
            run = record.run
            config.update({item.key: json.loads(item.value_json) for item in run.config.update})
        for item in record.summary.update:
            summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        if record.WhichOneof("record_type") == "history":
            row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            history.append({**row, "_step": record.history.step.num})
    return run, config, history, summary


def test_every_experiment_is_a_run_of_one_group(tmp_path: Path) -> None:
    folder = with_files(tmp_path)
    said = exported(folder, registry.make("wandb", Destination(folder)))
    assert f"{START_AND_TRAINED} exported, 0 were" in said[-1] and "Nothing was sent." in said[-1]
    state, ids, groups = read_state(folder), set(), set()
    for number in (0, 1, 3, 4, 5, 6, 7, 8, 9):
        run, *_ = read(folder, number)
        ids.add(run.run_id)
        groups.add(run.run_group)
    assert ids == {f"{state.id[:16]}-{number:05d}" for number in (0, 1, 3, 4, 5, 6, 7, 8, 9)}
    assert groups == {f"nov23-{state.id[:6]}"}
    run, config, history, summary = read(folder, 8)
    assert run.project == "autoresearch" and run.display_name.startswith("#8 ") and list(run.tags) == ["kept"]
    assert config["LR"] == 0.02 and config["hypothesis"] == "A larger step still." and config["verdict"] == "kept"
    losses = [row["train/loss"] for row in history if "train/loss" in row]
    assert len(losses) > 10 and losses[0] > losses[-1]
    assert summary["val_bpb"] == pytest.approx(gain.Scale(state).of(state.experiments[8]))
    assert summary["kept"] == 1 and summary["change"] < 0 < summary["change_error"]


def test_a_second_export_adds_only_what_is_new(tmp_path: Path) -> None:
    folder = with_files(tmp_path)
    exported(folder, registry.make("wandb", Destination(folder)))
    ledger = folder / "wandb" / "autoresearch" / "exported.txt"
    ids = ledger.read_text().splitlines()
    ledger.write_text("".join(f"{one}\n" for one in ids[:-1]))  # as if the last one had been interrupted
    said = exported(folder, registry.make("wandb", Destination(folder)))
    assert f"1 exported, {START_AND_TRAINED - 1} were" in said[-1] and ledger.read_text().splitlines() == ids
    assert len(list(folder.glob("wandb/autoresearch/wandb/offline-run-*"))) == START_AND_TRAINED
    assert "0 exported" in exported(folder, registry.make("wandb", Destination(folder)))[-1]
    assert f"{START_AND_TRAINED} exported" in exported(folder, registry.make("wandb", Destination(folder, "other")))[-1]


def test_without_a_login_or_a_record_nothing_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(UsageError, match="W&B records nothing"):
        registry.make("wandb", Destination(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(UsageError, match="needs you to log in"):
        registry.make("wandb", Destination(tmp_path))
    assert not (tmp_path / "wandb").exists()
