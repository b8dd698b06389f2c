"""The two config files: where they are, which one wins, and files that cannot be read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core.config import files, shown
from core.config.settings import Settings
from core.machine.project import UsageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("XDG_STATE_HOME")
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_where_the_files_are(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.user_file() == home / ".config/autoresearch/config.toml"
    assert files.state_file() == home / ".local/state/autoresearch/app.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # which the specification says to ignore
    assert files.user_file() == home / ".config/autoresearch/config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "x"))
    assert files.user_file() == home / "x/autoresearch/config.toml"


def test_the_file_of_the_project_wins_and_each_value_has_its_source(home: Path) -> None:
    write(home / ".config/autoresearch/config.toml", "agent = 'search'\nbudget = 60\nnotify = 'ntfy:secret'\n")
    write(home / "p/autoresearch.toml", "\ufeffbudget = 120\r\ntheme = 'nord'\r\n")
    found = files.read(home / "p")
    assert found.problem == "" and found.settings == Settings(
        agent="search", budget=120, notify="ntfy:secret", theme="nord"
    )
    said = "Settings: budget from autoresearch.toml; agent from ~/.config/autoresearch/config.toml."
    assert found.sources_text(["agent", "budget"]) == said and found.sources_text([]) == ""
    environment = {"AUTORESEARCH_NOTIFY": "desktop", "AUTORESEARCH_CONTEXT": " "}
    assert files.without_overridden(found.settings, environment).notify is None
    text = shown.as_text(found, environment)
    rows = {line.split()[0]: line.split("  ")[-1] for line in text.splitlines()[3:]}
    assert rows["budget"].strip() == str(home / "p/autoresearch.toml").replace(str(home), "~")
    assert rows["notify"].strip() == "AUTORESEARCH_NOTIFY" and rows["slots"].strip() == "default"
    assert "budget = 60 (overridden by autoresearch.toml)" in shown.file_words(found, found.files[0])
    values = json.loads(shown.as_json(found, {}))["values"]
    assert values["budget"] == {"value": 120.0, "source": str(home / "p/autoresearch.toml")}
    assert values["notify"]["value"] == "ntfy:..." and values["gate"] == {"value": None, "source": "default"}


def test_the_mistakes_of_both_files_are_reported_together(home: Path) -> None:
    write(home / ".config/autoresearch/config.toml", "agnet = 'search'\n")
    write(home / "p/autoresearch.toml", "budget = -1\nslots = 0\n")
    with pytest.raises(UsageError) as refused:
        files.read(home / "p").check()
    words = str(refused.value)
    assert all(
        part in words for part in ("config.toml cannot be used", "agnet", "autoresearch.toml cannot", "budget", "slots")
    )
    assert words.endswith("Nothing was started. Correct this, or add --no-config to `run`.")


def test_files_that_cannot_be_read(home: Path) -> None:
    user, project = home / ".config/autoresearch/config.toml", home / "p/autoresearch.toml"
    assert files.read(home / "p").problem == "" and not any(file.exists for file in files.read(home / "p").files)
    user.mkdir(parents=True)
    write(project, "").write_bytes(b"agent = '\xff'\n")
    found = files.read(home / "p")
    assert [file.problems for file in found.files] == [("It is not a file.",), ("It is not a text in UTF-8.",)]
    project.unlink()
    project.symlink_to("nowhere")
    assert "No such file" in files.read(home / "p").files[1].problems[0]
    write(home / "file", "")
    os.environ["HOME"] = str(home / "file")  # `home` restores it
    assert not files.read(home / "p").files[0].exists


def test_a_refusal_says_which_file_named_the_value(home: Path) -> None:
    write(home / "p/autoresearch.toml", "agent = 'ollama:none'\n")
    config = files.read(home / "p")
    with (
        pytest.raises(UsageError, match=r"has no ollama:none\.\nSettings: agent from autoresearch.toml\.$"),
        config.explaining(),
    ):
        raise UsageError("Ollama has no ollama:none.")
    with pytest.raises(UsageError, match=r"^Something else\.$"), config.explaining():
        raise UsageError("Something else.")
    write(home / "p/autoresearch.toml", "agent = 'search'\n")
    with pytest.raises(UsageError, match=r"is wrong\.$"), files.read(home / "p").explaining():
        raise UsageError("In autoresearch something is wrong.")
