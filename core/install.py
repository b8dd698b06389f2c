"""python -I core/install.py ARGUMENTS: run `pip install ARGUMENTS` for this Python's environment, whatever pip's settings say.

The user's pip settings for where packages come from are kept: indexes, proxies, certificates, constraints. Settings that would
install elsewhere or not at all are ignored. Uses only the standard library, since nothing is installed yet.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

# Settings that would install packages elsewhere, without their dependencies, or for another machine.
LEFT_OUT = frozenset({
    "abi", "dry-run", "editable", "force-reinstall", "help", "ignore-installed", "implementation", "log-file", "no-deps",
    "no-dependencies", "platform", "prefix", "python", "python-version", "report", "requirement", "requirements", "root", "src",
    "target", "user", "version",
})  # fmt: skip
# Settings for `pip config list` itself, since a file may set options such as `user`. Variables override files.
LISTING = {
    "PIP_USER": "0",
    "PIP_GLOBAL": "0",
    "PIP_SITE": "0",
    "PIP_QUIET": "0",
    "PIP_VERBOSE": "0",
    "PIP_PYTHON": sys.executable,
}
CONFIG_FILE = "PIP_CONFIG_FILE"
NOISE = "WARNING: Location"  # pip's warning about folders that a mirror lists but does not have


def environment(environ: Mapping[str, str], listing: str) -> dict[str, str]:
    """Return the environment variables for pip. Settings from files become variables, except those in LEFT_OUT.

    Args:
        environ: The present environment variables.
        listing: The output of `pip config list`, one `section.name='value'` a line.
    """
    found = {name: value for name, value in environ.items() if not name.startswith("PIP_")}
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in sections and name not in LEFT_OUT:
            sections[section][name] = str(ast.literal_eval(value))
    for name, value in (sections["global"] | sections["install"]).items():
        found[_variable(name)] = value
    kept = {_variable(name) for name in LEFT_OUT}
    found |= {name: value for name, value in environ.items() if name.startswith("PIP_") and name not in kept}
    return found | {CONFIG_FILE: os.devnull}


def _variable(name: str) -> str:
    return f"PIP_{name.upper().replace('-', '_')}"


def main(arguments: Sequence[str]) -> int:
    """Run pip and return its exit code."""
    pip = [sys.executable, "-I", "-m", "pip"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") or name == CONFIG_FILE}
    listed = subprocess.run(
        [*pip, "config", "list"], env=plain | LISTING, capture_output=True, text=True, errors="replace"
    )
    if listed.returncode:
        print(f"The settings of pip cannot be read, so none are used: {listed.stderr.strip()[-300:]}", file=sys.stderr)
    settings = environment(os.environ, "" if listed.returncode else listed.stdout)
    command = [*pip, "install", *arguments]
    with subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if not line.startswith(NOISE):
                sys.stderr.write(line)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
