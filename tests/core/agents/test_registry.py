"""Agents by name, and what the user says of all of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.agents import registry
from core.machine.project import UsageError
from tests.conftest import ROOT


def test_a_list_is_split_where_an_agent_begins() -> None:
    spec = "ollama:a:1b,search, command:sh -c 'a,b',claude"
    assert registry.parts(spec) == ["ollama:a:1b", "search", "command:sh -c 'a,b'", "claude"]


def test_the_context_by_option_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTORESEARCH_CONTEXT", raising=False)
    assert registry.given() == 0
    monkeypatch.setenv("AUTORESEARCH_CONTEXT", "5000")
    assert registry.given() == 5000 and registry.given(6000) == 6000
    for wrong in ("many", "-1", "12"):
        monkeypatch.setenv("AUTORESEARCH_CONTEXT", wrong)
        with pytest.raises(UsageError, match=f"AUTORESEARCH_CONTEXT is '{wrong}'; give tokens"):
            registry.check("search")
    with pytest.raises(UsageError, match="--context is '12'"):
        registry.check("search", context=12)


def test_agents_without_a_server_import_no_http_client() -> None:
    """That would take a fifth of the time of a start."""
    code = (
        "import sys; from core.agents import registry; registry.check_settings('search,script:ideas.jsonl,command:sh');"
        "print(sorted({'httpx', 'ollama', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_openai_without_the_package_or_a_key_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UsageError, match=r"pip install openai|OPENAI_API_KEY"):
        registry.check_settings("search,openai:any")


@pytest.mark.parametrize(
    ("spec", "words"), [("python:no-such-file.py", "does not exist"), ("codex", "is not installed")]
)
def test_a_missing_agent_is_reported_before_anything_starts(
    spec: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=words):
        registry.check(spec)
