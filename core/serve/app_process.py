"""One app in a process of its own, for one browser."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Sequence

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

END_S = 5.0  # how long an app may take to end before it is killed
LARGEST = 500  # columns and rows of a terminal; a browser may ask for any number
OF_THE_TERMINAL = ("TMUX", "TMUX_PANE", "STY")  # variables of the server's terminal, which is not that of the app


class AppProcess(AppService):
    """An app whose terminal is a websocket.

    Args:
        command: The command that starts it, as words.
        websocket: The connection to the browser. It is closed when the app ends.
        downloads: Hands files to the browser.
    """

    def __init__(self, command: Sequence[str], websocket: web.WebSocketResponse, downloads: DownloadManager) -> None:
        async def close() -> None:
            await websocket.close()

        super().__init__(
            command[0],
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=close,
            download_manager=downloads,
        )
        self._words = command

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        environment = super()._build_environment(_within(width), _within(height))
        return {name: value for name, value in environment.items() if name not in OF_THE_TERMINAL}

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        """Start the app without a shell, and in a session of its own: Ctrl+C reaches the server, which then ends the app."""
        self._process = process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._build_environment(width, height),
            start_new_session=True,
        )
        self._stdin = process.stdin
        return process

    async def set_terminal_size(self, width: int, height: int) -> None:
        await super().set_terminal_size(_within(width), _within(height))

    async def run(self) -> None:
        await super().run()
        await self.remote_close()  # the app may have failed, and then it has not said so to the browser

    async def stop(self) -> None:
        """Ask the app to end, and kill it if it does not within END_S seconds."""
        asking = asyncio.create_task(super().stop())
        try:
            await asyncio.wait(
                {asking}, timeout=END_S
            )  # a timeout of the await itself could be lost: the base class catches it
            if self._process is not None and asking.done():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), END_S)
        finally:
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)  # it has a session of its own
                await self._process.wait()
            asking.cancel()


def _within(size: int) -> int:
    return max(1, min(int(size), LARGEST))
