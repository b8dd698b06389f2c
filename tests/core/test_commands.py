"""Commands over a real socket: each one acknowledged, nonsense refused, a missing loop named."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path

import msgspec
import pytest

from core import commands
from core.commands import NoLoop, Reply, Server, send


async def echo(command: commands.Command) -> Reply:
    return Reply(ok=True, words=msgspec.to_builtins(command)["cmd"])


async def test_a_command_is_acknowledged(tmp_path: Path) -> None:
    server = Server(tmp_path, echo)
    await server.start()
    reply = await asyncio.to_thread(send, tmp_path, commands.Skip(number=3, reason="seen before"))
    assert reply == Reply(ok=True, words="skip")
    await server.close()


async def test_the_address_is_short_even_in_a_deep_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    deep.mkdir(parents=True)
    server = Server(deep, echo)
    await server.start()
    assert (await asyncio.to_thread(send, deep, commands.Pause())).ok
    await server.close()


def listener(path: Path) -> socket.socket:
    path.parent.mkdir(exist_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    made.listen()
    return made


async def start_beside(folder: Path, address: bytes) -> None:
    (folder / commands.ADDRESS).write_bytes(address)
    server = Server(folder, echo)
    await server.start()
    assert (await asyncio.to_thread(send, folder, commands.Pause())).ok
    await server.close()


async def test_the_socket_of_a_killed_loop_is_removed(tmp_path: Path) -> None:
    left = Path(tempfile.mkdtemp(prefix="autoresearch-")) / "s"
    listener(left).close()  # as a killed process leaves it
    await start_beside(tmp_path, str(left).encode())
    assert not left.parent.exists()


async def test_no_other_socket_or_file_is_touched(tmp_path: Path) -> None:
    living = Path(tempfile.mkdtemp(prefix="autoresearch-")) / "s"
    foreign, plain = tmp_path / "docker" / "s", tmp_path / "plain" / "s"
    plain.parent.mkdir()
    plain.write_text("no socket")
    with listener(living):
        listener(foreign).close()
        for address in (str(living).encode(), str(foreign).encode(), str(plain).encode(), b"\xff\xfe\0", b""):
            await start_beside(tmp_path, address)
        assert living.exists() and foreign.exists() and plain.exists()
    living.unlink()
    living.parent.rmdir()


async def test_nonsense_is_refused_and_the_server_goes_on(tmp_path: Path) -> None:
    server = Server(tmp_path, echo)
    await server.start()
    reader, writer = await asyncio.open_unix_connection((tmp_path / commands.ADDRESS).read_text())
    for line in (b"hello\n", b'{"cmd":"fly"}\n', b'{"cmd":"skip","number":"x"}\n', b'{"cmd":"tell","text":"\xff"}\n'):
        writer.write(line)
        answer = msgspec.json.decode(await reader.readline(), type=Reply)
        assert not answer.ok and "Nothing was changed" in answer.words
    writer.close()
    assert (await asyncio.to_thread(send, tmp_path, commands.Resume())).ok
    await server.close()


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device", "x/change.diff"), ConnectionResetError(), ValueError("a bug"), KeyError(3)],
)
async def test_a_handler_that_fails_is_answered(tmp_path: Path, error: Exception) -> None:
    async def fails(command: commands.Command) -> Reply:
        if isinstance(command, commands.Tell):
            raise error
        return await echo(command)

    server = Server(tmp_path, fails)
    await server.start()
    reader, writer = await asyncio.open_unix_connection((tmp_path / commands.ADDRESS).read_text())
    for command, ok in ((commands.Attach(), True), (commands.Tell(text="x"), False), (commands.Pause(), True)):
        writer.write(msgspec.json.encode(command) + b"\n")
        answer = msgspec.json.decode(await reader.readline(), type=Reply)
        assert answer.ok is ok and (ok or "The loop goes on" in answer.words)
    assert server.attached == 1, "the app is not thrown out by a command that failed"
    writer.close()
    await server.close()


async def test_an_attached_app_is_counted_until_it_goes(tmp_path: Path) -> None:
    server = Server(tmp_path, echo)
    await server.start()
    reader, writer = await asyncio.open_unix_connection((tmp_path / commands.ADDRESS).read_text())
    writer.write(msgspec.json.encode(commands.Attach()) + b"\n")
    await reader.readline()
    assert server.attached == 1
    writer.close()
    await writer.wait_closed()
    assert (await asyncio.to_thread(send, tmp_path, commands.Pause())).ok  # a turn of the loop later
    assert server.attached == 0
    await server.close()


async def test_an_app_that_hangs_does_not_hinder_the_end(tmp_path: Path) -> None:
    server = Server(tmp_path, echo)
    await server.start()
    client = socket.socket(socket.AF_UNIX)
    client.connect((tmp_path / commands.ADDRESS).read_text())
    client.sendall(b'{"cmd":')
    async with asyncio.timeout(60):
        await server.close()
    client.close()
    assert not (tmp_path / commands.ADDRESS).exists()


def test_no_loop_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NoLoop, match="does not answer"):
        send(tmp_path, commands.Stop())
    (tmp_path / commands.ADDRESS).write_text(str(tmp_path / "gone"))
    with pytest.raises(NoLoop, match="does not answer"):
        send(tmp_path, commands.Stop())
