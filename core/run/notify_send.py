"""Sends one notification: `python -m core.run.notify_send`, with the message as JSON on standard input.

The environment names the preset and its target, such as `slack:URL`. The URL may be a secret, so it is not printed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec

from core.run import notify_terminal
from core.run.notify import VARIABLE, Message

SEND_S = 20.0
NTFY = "https://ntfy.sh"
PRIORITY = {"best": "default", "waiting": "high", "paused": "high", "stalled": "high", "ended": "high"}


def send(preset: str, target: str, message: Message) -> None:
    """Send a message.

    Raises:
        httpx.HTTPError: The server cannot be reached or refuses it.
        OSError: The desktop has no program for notifications, or no terminal can be written.
        subprocess.CalledProcessError: That program failed.
    """
    title = f"AutoResearch: {message.run}"
    if preset == "desktop":
        subprocess.run(_desktop(title, message.text), check=True, timeout=SEND_S)
        return
    if preset == "terminal":
        notify_terminal.show(Path(message.folder), title, message.text)
        return
    if preset == "ntfy":
        url = target if "://" in target else f"{NTFY}/{target}"
        reply = httpx.post(
            url,
            content=message.text.encode(),
            headers={"Title": title, "Priority": PRIORITY[message.moment]},
            timeout=SEND_S,
        )
    else:
        field = "content" if preset == "discord" else "text"
        reply = httpx.post(target, json={field: f"{title}\n{message.text}"}, timeout=SEND_S)
    reply.raise_for_status()


def _desktop(title: str, text: str) -> list[str]:
    if platform.system() == "Darwin":
        # Arguments, not a script with the text in it, so that quotes in the text are harmless.
        script = "on run {t, s}\ndisplay notification s with title t\nend run"
        return ["osascript", "-e", script, title, text]
    return ["notify-send", "--app-name=AutoResearch", title, text]


def _words(error: Exception) -> str:
    """Return what is known about a failure. The messages of httpx can contain the URL."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"{type(error).__name__}, status code {error.response.status_code}"
    return type(error).__name__ if isinstance(error, (httpx.HTTPError, httpx.InvalidURL)) else repr(error)


def main() -> int:
    """Send the message on standard input. Returns the exit code."""
    preset, _, target = os.environ.pop(VARIABLE).partition(":")
    try:
        send(preset, target, msgspec.json.decode(sys.stdin.buffer.read(), type=Message))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, subprocess.SubprocessError) as error:
        print(f"{preset}: {_words(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
