"""What a start fills in before it opens the run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from core import cli, session
from core.machine.profiles import named
from core.machine.project import Project
from core.record.run_lock import Lock
from core.run import background
from core.run.choose_run import try_read_header
from core.run.options import Options, StartOptions
from core.run.plan import Plan
from tests.core.run.runs import START, write_run


@pytest.mark.parametrize(
    ("agent", "options", "start", "device", "slots"),
    [
        ("search", Options(), StartOptions(), "cpu", 2),
        ("ollama:qwen", Options(), StartOptions(), "cpu", 1),
        ("search, ollama:qwen", Options(), StartOptions(), "cpu", 1),
        ("ollama:qwen", Options(), StartOptions(tenancy="remote"), "cpu", 2),
        ("ollama:qwen", Options(slots=2), StartOptions(), "cpu", 2),
        ("ollama:qwen", Options(), StartOptions(), "cuda", 2),
    ],
)
def test_a_language_model_on_the_same_cpu_takes_the_place_of_a_training(
    tmp_path: Path, agent: str, options: Options, start: StartOptions, device: str, slots: int
) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    config = try_read_header(write_run(project, "old", START))
    assert config is not None
    given = Options(agent=agent, slots=options.slots)
    plan = Plan(project.logs / "new", replace(config, device=device, slots=2), named("cpu"), new=True, options=given)
    chosen, why = session._with_agent(project, plan, start, shown=False)
    assert (chosen.config.agent, chosen.config.slots, why) == (agent, slots, "")
    assert chosen.options.slots == (slots if slots == 1 else options.slots)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ""),
        (["--max-hours", "2"], "so --max-hours has no effect. `make stop ARGS=night` first, then give it again."),
        (
            ["--max-hours", "2", "--agent", "search", "--no-report"],
            "so --max-hours, --no-report and --agent have no effect.",
        ),
    ],
)
def test_a_run_at_work_says_which_given_options_have_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """What comes from a config file counts for the next start, and was not given now."""
    (tmp_path / "nanochat").mkdir()
    for name in ("train.py", "run.py"):
        (tmp_path / "nanochat" / name).write_text("")
    (tmp_path / "autoresearch.toml").write_text('max-crashes = 7\ngate = "auto"\nbeside = true\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(background, "can_show_app", lambda: True)
    opened: list[Sequence[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: opened.append(command) or exit(0))
    lock = Lock(write_run(Project(tmp_path, tmp_path / "logs"), "night", START))
    with pytest.raises(SystemExit):
        cli.main(["run", "--name", "night", *words])
    lock.release()
    printed = capsys.readouterr().out
    assert ("no effect" in printed) is bool(said) and said in printed
    assert [word for word in opened[0] if "no effect" in word] == [
        line for line in printed.splitlines() if "no effect" in line
    ]
