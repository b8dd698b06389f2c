"""`make run` on a machine whose user has told pip, Python, git and the shell all sorts of things for the sake of other projects."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import sysconfig
import termios
import zipfile
from pathlib import Path

import pytest

from core.install import environment, environment_of_uv
from tests.product import until

ROOT = Path(__file__).resolve().parents[1]


def test_nothing_of_ray_is_installed_for_who_does_not_use_it() -> None:
    names = {path.name: path.read_text() for path in ROOT.glob("requirements*.txt")}
    with_ray = {
        name
        for name, text in names.items()
        if any(line.split("[")[0].split("=")[0] == "ray" for line in text.splitlines())
    }
    assert {"requirements.txt", "requirements-dev.txt"} <= names.keys() and with_ray == {"requirements-ray.txt"}
    done = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "requirements-ray" not in done.stdout


def test_where_packages_come_from_is_kept_and_where_they_go_is_not() -> None:
    listing = """\
global.index-url='https://mirror.example/simple'
global.extra-index-url='https://a.example\\nhttps://b.example'
global.target='/elsewhere'
install.user='true'
install.trusted-host='mirror.example'
install.no-deps='yes'
list.format='columns'
:env:.prefix='/usr'
"""
    environ = {"PATH": "/bin", "PIP_PREFIX": "/usr", "PIP_TARGET": "/x", "PIP_USER": "1", "PIP_PYTHON": "python2", "PIP_DRY_RUN": "1",
               "PIP_CERT": "/ca.pem", "PIP_TRUSTED_HOST": "other.example", "PIP_CONFIG_FILE": "/home/u/pip.conf"}  # fmt: skip
    assert environment(environ, listing) == {
        "PATH": "/bin", "PIP_INDEX_URL": "https://mirror.example/simple", "PIP_EXTRA_INDEX_URL": "https://a.example\nhttps://b.example",
        "PIP_CERT": "/ca.pem", "PIP_TRUSTED_HOST": "other.example", "PIP_CONFIG_FILE": os.devnull,
    }  # fmt: skip


HOSTILE_PIP = """\
[global]
user = true
target = {elsewhere}
find-links = {links}
[install]
prefix = {elsewhere}
root = {elsewhere}
dry-run = true
no-deps = true
"""


def test_a_package_lands_in_the_environment_whatever_pip_is_told(tmp_path: Path) -> None:
    links, elsewhere = tmp_path / "links", tmp_path / "elsewhere"
    links.mkdir()
    for name, needs in (("tiny", "Requires-Dist: small\n"), ("small", "")):
        with zipfile.ZipFile(links / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(
                f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}"
            )
            wheel.writestr(
                f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    (site,) = (tmp_path / "v").glob("lib/python*/site-packages")
    (site / "pip.pth").write_text(
        sysconfig.get_path("purelib")
    )  # the pip of this environment, which takes seconds to make anew
    (tmp_path / "pip.conf").write_text(HOSTILE_PIP.format(elsewhere=elsewhere, links=links))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_USER": "1", "PIP_TARGET": str(elsewhere), "PIP_PREFIX": str(elsewhere),
        "PIP_REQUIRE_VIRTUALENV": "1", "PYTHONUSERBASE": str(elsewhere), "PIP_NO_INDEX": "1", "PIP_DRY_RUN": "1",
        "PYTHONSAFEPATH": "1", "PYTHONPATH": str(elsewhere),
    }  # fmt: skip
    command = [tmp_path / "v/bin/python", "-I", ROOT / "core" / "install.py", "-q", "tiny"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (site / "tiny.py").exists() and (site / "small.py").exists() and not elsewhere.exists()


def test_settings_of_pip_are_those_of_uv() -> None:
    pip = {
        "PATH": "/bin", "PIP_INDEX_URL": "https://mirror.example/simple", "PIP_EXTRA_INDEX_URL": "https://a.example\nhttps://b.example",
        "PIP_FIND_LINKS": "/one /two", "PIP_CERT": "/ca.pem", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INPUT": "1", "UV_SYSTEM_PYTHON": "1",
    }  # fmt: skip
    assert environment_of_uv(pip) == {
        "PATH": "/bin", "UV_DEFAULT_INDEX": "https://mirror.example/simple", "UV_INDEX": "https://a.example https://b.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_FIND_LINKS": "/one,/two", "SSL_CERT_FILE": "/ca.pem",
    }  # fmt: skip
    assert environment_of_uv({"PIP_CLIENT_CERT": "/me.pem"}) is None, "uv has no such setting, so pip installs"


@pytest.mark.parametrize(("code", "by_pip"), [(0, False), (1, True)])
def test_uv_installs_where_it_is_there_and_pip_if_it_fails(tmp_path: Path, code: int, by_pip: bool) -> None:
    """Without an index pip has nothing to install from, so it fails in words."""
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "$UV_NO_INDEX" > {tmp_path}/given\nexit {code}\n')
    uv.chmod(0o755)
    environ = os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [sys.executable, "-I", ROOT / "core" / "install.py", "-q", "no-such-package-here"],
        env=environ, capture_output=True, text=True,
    )  # fmt: skip
    given = (tmp_path / "given").read_text().splitlines()
    assert given[:2] == ["pip", "install"] and given[given.index("--python") + 1] == sys.executable
    assert given[-3:] == ["-q", "no-such-package-here", "1"]
    assert (done.returncode != 0, "so pip does it" in done.stderr, "No matching distribution" in done.stderr) == (
        by_pip,
        by_pip,
        by_pip,
    )


MAKES = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS")  # set if make runs these tests
PLACES = ["$HOME", "$(touch made)", 'it\'s "here" #1 100%', b"caf\xe9", "two\nlines", "`x`;&"]


@pytest.mark.parametrize("place", PLACES)
def test_make_passes_nothing_on_that_misleads(tmp_path: Path, place: str | bytes) -> None:
    """A fake Python in .venv says what it is given."""
    root = tmp_path / os.fsdecode(place)
    (root / ".venv/bin").mkdir(parents=True)
    shutil.copyfile(ROOT / "Makefile", root / "Makefile")
    (root / "requirements.txt").touch()
    (root / ".venv/bin/python").write_text('#!/bin/sh\nenv\necho "called with $*"\n')
    (root / ".venv/bin/python").chmod(0o755)
    (root / ".venv/runtime.stamp").touch()
    misleading = {
        name: "1" for name in (
            "PYTHONSAFEPATH", "PYTHONPATH", "PYTHONHOME", "PYTHONOPTIMIZE", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "VIRTUAL_ENV",
            "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "CDPATH",
        )
    } | {"PYTHONWARNINGS": "error", "BASH_ENV": "/nowhere", "SHELLOPTS": "braceexpand:nounset"}  # fmt: skip
    done = subprocess.run(
        ["make", "run", "ARGS=--headless"],
        cwd=root,
        env=os.environ | misleading,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "called with autorun.py --headless" in done.stdout
    assert misleading.keys().isdisjoint(line.partition("=")[0] for line in done.stdout.splitlines())
    assert sorted(path.name for path in root.iterdir()) == [".venv", "Makefile", "requirements.txt"]


@pytest.mark.parametrize(
    ("target", "code", "out", "err"),
    [("help", 0, "make COMMAND ARGS=", ""), ("stat", 2, "", "There is no command stat. `make help` lists")],
)
def test_make_lists_its_commands(tmp_path: Path, target: str, code: int, out: str, err: str) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "requirements.txt").touch()
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\necho "called with $*"\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    (tmp_path / ".venv/runtime.stamp").touch()
    done = subprocess.run(["make", target], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, out in done.stdout, err in done.stderr) == (code, True, True), done.stdout + done.stderr
    assert ("called with -m core.cli --help" in done.stdout) == (target == "help")


def test_make_writes_the_command_into_the_environment_once(tmp_path: Path) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "requirements.txt").touch()
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\necho "called with $*"; touch .venv/bin/autoresearch\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    (tmp_path / ".venv/runtime.stamp").touch()
    environ = {name: value for name, value in os.environ.items() if name not in MAKES}
    said = [
        subprocess.check_output(["make", "status"], cwd=tmp_path, text=True, env=environ).splitlines() for _ in range(2)
    ]
    assert said == [
        ["called with -m core.launcher", "called with -m core.cli status"], ["called with -m core.cli status"]
    ]  # fmt: skip


@pytest.mark.parametrize(("signal", "given_back"), [("KILL", True), ("INT", False)])
def test_make_gives_the_terminal_back_when_the_app_is_killed(tmp_path: Path, signal: str, given_back: bool) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "requirements.txt").touch()
    for name in ("python", "autoresearch"):
        (tmp_path / ".venv/bin" / name).write_text(f"#!/bin/sh\nstty -echo\nkill -{signal} $$\nexit 3\n")
        (tmp_path / ".venv/bin" / name).chmod(0o755)
    (tmp_path / ".venv/runtime.stamp").touch()
    os.utime(tmp_path / ".venv/bin/autoresearch")  # newer than what it depends on
    environ = {name: value for name, value in os.environ.items() if name not in MAKES}
    terminal, inside = pty.openpty()
    try:
        done = subprocess.run(
            ["make", "attach"], cwd=tmp_path, env=environ, stdin=inside, stdout=inside, stderr=inside, check=False
        )
        written = os.read(terminal, 1 << 16)
        echo = bool(termios.tcgetattr(inside)[3] & termios.ECHO)
    finally:
        os.close(terminal)
        os.close(inside)
    assert done.returncode == 2, written
    assert (b"\x1b[?1049l" in written and b"\x1b[?25h" in written, echo) == (given_back, given_back), written


def tree(root: Path) -> dict[str, str]:
    """A source tree whose programs only write down that they ran. Returns the environment for make in it."""
    (root / "core").mkdir()
    for name in ("Makefile", "core/install_alone.py"):
        shutil.copyfile(ROOT / name, root / name)
    (root / "requirements.txt").touch()
    (root / "core/__init__.py").touch()
    (root / "core/install.py").write_text("import time\ntime.sleep(1)\nopen('installed', 'a').write('once ')\n")
    (root / "core/launcher.py").write_text("open('.venv/bin/autoresearch', 'w')\n")
    (root / "core/cli.py").write_text("import pip, sys\nprint('called with', sys.argv[1])\n")
    return {name: value for name, value in os.environ.items() if name not in MAKES}


def test_a_second_make_waits_for_the_installation_of_the_first(tmp_path: Path) -> None:
    environ = tree(tmp_path)
    with subprocess.Popen(["make", "status"], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as first:
        until((tmp_path / ".venv/bin/python").exists, within=60)
        second = subprocess.run(
            ["make", "runs"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120
        )
        out, _ = first.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert second.stderr == "Another make installs; waiting.\n" and second.stdout == "called with runs\n"
    assert out.endswith("called with status\n") and (tmp_path / "installed").read_text() == "once "


def test_an_environment_without_pip_gets_it_and_is_not_deleted(tmp_path: Path) -> None:
    """Such as one of `uv venv`."""
    environ = tree(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    (tmp_path / ".venv" / "mine").touch()
    done = subprocess.run(["make", "status"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.endswith("called with status\n"), done.stdout + done.stderr
    assert (tmp_path / ".venv" / "mine").exists() and done.stderr == ""


def test_an_environment_that_cannot_get_pip_is_kept(tmp_path: Path) -> None:
    environ = tree(tmp_path) | {"PATH": "/usr/bin:/bin"}  # without uv
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\n[ "$3" = "" ] || { echo "No module named $3"; exit 1; }\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    done = subprocess.run(["make", "status"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "has no pip, and none could be added: No module named ensurepip" in done.stderr
    assert "It was kept, and nothing was installed." in done.stderr and (tmp_path / ".venv/bin/python").exists()
