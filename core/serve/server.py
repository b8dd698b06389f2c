"""The server: textual-serve's page and messages, behind a token, with one app per browser."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import aiohttp_jinja2
from aiohttp import WSCloseCode, web
from textual_serve.server import Server, to_int

from core.errors import UserError
from core.serve.access import Access
from core.serve.app_process import END_S, AppProcess

HEARTBEAT_S = 15.0  # between two signs of life that a browser must answer
CLOSING_S = 2.0  # how long a browser may take to close its connection
LONGEST_MESSAGE = 1 << 20  # bytes, such as of a paste
LONGEST_REASON = 120  # bytes; the protocol allows 123
MOST_APPS = 8  # each is a process on the machine that trains
MALFORMED = (
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
)  # what textual-serve raises for messages that it does not know
# What the page of textual-serve lacks: a title, its own copy of the font that it asks Google for, a history without the token, and the
# focus, without which keys do nothing until the first click.
HEAD = """<head>
    <title>AutoResearch</title>
    <style>
      @font-face { font-family: "Roboto Mono"; font-weight: 100 700; src: url("/static/fonts/RobotoMono-VariableFont_wght.ttf"); }
      @font-face { font-family: "Roboto Mono"; font-weight: 100 700; font-style: italic;
        src: url("/static/fonts/RobotoMono-Italic-VariableFont_wght.ttf"); }
    </style>
    <script>
      const shown = new URL(window.location.href);
      shown.searchParams.delete("token");
      window.history.replaceState(null, "", shown);
      document.addEventListener("DOMContentLoaded", () => {
        const observer = new MutationObserver(() => {
          const keys = document.querySelector(".-first-byte .xterm-helper-textarea");
          if (keys) { keys.focus(); observer.disconnect(); }
        });
        observer.observe(document.body, { attributes: true, attributeFilter: ["class"] });
      });
    </script>"""

Command = Callable[[], Sequence[str]]


class AppServer(Server):
    """Serves one app to each browser that knows the token.

    Args:
        command: Returns the command that starts the app. It is called for each browser.
        access: Decides about each request.
    """

    def __init__(self, command: Command, access: Access) -> None:
        super().__init__("", title="AutoResearch")
        self._app_command = command
        self._access = access
        self._open: set[web.WebSocketResponse] = set()

    async def serve_until_signal(self, listening: socket.socket, started: Callable[[], None]) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP, then end all apps.

        Args:
            listening: The socket to serve on.
            started: Called once requests are answered.
        """
        # Apps have END_S to end, so handlers get a little longer.
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=END_S + 1.0)
        await runner.setup()
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, ended.set)
        try:
            await web.SockSite(runner, listening).start()
            started()
            await ended.wait()
        finally:
            await runner.cleanup()

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._access.middleware)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Print nothing. The base class prints its name and a URL without the token."""

    async def on_shutdown(self, app: web.Application) -> None:
        """Close all connections, which ends their apps."""
        await asyncio.gather(*(socket.close(code=WSCloseCode.GOING_AWAY) for socket in set(self._open)))

    async def handle_index(self, request: web.Request) -> web.Response:
        """Return the page. Its addresses are those that the browser used, so that it also works through a tunnel."""
        context = {
            "font_size": to_int(request.query.get("fontsize", "16"), 16),
            "app_websocket_url": f"ws://{request.host}/ws",
            "config": {"static": {"url": "/static/"}},
            "application": {"name": self.title},
        }
        page = aiohttp_jinja2.render_string("app_index.html", request, context).replace("<head>", HEAD, 1)
        return web.Response(text=page, content_type="text/html", headers={"Cache-Control": "no-store"})

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Start an app for a browser, and pass messages on until one of both ends."""
        websocket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, timeout=CLOSING_S, max_msg_size=LONGEST_MESSAGE)
        await websocket.prepare(request)
        if len(self._open) >= MOST_APPS:
            await websocket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too many apps are open")
            return websocket
        self._open.add(websocket)
        try:
            await self._run_app(request, websocket)
        except UserError as error:  # such as for a run that was deleted
            print(error, file=sys.stderr, flush=True)
            await websocket.close(code=WSCloseCode.INTERNAL_ERROR, message=str(error).encode()[:LONGEST_REASON])
        except MALFORMED:
            await websocket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"a message could not be read")
        finally:
            self._open.discard(websocket)
        return websocket

    async def _run_app(self, request: web.Request, websocket: web.WebSocketResponse) -> None:
        command = await asyncio.to_thread(self._app_command)
        app = AppProcess(command, websocket, self.download_manager)
        try:
            await app.start(to_int(request.query.get("width", ""), 80), to_int(request.query.get("height", ""), 24))
            await self._process_messages(websocket, app)
        finally:
            await app.stop()


def run(listening: socket.socket, command: Command, started: Callable[[str], None]) -> None:
    """Serve the app until a signal ends the server.

    Args:
        listening: The socket to serve on.
        command: Returns the command that starts the app. It is called for each browser.
        started: Called with the token once requests are answered.
    """
    access = Access()
    with listening:
        asyncio.run(AppServer(command, access).serve_until_signal(listening, lambda: started(access.token)))
