"""Download files: resumed after interruptions, verified, and renamed to their final name only when complete."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from rich.progress import Progress

from nanochat.contract.address import SCHEME_PORTS, Address, SettingError, bare, base_url
from nanochat.contract.route import Route, route
from nanochat.contract.shell import make
from nanochat.contract.turns import alone
from nanochat.data.prepared import DataError

HUB = "https://huggingface.co"
TRIES = 5
WAIT_S = 0.5  # the wait after n tries is WAIT_S * 2**n


class Routed(httpx.BaseTransport):
    """Chooses the route of each request separately, because a redirect may lead to another server."""

    def __init__(self) -> None:
        self.through = ""  # the proxy of the last request for messages, see `Route.through`
        self._transports: dict[Route, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises SettingError, and what `httpx.HTTPTransport` raises."""
        url = request.url
        way = route(Address(url.scheme, url.raw_host.decode("ascii"), url.port or SCHEME_PORTS.get(url.scheme, 0)))
        self.through = way.through
        if way not in self._transports:
            self._transports[way] = httpx.HTTPTransport(**way.transport())
        return self._transports[way].handle_request(request)

    def close(self) -> None:
        while self._transports:
            self._transports.popitem()[1].close()


def hub() -> str:
    """Return the URL to download datasets from: the mirror in HF_ENDPOINT, or the Hugging Face hub. Raises DataError."""
    named = bare(os.environ.get("HF_ENDPOINT", ""))
    try:
        found = base_url("HF_ENDPOINT", named or HUB)
    except SettingError as error:
        raise DataError(f"{error} Nothing was downloaded.") from error
    url = httpx.URL(found.url)
    return str(
        url.copy_with(username=found.user, password=found.password) if found.user or found.password else url
    ).rstrip("/")


def fetch(
    url: str, path: Path, *, check: Callable[[Path], None], say: Callable[[str], None], wait_s: float = WAIT_S
) -> Path:
    """Download a file unless it exists, and return its path. If another command downloads it, wait for that.

    Args:
        url: URL of the file.
        path: Where to store it.
        check: Called with the downloaded file. Raises ValueError if it is invalid; it is then downloaded again.
        say: Called with a line for the user before each retry, and before it waits for another command.
        wait_s: The wait after n tries is `wait_s * 2**n` seconds.

    Raises:
        DataError: Five tries in a row made no progress, or a retry would not help. The part downloaded so far is kept.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path, lambda: say(f"{path.name}: another command downloads this; waiting")):
        return path if path.exists() else _download(url, path, check, say, wait_s)


def _download(url: str, path: Path, check: Callable[[Path], None], say: Callable[[str], None], wait_s: float) -> Path:
    """Download a file that no other command writes. As `fetch`."""
    part = path.with_name(path.name + ".part")
    tag = path.with_name(path.name + ".etag")  # the ETag of the file that the part belongs to
    shown = httpx.URL(url).copy_with(userinfo=b"")
    transport, failure, tries = Routed(), "", 0
    while tries < TRIES:
        before = part.stat().st_size if part.exists() else 0
        try:
            with httpx.Client(transport=transport, trust_env=False, follow_redirects=True, timeout=30.0) as client:
                _get(client, url, part, tag)
            check(part)
            part.replace(path)
            tag.unlink(missing_ok=True)
            return path
        except ValueError as error:
            failure = str(error)
            part.unlink(missing_ok=True)
        except httpx.HTTPStatusError as error:
            failure = f"the server answered {error.response.status_code}{transport.through}"
            if error.response.status_code in (401, 403, 404, 407):
                break
        except SettingError as error:  # a retry would not help
            raise DataError(f"{shown} cannot be asked for: {error}") from error
        except (httpx.HTTPError, OSError) as error:
            failure = f"{type(error).__name__}: {error}{transport.through}"
            if "CERTIFICATE_VERIFY_FAILED" in failure:
                failure += "; SSL_CERT_FILE names a file of certificates to trust"
                break
            if isinstance(error, httpx.ProxyError) and str(error).startswith("4"):  # the proxy's status code
                break
        grown = (part.stat().st_size if part.exists() else 0) > before
        tries = 1 if grown else tries + 1
        say(f"{path.name}: {failure}; trying again")
        time.sleep(wait_s * 2**tries)
    raise DataError(
        f"{shown} could not be downloaded: {failure}. The part received so far is kept; run the same command again to resume, "
        f"or {make('prepare', '--dataset', 'python')}, which needs no network."
    )


def progress() -> Progress:
    """Return a progress bar that is shown on a terminal only."""
    return Progress(transient=True, disable=not sys.stdout.isatty())


def _get(client: httpx.Client, url: str, part: Path, tag: Path) -> None:
    """Fetch the rest of a file, or all of it if it has changed on the server.

    Raises:
        httpx.HTTPError: The request failed.
        ValueError: The part on disk does not belong to the file.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.exists():
            headers["If-Range"] = tag.read_text(encoding="latin-1")
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == 416:  # the part is complete, or it belongs to another file
            if answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                return
            raise ValueError("the part that was there does not fit the file")
        answer.raise_for_status()
        resumed = answer.status_code == 206
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise ValueError(f"the server did not continue at byte {have}, where the part ends")
        size = answer.headers.get("Content-Length")
        have = have if resumed else 0
        if not resumed:
            tag.unlink(missing_ok=True)
            if (name := answer.headers.get("ETag", "")).startswith('"'):  # a weak ETag does not identify the bytes
                tag.write_text(name, encoding="latin-1")
        expected = have + int(size) if size else None
        with part.open("ab" if resumed else "wb") as file, progress() as bar:
            task = bar.add_task(part.stem, total=expected, completed=have)
            for piece in answer.iter_raw():
                file.write(piece)
                bar.advance(task, len(piece))
        if expected is not None and part.stat().st_size != expected:
            raise httpx.ReadError(f"{part.stat().st_size} of {expected} bytes came")
