"""The command `autoresearch`: a small script that starts this source tree's command line from any folder.

`python -m core.launcher` writes it beside this Python, so that it is on the PATH of an activated environment.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path

from core.machine.project import UsageError

NAME = "autoresearch"
MARK = "# Starts AutoResearch. Written by `make install`."
FOLDER = Path("~/.local/bin")
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from core.cli import main; main()"
UNSET = "PYTHONPATH PYTHONHOME PYTHONUSERBASE PYTHONSTARTUP PYTHONSAFEPATH VIRTUAL_ENV BASH_ENV CDPATH"  # as in the Makefile


def text(root: Path, python: Path) -> bytes:
    """Return the script for a source tree and the Python of its environment.

    In a folder of another source tree with an environment of its own, the script starts that one.
    """
    where = f"root={shlex.quote(str(root))} python={shlex.quote(str(python))}"
    script = f"""#!/bin/sh
{MARK}
unset {UNSET}
{where}
folder=$PWD
while [ -n "$folder" ]; do
  if [ -f "$folder/core/launcher.py" ] && [ -x "$folder/.venv/bin/python" ]; then root=$folder python=$folder/.venv/bin/python; break; fi
  folder=${{folder%/*}}
done
exec "$python" -P -c {shlex.quote(START)} "$root" "$@"
"""
    return os.fsencode(script)


def install(root: Path, folder: Path | None = None) -> str:
    """Write the script into a folder, by default ~/.local/bin.

    Args:
        root: The source tree.
        folder: Where to write it. It is made if it does not exist.

    Returns:
        What was done, as sentences.

    Raises:
        UsageError: Something else has that name there, or the folder cannot be written. Nothing was changed.
    """
    folder = Path(os.path.abspath((folder or FOLDER).expanduser()))
    path = folder / NAME
    wanted = text(root, Path(sys.executable))
    try:
        there = path.read_bytes() if os.path.lexists(path) else None
        if there is not None and MARK.encode() not in there:
            raise UsageError(
                f"{path} exists and was not written by `make install`. Nothing was changed. Move it, or name another folder with "
                f"--folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{NAME}.{os.getpid()}")
        try:
            beside.write_bytes(wanted)
            beside.chmod(0o755)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror or error}). Nothing was changed. Name another folder with --folder."
        ) from error
    before = "" if there in (None, wanted) else " It started another source tree before."
    return f"`{NAME}` now starts {root}: {path}.{before}{_unreachable(folder)}"


def main() -> None:
    """Write the script beside this Python. A script of that name that pip has written stays, since it does the same."""
    folder = Path(sys.executable).parent
    try:
        install(Path(__file__).resolve().parents[1], folder)
    except UsageError as error:
        if not (folder / NAME).exists():
            print(error, file=sys.stderr)
    with contextlib.suppress(OSError):
        os.utime(folder / NAME)  # so that make does not write it again


def _unreachable(folder: Path) -> str:
    """Return a sentence if the shell does not look for programs in this folder, else ''."""
    if str(folder) in os.environ.get("PATH", "").split(os.pathsep):
        return ""
    line = f"export PATH={shlex.quote(str(folder))}:$PATH"
    return f" {folder} is not on your PATH. Add this line to the start-up file of your shell (~/.profile, ~/.zprofile): {line}"


if __name__ == "__main__":
    main()
