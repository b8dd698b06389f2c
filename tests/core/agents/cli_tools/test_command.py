"""Coding agents' command lines, played by small programs: real processes, real git."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.agents.base import AgentFailed, Context
from core.agents.cli_tools.command import Command, sentence
from core.agents.cli_tools.presets import PRESETS
from core.change import edits
from tests.product import TRAIN

PROGRAM = """#!{python}
import os, re, sys
from pathlib import Path
task = sys.stdin.read()
arguments = " ".join(sys.argv[1:])
assert "Change the file nanochat/train.py" in (Path("TASK.md").read_text() if "--message-file" in arguments else task), task
if "codex" in sys.argv[0] and "--skip-git-repo-check" not in sys.argv:
    sys.exit("Not inside a trusted directory and --skip-git-repo-check was not specified.")
path = Path("nanochat/train.py")
Path(".aider.chat.history.md").write_text("notes")
{more}
print("A larger step should help.")
print("Tokens: 4.2k sent, 310 received. Cost: $0.02 message, $0.02 session.")
"""
WORKS = "path.write_text(path.read_text().replace('LR = 0.01', 'LR = 0.02'))"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with a secret and logs that are not tracked."""
    root = tmp_path / "repository"
    for name, text in (("nanochat/train.py", TRAIN), ("core/loop/loop.py", "pass\n"), ("program.md", "# Aim\n"), (".gitignore", ".env\nlogs/\n"),
                       (".env", "KEY=secret\n"), ("logs/r/events.jsonl", "{}\n"), ("notes.txt", "not added\n")):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "nanochat", "core", "program.md", ".gitignore"], cwd=root, check=True)
    return root


def context(**more: Any) -> Context:
    return Context(
        charter="# Aim now\n", source=TRAIN, parent=edits.fingerprint(TRAIN), number=1, seed=1, sigma=0.01, **more
    )


def program(folder: Path, more: str, name: str = "coder") -> Path:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(PROGRAM.format(python=sys.executable, more=more))
    path.chmod(0o755)
    return path


def agent(repository: Path, more: str, **settings: Any) -> Command:
    return Command("coder", str(program(repository.parent, more)), repository, **settings)


