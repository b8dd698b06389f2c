"""Who may use the server: those who know its token."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

REFUSED = "This address needs the token that `autoresearch serve` printed at its start. Open the whole URL.\n"
# The page's own scripts and styles, and nothing from other servers: the page of textual-serve asks for a font of Google otherwise.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self' ws://{host}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access:
    """Lets requests pass that carry the token, in the query or in the cookie that the first such request sets.

    Attributes:
        token: The token.
        cookie: The name of the cookie. It differs between servers, because browsers send a cookie to all ports of a host.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self.cookie = f"autoresearch-{hashlib.sha256(self.token.encode()).hexdigest()[:8]}"

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request with 403 if it lacks the token or comes from a page of another server. Else pass it on."""
        if not _is_same_origin(request) or not self._has_token(request):
            return web.Response(status=403, text=REFUSED)
        response = await handler(request)
        if not response.prepared:  # a websocket is: its headers are sent
            if self.cookie not in request.cookies:
                response.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")
            response.headers["Content-Security-Policy"] = POLICY.format(host=request.host)
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _has_token(self, request: web.Request) -> bool:
        given = (request.query.get("token", ""), request.cookies.get(self.cookie, ""))
        wanted = self.token.encode()
        return any([secrets.compare_digest(candidate.encode(errors="replace"), wanted) for candidate in given])


def _is_same_origin(request: web.Request) -> bool:
    """Return whether a request comes from a page of this server, or from no page. SameSite does not tell ports apart."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host
