"""The doctor on this very machine: a line a check, nothing changed, problems with what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from core import doctor
from core.project import Project, find


def by_name(project: Project) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine(project)}


def test_every_part_is_looked_at() -> None:
    found = by_name(find())
    assert set(found) >= {
        "python",
        "torch",
        "device",
        "memory",
        "logs",
        "data",
        "tokenizer",
        "git",
        "sandbox",
        "agents",
    }
    assert found["python"].status == found["torch"].status == "ok"
    assert all("\n" not in check.line for check in found.values())
    assert all(check.todo for check in found.values() if check.status == "problem")


def test_missing_data_is_a_note_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "none"))
    found = by_name(find(logs=tmp_path / "logs"))
    assert found["data"].status == "note" and "prepare" in found["data"].todo
    assert not (tmp_path / "none").exists() and not (tmp_path / "logs").exists()


def test_an_ollama_server_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.getsockname()[1]}")
        assert by_name(find())["ollama"].status == "ok"
    assert by_name(find())["ollama"].status == "note"
