"""The way to a model server: a real server, a real proxy that records, and what an environment can have in it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import doctor
from core.agents import listing, reach, registry
from core.agents.base import AgentFailed
from core.agents.llm.address import ollama
from core.agents.llm.connection import options, to_ollama, to_openai
from core.agents.llm.ollama.models import installed
from core.machine.project import Project, UsageError
from nanochat.contract.route import here, route
from tests.ollama_server import MODEL, Script, serving
from tests.product import ROOT
from tests.proxy import Recorded, proxy

FAR = "model-box.example"  # never resolved: the proxy would do that
READ = re.compile(r".*_proxy|OLLAMA_.*|OPENAI_.*|SSL.*", re.IGNORECASE)


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if READ.fullmatch(name)]:
        monkeypatch.delenv(name)


@pytest.fixture
def recorder() -> Iterator[Recorded]:
    with proxy() as found:
        yield found


def asked(host: str) -> str:
    """The names of the models there, or the sentence why not."""
    try:
        return ",".join(model.name for model in asyncio.run(installed(to_ollama(host))))
    except AgentFailed as error:
        return str(error)


# -- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_this_machine_is_never_asked_through_a_proxy(
    variable: str, recorder: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, recorder.url)
    with serving(Script(lambda body, count: "")) as url:
        port = url.rpartition(":")[2]
        for host in (url, f"localhost:{port}", f"0.0.0.0:{port}", f"127.1:{port}", f"[::ffff:127.0.0.1]:{port}"):
            assert asked(host) == MODEL, host
        assert recorder.asked == []
        words = asked(f"{FAR}:{port}")
    assert recorder.asked == [f"GET http://{FAR}:{port}/api/tags HTTP/1.1"]
    assert f"http://{FAR}:{port} through the proxy {recorder.url} ({variable}) refused (403): no entry" in words


NAMES = {
    "near.test": ["127.0.0.1", "::1"],
    "far.test": ["192.0.2.1"],
    "both.test": ["127.0.0.1", "192.0.2.1"],
    "blocked.test": ["0.0.0.0"],
}


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file of hosts would say; the sandbox of the tests has none to write to."""
    real = socket.getaddrinfo

    def found(host: str, *more: Any, **options: Any) -> Any:
        if host not in NAMES:
            return real(host, *more, **options)
        return [entry for ip in NAMES[host] for entry in real(ip, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize(("name", "direct"), [("near.test", True), ("NEAR.test", True), ("far.test", False), ("both.test", False),
                                              ("blocked.test", False), (FAR, False)])  # fmt: skip
def test_a_name_that_stands_for_this_machine_is_this_machine(
    name: str, direct: bool, hosts: None, recorder: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", recorder.url)
    way = to_ollama(name)
    assert (way.proxy is None) is direct and here(way.server) is direct
    monkeypatch.setenv("OPENAI_BASE_URL", f"https://{name}/v1")
    assert (to_openai().proxy is None) is direct


def test_a_resolver_that_hangs_holds_nothing_up(recorder: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *more, **options: [][: done.wait(20)])
    monkeypatch.setattr("nanochat.contract.route.RESOLVED_S", 0.05)
    monkeypatch.setenv("ALL_PROXY", recorder.url)
    try:
        assert to_ollama(FAR).proxy is not None
    finally:
        done.set()


def test_no_name_is_resolved_where_no_proxy_would_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *more, **options: asked.append(more))
    assert to_ollama(FAR).proxy is None
    monkeypatch.setenv("ALL_PROXY", "proxy.example")
    monkeypatch.setenv("NO_PROXY", FAR)
    assert to_ollama(FAR).proxy is None and asked == []


def test_what_is_this_machine() -> None:
    own = socket.gethostname().partition(".")[0]
    near = [
        "",
        "localhost",
        "a.localhost",
        "localhost.",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "[::]",
        "0.0.0.0",
        own,
        "ip6-localhost",
        "LOCALHOST.localdomain",
    ]
    assert all(here(ollama(host)) for host in near)
    assert not any(here(ollama(host)) for host in (FAR, "128.0.0.1", "localhost.example", "192.0.2.1", "2001:db8::1"))


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", FAR, True), ("a.b,*", FAR, True), (FAR, FAR, True), (".example", FAR, True), ("example", FAR, True), ("*.example", FAR, True),
        ("other.example", FAR, False), ("box.example", FAR, False), (f"{FAR}:11434", FAR, True), (f"{FAR}:80", FAR, False),
        ("::1,fe80::/10", FAR, False),
        ("fe80::/10", "[fe80::9]", True), ("[2001:db8::1]", "2001:db8::1", True), ("2001:db8::1", "[2001:db8::1]:5", True),
        ("192.0.2.0/24, x", "192.0.2.7", True), ("192.0.2.7", "192.0.2.7", True), ("192.0.2.7:1", "192.0.2.7", False), ("[", FAR, False),
        ("", FAR, False), (",,://", FAR, False), ("]:x,%,::", "192.0.2.7", False), (FAR.upper(), FAR, True),
    ],
)  # fmt: skip
def test_no_proxy(no_proxy: str, host: str, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (to_ollama(host).proxy is None) is direct


def test_the_scheme_selects_the_proxy_and_an_empty_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "one.example:1")
    monkeypatch.setenv("ALL_PROXY", "http://me:secret@two.example")
    assert (
        to_ollama(f"https://{FAR}").words == f"https://{FAR}:443 through the proxy http://one.example:1 (HTTPS_PROXY)"
    )
    way = to_ollama(FAR)
    assert way.words == f"http://{FAR}:11434 through the proxy http://two.example:80 (ALL_PROXY)"
    assert options(way)["proxy"] == "http://me:secret@two.example:80" and "secret" not in repr(way)
    monkeypatch.setenv("ALL_PROXY", "")
    assert to_ollama(FAR).proxy is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks5://127.0.0.1:1080", "ALL_PROXY names a SOCKS proxy, which needs the package socksio"),
        ("socks5h://u:pw@box", "ALL_PROXY names a SOCKS proxy"), ("socks4://box", "ALL_PROXY is 'socks4://box'"),
        ("http://[::1", "ALL_PROXY is 'http://[::1'"), ("http://u:pw@box:port", "ALL_PROXY is 'http://***@box:port'"),
        ("nonsense nonsense", "ALL_PROXY is 'nonsense nonsense'"), ("ftp://box", "ALL_PROXY is"), ("http://a..b", "ALL_PROXY is"),
    ],
)  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_one_sentence_and_only_where_it_counts(
    value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    assert words in asked(FAR) and "pw" not in asked(FAR)
    monkeypatch.setenv("OLLAMA_HOST", FAR)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    for spec in ("ollama:a", "openai:a"):
        with pytest.raises(UsageError, match=r"ALL_PROXY .*\. Nothing was started\."):
            registry.check_settings(f"search,{spec}")
    assert words in reach.default(8192)[1] and reach.default(8192)[0] == "search"
    assert words in doctor._ollama().words and words in doctor._openai().words
    lines = list(listing.lines(listing.survey(Project(ROOT, ROOT / "logs"))))
    assert all(any(line.startswith(f"{name}: {words}") for line in lines) for name in ("ollama", "openai"))
    with serving(Script(lambda body, count: "")) as url:
        assert asked(url) == MODEL


# -- certificates and keys --------------------------------------------------------------------------------------------


def test_wrong_certificates_matter_only_to_an_encrypted_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    with serving(Script(lambda body, count: "")) as url:
        for name, value in (
            ("SSL_CERT_FILE", "/no/such.pem"), ("SSL_CERT_FILE", str(garbage)), ("SSL_CERT_FILE", str(tmp_path)),
            ("SSL_CERT_DIR", "/no/such"), ("SSLKEYLOGFILE", "/no/such/log"),
        ):  # fmt: skip
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                assert asked(url) == MODEL
                words = asked(url.replace("http", "https"))
                assert (
                    words.startswith(f"{name} is {value!r}, which cannot be used (") and "Correct or unset it" in words
                )
        assert "There is no encrypted connection to Ollama at https://127.0.0.1" in asked(url.replace("http", "https"))


@pytest.mark.parametrize("key", ["ü", "a\nb", "a b", " ", "\x07"])
def test_a_key_that_no_request_can_carry_is_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", key)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    assert asked("127.0.0.1:9") == "OLLAMA_API_KEY has spaces or characters that cannot be sent. Correct or unset it."
    with pytest.raises(AgentFailed, match="OPENAI_API_KEY has spaces or characters"):
        to_openai()


@pytest.mark.parametrize(
    "value", ["X-Team: ü", "X-Team: a\r\nb c: d", "a b: c", ": c", "X: \x07", "good: 1\nX-Team: \udcff", "é: 1"]
)
def test_headers_that_no_request_can_carry_are_named_by_their_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", value)
    with pytest.raises(AgentFailed, match="OPENAI_CUSTOM_HEADERS has a line that cannot be sent as a header"):
        to_openai()
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: a b\n\nno header\n X_2 : {e}")
    to_openai()


def test_user_password_and_key_go_to_the_server_and_into_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(lambda body, count: "")
    with serving(script) as url:
        assert asked(url.replace("//", "//me:p%40ss@")) == MODEL
        assert {line["authorization"] for line in script.headers} == {"Basic bWU6cEBzcw=="}
        script.headers.clear()
        monkeypatch.setenv("OLLAMA_API_KEY", " 'token' ")
        assert asked(url) == MODEL and script.headers[0]["authorization"] == "Bearer token"
    words = asked(url.replace("//", "//me:pass@"))
    assert "does not answer" in words and "pass" not in words


# -- the whole -----------------------------------------------------------------------------------------------------------


def test_no_environment_breaks_the_choice_of_an_agent() -> None:
    """In a process of its own: the package `ollama` makes a client as it is imported."""
    env = {
        **os.environ, "ALL_PROXY": "socks5://127.0.0.1:1", "HTTP_PROXY": "http://[::1", "NO_PROXY": "::1,[",
        "SSL_CERT_FILE": "/no/such", "OLLAMA_API_KEY": "k",
        "SSLKEYLOGFILE": "/no/such/log", "OLLAMA_HOST": "http://u:secret@[::1",
    }  # fmt: skip
    code = "from core.agents import reach; print(reach.default(8192)); import os; print(os.environ['OLLAMA_HOST'])"
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, timeout=100)
    first, second = done.stdout.splitlines()
    assert done.stderr == "" and "('search', \"OLLAMA_HOST is 'http://***@[::1'" in first and "secret" not in first
    assert second == env["OLLAMA_HOST"], "nothing of the environment is changed"


def test_the_reason_for_search_is_always_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Script(lambda body, count: "", models=())) as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        assert "has no model; `ollama pull" in reach.default(8192)[1]
    assert "does not answer at" in reach.default(8192)[1]
    monkeypatch.delenv("OLLAMA_HOST")
    monkeypatch.setattr("core.agents.llm.connection.address.OLLAMA_PORT", 9)
    agent, why = reach.default(8192)
    assert agent == "search" and re.fullmatch(r"Ollama is not (installed|running) here, so `search` proposes\.", why)
    assert route(ollama("")).words == "http://127.0.0.1:9"
