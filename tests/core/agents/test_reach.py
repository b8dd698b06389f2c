"""An agent that cannot be reached is refused before a run starts, if it is the only one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from core.agents import reach
from core.machine.project import UsageError
from tests.e2e.conftest import prepared, product  # noqa: F401
from tests.ollama_server import MODEL, Script, serving
from tests.product import Product

NOWHERE = "http://127.0.0.1:1"  # nothing listens there


def refusal(spec: str) -> str:
    with pytest.raises(UsageError) as refused:
        reach.check(spec)
    return str(refused.value)


def test_a_model_without_its_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", NOWHERE)
    words = refusal("ollama:foo")
    assert "Ollama does not answer at" in words and "Nothing was started." in words
    assert "`--agent search` needs no model" in words and "--agent ollama:foo,search" in words
    reach.check("ollama:foo,search")


def test_a_model_that_the_server_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Script(lambda body, count: "")) as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        assert "has no model foo. `ollama pull foo` installs it. Nothing was started." in refusal("ollama:foo")
        reach.check(f"ollama:{MODEL}")
        reach.check("ollama:foo,search")


def test_by_default_search_proposes_beside_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Script(lambda body, count: "")) as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        agents, why = reach.default(8192)
    assert agents == f"ollama:{MODEL},search" and "`search` proposes too" in why


def test_an_endpoint_counts_as_reached_whatever_it_responds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{NOWHERE}/v1")
    words = refusal("openai:any")
    assert "Nothing answers at" in words and "OPENAI_BASE_URL names another place. Nothing was started." in words
    with serving(Script(lambda body, count: "")) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")  # it responds 404
        reach.check("openai:any")
    monkeypatch.setattr("core.agents.llm.connection.CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts connections and responds nothing
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        reach.check("openai:any")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("command:no-such-agent --yes", "no-such-agent is not installed (not on PATH). Nothing was started."),
        ("command:'open", "cannot be read"),
    ],
)
def test_a_command_that_is_not_there_is_refused(spec: str, words: str) -> None:
    assert words in refusal(spec)


@pytest.mark.parametrize("spec", ["search", "command:sh -c true", "command:./agent.sh", "script:ideas.jsonl"])
def test_others_are_not_refused(spec: str) -> None:
    reach.check(spec)


def test_nothing_is_written_for_an_agent_that_is_not_reached(product: Product) -> None:  # noqa: F811
    product.env["OLLAMA_HOST"] = NOWHERE
    before = product.git("for-each-ref")
    done = product.run("--agent", "ollama:foo")
    assert done.returncode == 1 and "Ollama does not answer at" in done.stderr and "Traceback" not in done.stderr
    assert not Path(product.logs / "r").exists() and product.git("for-each-ref") == before
