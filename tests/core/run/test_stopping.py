"""The command `stop`, with a loop that answers over a real socket and does not end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core import cli
from core.record.run_lock import Lock
from core.run import commands, stopping
from tests.core.track.nights import with_files


async def test_a_loop_that_does_not_end_makes_stop_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def told(command: commands.Command) -> commands.Reply:
        return commands.Reply(ok=True, words="The running experiment is aborted.")

    monkeypatch.setattr(stopping, "WAIT_S", 0.2)
    folder = with_files(tmp_path)
    lock, server = Lock(folder), commands.Server(folder, told)
    await server.start()
    try:
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(cli.main, ["stop", "--now", "--logs", str(tmp_path)])
    finally:
        await server.close()
        lock.release()
    out, words = capsys.readouterr()
    assert ended.value.code == 1 and "is aborted" in out
    assert "The loop has not ended within 0.2 s. It was told to" in words and "status" in words
