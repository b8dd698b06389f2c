"""The server as a browser meets it: real processes and sockets."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from core.serve.app_process import END_S
from core.serve.server import MOST_APPS
from tests.core.serve.conftest import Serve, Serving

SIZE = "width=140&height=40"
SECONDS = 60.0
READY = "escape goes to the panes"  # in the summary, which opens once the app has started


async def read_until(socket: aiohttp.ClientWebSocketResponse, words: str) -> str:
    """Read what the app draws until words appear in it."""
    seen = ""
    async with asyncio.timeout(SECONDS):
        while words not in seen:
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, (message, seen)
            seen += message.data.decode(errors="replace")
    return seen


def open_app(client: aiohttp.ClientSession, serving: Serving) -> aiohttp.client._WSRequestContextManager:
    return client.ws_connect(f"{serving.base}ws?token={serving.token}&{SIZE}")


@pytest.fixture
async def serving(shared: Serving) -> AsyncIterator[Serving]:
    """The server that the tests share. Each test waits until its own apps have ended."""
    yield shared
    assert shared.process.poll() is None
    await gone(shared.apps())


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%ff%00"])
@pytest.mark.parametrize("path", ["", "static/js/textual.js", "static/", "ws", "download/x", "no/such/page"])
async def test_nothing_is_shown_without_the_token(serving: Serving, path: str, query: str) -> None:
    async with aiohttp.ClientSession() as client, client.get(f"{serving.base}{path}{query}") as answer:
        assert answer.status == 403 and not answer.cookies
        assert "token" in await answer.text()


async def test_a_websocket_needs_the_token(serving: Serving) -> None:
    async with aiohttp.ClientSession() as client:
        for query in ("", "?token=wrong"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(f"{serving.base}ws{query}")
            assert refused.value.status == 403
    assert not serving.apps()


async def test_the_token_is_needed_once_and_then_a_cookie_counts(serving: Serving) -> None:
    jar = aiohttp.CookieJar(unsafe=True)  # it takes cookies of an address without a name
    async with aiohttp.ClientSession(cookie_jar=jar) as client:
        async with client.get(serving.url) as answer:
            page = await answer.text()
            (cookie,) = answer.cookies.values()
            assert answer.status == 200 and "<title>AutoResearch</title>" in page
            assert cookie["httponly"] and cookie["samesite"] == "Strict"
            assert serving.token not in page and answer.headers["Referrer-Policy"] == "no-referrer"
        for path in ("", "static/js/textual.js"):
            async with client.get(f"{serving.base}{path}") as answer:
                assert answer.status == 200
        async with client.ws_connect(f"{serving.base}ws?{SIZE}") as socket:
            await read_until(socket, "nov23")


async def test_a_page_of_another_server_is_refused_in_spite_of_the_cookie(serving: Serving) -> None:
    async with aiohttp.ClientSession() as client:
        for origin in ("http://127.0.0.1:1", "https://example.org", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(f"{serving.base}ws?token={serving.token}", headers={"Origin": origin})
            assert refused.value.status == 403
        async with client.ws_connect(f"{serving.base}ws?token={serving.token}", origin=serving.base) as socket:
            await read_until(socket, "nov23")


async def test_the_page_names_the_address_that_the_browser_used(serving: Serving) -> None:
    async with (
        aiohttp.ClientSession() as client,
        client.get(serving.url, headers={"Host": "tunnel.example:9000"}) as answer,
    ):
        assert 'data-session-websocket-url="ws://tunnel.example:9000/ws"' in await answer.text()


@pytest.mark.parametrize(("options", "refusal"), [((), "read-only"), (("--control",), "needs a running loop")])
async def test_keys_that_change_the_run_are_refused_unless_allowed(
    serve: Serve, options: tuple[str, ...], refusal: str
) -> None:
    serving = serve(*options)
    async with aiohttp.ClientSession() as client, open_app(client, serving) as socket:
        await read_until(socket, READY)
        await socket.send_json(["stdin", "\x1b"])  # leaves the summary
        await read_until(socket, "program.md")
        await socket.send_json(["stdin", "t"])
        await read_until(socket, refusal)


async def test_an_editor_is_refused_in_a_browser(serve: Serve) -> None:
    serving = serve("--control")
    async with aiohttp.ClientSession() as client, open_app(client, serving) as socket:
        await read_until(socket, READY)
        await socket.send_json(["stdin", "\x1b"])
        await read_until(socket, "program.md")
        await socket.send_json(["stdin", "m"])
        await read_until(socket, "An editor needs a terminal")


async def test_a_size_that_no_screen_has_does_no_harm(serving: Serving) -> None:
    async with aiohttp.ClientSession() as client:
        huge = f"{serving.base}ws?token={serving.token}&width=999999999&height=40"
        async with client.ws_connect(huge) as socket:
            await read_until(socket, READY)
            await socket.send_json(["resize", {"width": 10**9, "height": -1}])
            await read_until(socket, "escape")  # of the footer, which has the only line
            await socket.send_json(["resize", {"width": 140, "height": 40}])
            await read_until(socket, READY)


async def test_an_app_ends_with_its_browser_and_the_server_goes_on(serving: Serving) -> None:
    async with aiohttp.ClientSession() as client:
        async with open_app(client, serving) as socket:
            await read_until(socket, "nov23")
            apps = serving.apps()
        assert len(apps) == 1
        await gone(apps)
        async with open_app(client, serving) as socket:
            await read_until(socket, "nov23")


async def test_an_app_that_does_not_answer_is_killed_when_its_page_closes(serving: Serving) -> None:
    async with aiohttp.ClientSession() as client:
        async with open_app(client, serving) as socket:
            await read_until(socket, READY)
            (app,) = serving.apps()
            app.suspend()
        await asyncio.to_thread(app.wait, 3 * END_S)
        async with open_app(client, serving) as socket:
            await read_until(socket, READY)


async def test_only_some_apps_run_at_once(serve: Serve) -> None:
    """Each is a process on the machine that trains."""
    serving = serve()
    async with aiohttp.ClientSession() as client, contextlib.AsyncExitStack() as stack:
        for _ in range(MOST_APPS):
            await stack.enter_async_context(open_app(client, serving))
        async with open_app(client, serving) as socket:
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.CLOSE and message.data == aiohttp.WSCloseCode.TRY_AGAIN_LATER


async def test_a_message_that_no_page_sends_ends_only_its_own_app(serving: Serving) -> None:
    async with aiohttp.ClientSession() as client:
        async with open_app(client, serving) as socket:
            await read_until(socket, READY)
            await socket.send_str("[]")
            async with asyncio.timeout(SECONDS):
                while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                    pass
            assert message.type is aiohttp.WSMsgType.CLOSE
        async with open_app(client, serving) as socket:
            await read_until(socket, READY)


async def test_closing_the_app_closes_the_connection(serving: Serving) -> None:
    async with aiohttp.ClientSession() as client, open_app(client, serving) as socket:
        await read_until(socket, READY)
        await socket.send_json(["stdin", "\x11"])  # ctrl+q
        async with asyncio.timeout(SECONDS):
            async for _ in socket:
                pass
        assert socket.closed and serving.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_the_server_and_its_apps(serve: Serve, number: signal.Signals) -> None:
    serving = serve()
    async with (
        aiohttp.ClientSession() as client,
        open_app(client, serving) as first,
        open_app(client, serving) as other,
    ):
        await asyncio.gather(read_until(first, "nov23"), read_until(other, "nov23"))
        apps = serving.apps()
        assert len(apps) == 2
        serving.process.send_signal(number)
        assert (await first.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.BINARY)
        async with asyncio.timeout(SECONDS):
            async for _ in first:
                pass
            async for _ in other:
                pass
        assert await asyncio.to_thread(serving.process.wait, SECONDS) == 0
    await gone(apps)
    assert serving.process.stdout is not None and serving.process.stdout.read() == ""


async def test_an_app_ends_when_the_server_was_killed(serve: Serve) -> None:
    serving = serve()
    async with aiohttp.ClientSession() as client, open_app(client, serving) as socket:
        await read_until(socket, "nov23")
        apps = serving.apps()
        assert len(apps) == 1
        serving.process.kill()
        await gone(apps)


async def test_a_read_only_app_writes_nothing(serve: Serve, logs: Path) -> None:
    serving = serve()
    before = stamps(logs)
    async with aiohttp.ClientSession() as client, open_app(client, serving) as socket:
        await read_until(socket, "nov23")
    assert stamps(logs) == before


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


async def gone(apps: list[psutil.Process]) -> None:
    deadline = time.monotonic() + SECONDS
    while any(app.is_running() and app.status() != psutil.STATUS_ZOMBIE for app in apps):
        assert time.monotonic() < deadline, "an app did not end"
        await asyncio.sleep(0.05)
