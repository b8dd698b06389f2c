"""python -I core/install.py ARGUMENTS: run `pip install ARGUMENTS` for this Python's environment, whatever pip's settings say.

If `uv` is on the PATH, it installs the packages, since it is faster. If it fails, pip does it.

The user's pip settings for where packages come from are kept: indexes, proxies, certificates, constraints. Settings that would
install elsewhere or not at all are ignored. Uses only the standard library, since nothing is installed yet.
"""

from __future__ import annotations

import ast
import os
import shutil
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
OF_UV = {  # settings of pip, and the variables of uv that mean the same
    "INDEX_URL": "UV_DEFAULT_INDEX", "EXTRA_INDEX_URL": "UV_INDEX", "FIND_LINKS": "UV_FIND_LINKS", "NO_INDEX": "UV_NO_INDEX",
    "CONSTRAINT": "UV_CONSTRAINT", "TRUSTED_HOST": "UV_INSECURE_HOST", "CERT": "SSL_CERT_FILE", "PROXY": "ALL_PROXY",
    "TIMEOUT": "UV_HTTP_TIMEOUT", "DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT",
}  # fmt: skip
COMMAS = ("FIND_LINKS",)  # lists that uv separates by commas
NOT_NEEDED = frozenset({  # settings that make no difference to what uv installs
    "BREAK_SYSTEM_PACKAGES", "CACHE_DIR", "COLOR", "CONFIG_FILE", "DISABLE_PIP_VERSION_CHECK", "NO_CACHE_DIR", "NO_COLOR", "NO_INPUT",
    "NO_PYTHON_VERSION_WARNING", "PREFER_BINARY", "PROGRESS_BAR", "QUIET", "REQUIRE_VIRTUALENV", "RETRIES", "ROOT_USER_ACTION", "VERBOSE",
})  # fmt: skip
ELSEWHERE = (
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON",
    "UV_NO_DEPS",
    "UV_DRY_RUN",
)  # settings of uv that would install elsewhere, or not all
NOISE = "WARNING: Location"  # pip's warning about folders that a mirror lists but does not have


def environment(environ: Mapping[str, str], listing: str) -> dict[str, str]:
    """Return the environment variables for pip. Settings from files become variables, except those in LEFT_OUT.

    Args:
        environ: The present environment variables.
        listing: The output of `pip config list`, one `section.name='value'` a line.
    """
    kept_variables = {name: value for name, value in environ.items() if not name.startswith("PIP_")}
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in sections and name not in LEFT_OUT:
            sections[section][name] = str(ast.literal_eval(value))
    for name, value in (sections["global"] | sections["install"]).items():
        kept_variables[_variable(name)] = value
    kept = {_variable(name) for name in LEFT_OUT}
    kept_variables |= {name: value for name, value in environ.items() if name.startswith("PIP_") and name not in kept}
    return kept_variables | {CONFIG_FILE: os.devnull}


def _variable(name: str) -> str:
    return f"PIP_{name.upper().replace('-', '_')}"


def environment_of_uv(settings: Mapping[str, str]) -> dict[str, str] | None:
    """Return the environment variables for uv, or None if pip has settings that uv lacks.

    Args:
        settings: The environment variables for pip, see `environment`.
    """
    kept_variables = {
        name: value for name, value in settings.items() if not name.startswith("PIP_") and name not in ELSEWHERE
    }
    for name, value in settings.items():
        key = name.removeprefix("PIP_")
        if key == name or key in NOT_NEEDED:
            continue
        if key not in OF_UV:
            return None
        words = value.split()
        kept_variables[OF_UV[key]] = ",".join(words) if key in COMMAS else " ".join(words)
    if "PIP_EXTRA_INDEX_URL" in settings:
        kept_variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # the newest version of all indexes, as pip takes it
    return kept_variables


def _with_uv(arguments: Sequence[str], settings: Mapping[str, str]) -> bool:
    """Let uv install the packages. Returns whether it has done so."""
    uv, environ = shutil.which("uv"), environment_of_uv(settings)
    if uv is None or environ is None:
        return False
    done = subprocess.run(
        [uv, "pip", "install", "--python", sys.executable, "--compile-bytecode", *arguments], env=environ
    )
    if done.returncode:
        print("uv could not install the packages, so pip does it.", file=sys.stderr)
    return done.returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Install the packages with uv or pip, and return the exit code."""
    pip = [sys.executable, "-I", "-m", "pip"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") or name == CONFIG_FILE}
    listed = subprocess.run(
        [*pip, "config", "list"], env=plain | LISTING, capture_output=True, text=True, errors="replace"
    )
    if listed.returncode:
        print(f"The settings of pip cannot be read, so none are used: {listed.stderr.strip()[-300:]}", file=sys.stderr)
    settings = environment(os.environ, "" if listed.returncode else listed.stdout)
    if _with_uv(arguments, settings):
        return 0
    command = [*pip, "install", *arguments]
    with subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if not line.startswith(NOISE):
                sys.stderr.write(line)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
