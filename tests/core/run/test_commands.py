"""Commands over a real socket: each one acknowledged, nonsense refused, a missing loop named."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from pathlib import Path

import msgspec
import pytest

from core.machine import temporary
from core.record.run_lock import Lock
from core.run import commands
from core.run.commands import NoLoop, Reply, Server, send


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
    reader, writer = await asyncio.open_unix_connection(commands.address(tmp_path))
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
        assert answer.ok is ok and (ok or "The loop keeps running" in answer.words)
    assert server.attached == 1, "the app is not thrown out by a command that failed"
    writer.close()
    await server.close()


async def test_an_attached_app_is_counted_until_it_goes(tmp_path: Path) -> None:
    server = Server(tmp_path, echo)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(commands.address(tmp_path))
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
    client.connect(commands.address(tmp_path))
    client.sendall(b'{"cmd":')
    async with asyncio.timeout(60):
        await server.close()
    client.close()
    assert not (tmp_path / commands.ADDRESS).exists()


def test_a_missing_loop_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NoLoop, match="does not answer"):
        send(tmp_path, commands.Stop())
    (tmp_path / commands.ADDRESS).write_text(str(tmp_path / "gone"))
    with pytest.raises(NoLoop, match="does not answer"):
        send(tmp_path, commands.Stop())


LONG = "x" * 84


@pytest.fixture(params=["long", "gone", "read-only", "a file", "spaces", b"\xff\xfe", "newline\n"])
def bad_tmpdir(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str | bytes:
    """A TMPDIR that serves badly, or not at all."""
    kind: str | bytes = request.param
    place = tmp_path / {"long": LONG, "spaces": "a b  c"}.get(str(kind), os.fsdecode(kind))
    if kind == "a file":
        place.touch()
    elif kind != "gone":
        place.mkdir(mode=0o500 if kind == "read-only" else 0o700)
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return kind


def run_folder(tmp_path: Path, depth: int) -> Path:
    """A folder for a run whose path has at least so many characters."""
    folder = tmp_path / "run"
    while len(str(folder)) < depth:
        folder /= "deeper" * 9
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("depth", [0, 90, 300])
async def test_the_loop_is_reached_whatever_tmpdir_is(tmp_path: Path, bad_tmpdir: str | bytes, depth: int) -> None:
    """Also where the run's own folder is too far down for a socket. Nothing stays behind."""
    folder = run_folder(tmp_path, depth)
    server = Server(folder, echo)
    await server.start()
    path = Path(commands.address(folder))
    assert len(os.fsencode(path)) <= 100 and path.parent.stat().st_mode & 0o077 == 0
    assert (await asyncio.to_thread(send, folder, commands.Pause())).ok
    await server.close()
    assert not path.parent.exists() and list(folder.iterdir()) == []


async def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"run \xff")
    folder.mkdir()
    server = Server(folder, echo)
    await server.start()
    assert (await asyncio.to_thread(send, folder, commands.Pause())).ok
    await server.close()


def lose(folder: Path, path: Path, lost: str) -> None:
    if lost in ("socket", "folder", "another socket"):
        path.unlink()
    if lost == "folder":
        path.parent.rmdir()
    if lost == "another socket":
        listener(path).close()
    if lost == "address":
        (folder / commands.ADDRESS).unlink()
    if lost == "wrong address":
        (folder / commands.ADDRESS).write_text("/nowhere")


@pytest.mark.parametrize("lost", ["socket", "folder", "address", "wrong address", "another socket"])
@pytest.mark.parametrize("depth", [0, 300])
async def test_what_a_cleaner_removed_is_made_again_and_apps_stay(tmp_path: Path, lost: str, depth: int) -> None:
    folder = run_folder(tmp_path, depth)
    server = Server(folder, echo)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(commands.address(folder))
    for kind in (commands.Attach(), commands.Pause()):
        writer.write(msgspec.json.encode(kind) + b"\n")
        await reader.readline()
    path = Path(commands.address(folder))
    await server.keep()
    assert commands.address(folder) == str(path), "nothing was lost, nothing is made"
    lose(folder, path, lost)
    await server.keep()
    assert (await asyncio.to_thread(send, folder, commands.Pause())).ok
    writer.write(msgspec.json.encode(commands.Resume()) + b"\n")
    assert b"resume" in await reader.readline() and server.attached == 1, "who was connected still is"
    writer.close()
    await server.close()
    assert list(folder.iterdir()) == []


async def test_without_a_place_for_a_socket_a_notice_says_so_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "RETRY_S", 0.0)
    monkeypatch.setattr(temporary, "places", lambda: iter([tmp_path / "nowhere"]))
    (tmp_path / commands.PRIVATE).touch()
    server = Server(tmp_path, echo)
    await server.start()
    await server.keep()
    assert "loop" in server.problem
    (tmp_path / commands.PRIVATE).unlink()
    await server.keep()
    assert not server.problem and (await asyncio.to_thread(send, tmp_path, commands.Pause())).ok
    await server.close()


def test_a_loop_that_cannot_be_reached_is_named_by_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "COMES_BACK_S", 0.0)
    lock = Lock(tmp_path)
    with pytest.raises(NoLoop, match=f"`kill {os.getpid()}` stops it cleanly"):
        send(tmp_path, commands.Stop())
    lock.release()


def test_temporary_folders_do_without_tmpdir(bad_tmpdir: str | bytes) -> None:
    for _ in range(2):
        made = temporary.folder("autoresearch-test-")
        assert made.stat().st_mode & 0o077 == 0
        made.rmdir()
