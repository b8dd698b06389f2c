"""Which editor is started, and with what: a real program that writes down its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.system import editor


def program(folder: Path, name: str, code: int = 0) -> Path:
    path = folder / name
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/said\nexit {code}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("name", "line", "arguments"),
    [("vim", 12, ["-n", "+12", "x.py"]), ("nano", 1, ["-n", "x.py"]), ("own-editor", 12, ["-n", "x.py"])],
)
def test_it_opens_at_the_line_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: int, arguments: list[str]
) -> None:
    monkeypatch.setenv("VISUAL", f"{program(tmp_path, name)} -n")
    editor.edit(Path("x.py"), line)
    assert (tmp_path / "said").read_text().split() == arguments


def test_what_cannot_be_started_or_fails_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", str(tmp_path / "nowhere"))
    with pytest.raises(editor.NoEditor, match="could not be started"):
        editor.edit(tmp_path / "x.py")
    monkeypatch.setenv("VISUAL", str(program(tmp_path, "vi", code=3)))
    with pytest.raises(editor.NoEditor, match="code 3"):
        editor.edit(tmp_path / "x.py")
