"""What `serve` refuses, each with one sentence and the exit code of other errors."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core.serve import address
from tests.core.serve.conftest import ROOT, Serve, command


def refusal(words: list[str]) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == "", done
    return done.stderr


def test_a_port_in_use(logs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = refusal(command("nov23", "--logs", str(logs), "--port", str(port)))
    assert found.count("\n") == 1 and f"Port {port} of 127.0.0.1 is in use" in found and "--port 0" in found


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_host_that_others_reach(logs: Path, host: str) -> None:
    found = refusal(command("nov23", "--logs", str(logs), "--host", host))
    assert "there is no TLS" in found and "--anyone" in found and "Nothing was started" in found


def test_a_host_that_others_reach_is_served_with_a_warning_where_that_is_allowed(serve: Serve) -> None:
    serving = serve("--host", "0.0.0.0", "--anyone")
    assert "there is no TLS" in serving.line
    assert serving.process.stdout is not None
    assert f"http://{socket.gethostname()}:" in serving.process.stdout.readline()


def test_a_host_and_a_run_that_do_not_exist(logs: Path) -> None:
    assert "is not known here" in refusal(command("nov23", "--logs", str(logs), "--host", "no such host"))
    assert "There is no run called nov99" in refusal(command("nov99", "--logs", str(logs)))


@pytest.mark.parametrize("package", ["textual_serve", "aiohttp"])
def test_without_its_package_it_says_how_to_install_it(logs: Path, package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from core.cli import main; main()"
    found = refusal([sys.executable, "-c", code, "serve", "nov23", "--logs", str(logs)])
    assert found.count("\n") == 1 and "`make serve` installs it" in found and "requirements-serve.txt" in found


def test_urls() -> None:
    for host in ("127.0.0.1", "localhost"):
        assert address.check_host(host, anyone=False) == ""
        with address.listen(host, 0) as listening:
            assert address.url(listening, host) == f"http://{host}:{listening.getsockname()[1]}/"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_the_url_of_an_ipv6_address_has_brackets() -> None:
    with address.listen("::1", 0) as listening:
        assert address.url(listening, "::1").startswith("http://[::1]:")
