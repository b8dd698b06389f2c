"""The data of a run is checked before it is opened."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from core.machine.project import Project, UsageError
from core.run.data_check import check_data
from core.run.options import Options
from core.run.plan import make_plan
from nanochat.data.prepare import prepare


def test_data_is_checked_before_a_run_begins(tmp_path: Path, corpus: Path) -> None:
    project, options = Project(tmp_path, tmp_path / "logs"), Options(dataset=f"text:{corpus}", profile="tiny")
    prepared = prepare(f"text:{corpus}", 320)
    config, folder = make_plan(project, options).config, tmp_path / "logs" / "r"
    check_data(config, True, folder)
    with pytest.raises(UsageError, match=r"too little text: its (val|test) split .* Nothing was started."):
        check_data(msgspec.structs.replace(config, seq_len=2000), True, folder)
    content = (prepared / "train.bin").read_bytes()
    (prepared / "train.bin").write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(UsageError, match=r"train.bin has changed. .*make prepare ARGS='--dataset text:.* --vocab 320'"):
        check_data(config, True, folder)
    assert not project.logs.exists()
