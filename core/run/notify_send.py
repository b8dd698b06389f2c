"""Sends one notification: `python -m core.run.notify_send PRESET TARGET`, with the message as JSON on standard input."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec

from core.run import notify_terminal
from core.run.notify import Message

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


def main() -> int:
    """Send the message on standard input. Returns the exit code."""
    preset, target = sys.argv[1:3]
    try:
        send(preset, target, msgspec.json.decode(sys.stdin.buffer.read(), type=Message))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, subprocess.SubprocessError) as error:
        print(f"{preset}: {error!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
