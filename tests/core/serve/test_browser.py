"""The app in a real browser, by way of the DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.core.serve.conftest import Serve

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell"))), None)
SECONDS = 120.0
DRAWN = """document.body.classList.contains('-first-byte') && document.querySelectorAll('.xterm-screen canvas').length > 0
    && document.activeElement.className === 'xterm-helper-textarea'"""  # the app has drawn, and keys reach it


class Page:
    """A page of a browser, by its websocket of the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while (answer := await self._socket.receive_json()).get("id") != number:
            pass
        assert "error" not in answer, answer
        found: dict[str, Any] = answer["result"]
        return found

    async def value(self, expression: str) -> object:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    assert BROWSER is not None
    process = await asyncio.create_subprocess_exec(
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0",
        "--window-size=1400,900", f"--user-data-dir={tmp_path / 'profile'}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        async with asyncio.timeout(SECONDS):
            line = b""
            while not line.startswith(b"DevTools listening on "):
                line = await process.stderr.readline()
                assert line, "the browser did not start"
        place = line.decode().split("ws://")[1].partition("/")[0]
        async with aiohttp.ClientSession() as client:
            async with client.get(f"http://{place}/json/list") as answer:
                (target,) = [one for one in await answer.json() if one["type"] == "page"]
            async with client.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # all of it: some systems start the browser from a script
        await process.communicate()


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
async def test_a_browser_shows_the_app(serve: Serve, page: Page) -> None:
    serving = serve()
    await page.call("Page.navigate", url=serving.url)
    async with asyncio.timeout(SECONDS):
        while not await page.value(DRAWN):  # noqa: ASYNC110 - the page is in another process
            await asyncio.sleep(0.1)
    assert await page.value("document.title") == "AutoResearch"
    assert await page.value("document.fonts.check('16px \"Roboto Mono\"')")
    assert await page.value("location.href") == serving.base, "the token is in the history"
    assert await page.value("document.cookie") == "", "a script can read the cookie"
    assert len(serving.apps()) == 1