@pytest.mark.parametrize("name", PRESETS)
async def test_each_preset_with_a_program_of_its_name(
    name: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(repository.parent, WORKS, name)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    found = await Command(name, PRESETS[name], repository).propose(context())
    assert found.source == TRAIN.replace("LR = 0.01", "LR = 0.02") and found.agent == name
    assert found.hypothesis == "A larger step should help.", "what it cost is no hypothesis"


async def test_the_scratch_copy_holds_what_is_tracked_and_nothing_else(repository: Path) -> None:
    more = (
        WORKS + "\nprint(sorted(str(p) for p in Path('.').rglob('*') if p.is_file()), Path('program.md').read_text())"
    )
    command = agent(repository, more)
    heard: list[str] = []
    command.on_text = heard.append
    await command.propose(context())
    words = heard[-1]
    for name in ("core/loop/loop.py", "nanochat/train.py", "program.md", "TASK.md", ".gitignore", "Aim now"):
        assert name in words
    for name in (".env", "events.jsonl", "notes.txt"):
        assert f"'{name}" not in words and "secret" not in words


async def test_without_a_repository_the_source_files_are_copied(tmp_path: Path) -> None:
    (tmp_path / "plain" / "nanochat").mkdir(parents=True)
    found = await agent(tmp_path / "plain", WORKS).propose(context())
    assert found.source is not None and "LR = 0.02" in found.source


@pytest.mark.parametrize("other", ["core/loop/loop.py", ".github/workflows/ci.yml", ".env", "new.py"])
async def test_another_file_is_refused_with_the_reason_and_then_mended(other: str, repository: Path) -> None:
    more = f"""
if "Your last try was refused" not in task:
    Path({other!r}).parent.mkdir(parents=True, exist_ok=True)
    Path({other!r}).write_text("x")
else:
    assert "You changed {other}; only nanochat/train.py may be changed." in task, task
{WORKS}"""
    assert (await agent(repository, more).propose(context())).source is not None


async def test_the_idea_of_the_backlog_that_it_took_is_noted(repository: Path) -> None:
    ideas = ("try another loss", "a wider model", "set LR to 0.02")
    by_itself = await agent(repository, WORKS).propose(context(backlog=ideas))
    assert by_itself.notes.follows == "set LR to 0.02"
    more = f"assert 'the line FOLLOWS: its number' in task, task\n{WORKS}\nprint('FOLLOWS: 2 as it was the best of the ideas.')"
    named = await agent(repository, more).propose(context(backlog=ideas))
    assert named.notes.follows == "a wider model" and named.hypothesis == "A larger step should help."


async def test_changing_another_file_in_every_try_is_reported(repository: Path) -> None:
    command = agent(repository, "Path('core/loop/loop.py').unlink()")
    with pytest.raises(
        AgentFailed, match=r"coder changed core/loop/loop\.py; only nanochat/train\.py .* Nothing of it was used"
    ):
        await command.propose(context())
    assert (repository / "core" / "loop" / "loop.py").exists()


async def test_the_tool_is_given_the_reason_of_the_last_refusal(repository: Path) -> None:
    more = f"assert 'This very change was tried before' in task.split('refused')[1], task\n{WORKS}"
    await agent(repository, more).propose(context(rejections=("This very change was tried before.",)))


async def test_a_limit_is_one_only_when_nothing_was_done(repository: Path) -> None:
    words = "print('I lowered the learning rate limit from 1 to 0.5; the quota of steps stays.')"
    assert (await agent(repository, f"{WORKS}\n{words}").propose(context())).source is not None
    limit = "print('You have hit your limit, it resets at 03:00.')"
    for more in (limit, f"{WORKS}\n{limit}\nsys.exit(1)"):
        with pytest.raises(AgentFailed, match=r"has reached its usage limit until .*03:01") as raised:
            await agent(repository, more).propose(context())
        assert 0 < raised.value.wait_s <= 86_500


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_one_that_does_not_end_is_ended_with_all_it_started(repository: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    more = f"""
import subprocess
child = subprocess.Popen(["sleep", "600"])
Path({str(pid)!r}).write_text(str(child.pid))
child.wait()"""
    for limit in (1.5, 6.0, 24.0, 96.0):  # until it has had the time to start something
        if not pid.exists():
            with pytest.raises(AgentFailed, match="did not end within"):
                await agent(repository, more, limit_s=limit).propose(context())
    async with asyncio.timeout(100):
        while not gone(int(pid.read_text())):  # noqa: ASYNC110  nobody tells of another's child
            await asyncio.sleep(0.02)


async def test_one_that_leaves_something_behind_has_ended_all_the_same(repository: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    more = f"""
import subprocess
child = subprocess.Popen(["sleep", "600"], start_new_session=True)  # out of the group, with the output in its hands
Path({str(pid)!r}).write_text(str(child.pid))
{WORKS}"""
    try:
        proposal = await agent(repository, more).propose(context())
        assert proposal.hypothesis == "A larger step should help."
        assert not gone(int(pid.read_text()))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


async def test_one_that_cannot_be_started_or_fails(repository: Path) -> None:
    for command in ("/no/such/program", "'unclosed", " "):
        with pytest.raises(AgentFailed, match="cannot be started"):
            await Command("x", command, repository).propose(context())
    with pytest.raises(AgentFailed, match=r"ended with code 3: .*oh no"):
        await agent(repository, "print('oh no'); sys.exit(3)").propose(context())
    with pytest.raises(AgentFailed, match=r"ended with code 3 and printed nothing\.$"):
        await agent(repository, "sys.exit(3)").propose(context())


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "Working ...\n- Wider layers should learn faster.\n\nTokens used: 12,345\n",
            "Wider layers should learn faster.",
        ),
        ("**Why:** a smaller step is steadier\nDone\n", "Why:** a smaller step is steadier"),
        ("Done\n", ""),
        ("\x1b[32mFewer heads are quicker at this width.\x1b[0m\ntotal cost $0.12 in 3 turns.", "32mFewer heads"),
    ],
)
def test_the_last_sentence_is_the_hypothesis(output: str, words: str) -> None:
    found = sentence(output)
    assert found == words or (words and re.search(re.escape(words), found))
