"""An OpenAI-compatible endpoint, through the real package and real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from core.agents import registry
from core.agents.base import AgentFailed, Context
from core.agents.hooks import ignore
from core.agents.llm import questions, server
from core.agents.llm.chat import LanguageModel, Unusable
from core.agents.team import Team
from core.change import edits
from tests.openai_server import MODEL, Script, serving
from tests.product import TRAIN
from tests.proxy import proxy


def context() -> Context:
    return Context(charter="# Aim\n", source=TRAIN, parent=edits.fingerprint(TRAIN), number=1, seed=1, sigma=0.01)


openai = pytest.importorskip("openai", reason="`.venv/bin/python -m pip install openai` brings the extra")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.agents.llm import openai as module

    monkeypatch.setattr(questions, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(module, "ASKED_AGAIN", 0)


def answer(body: dict[str, Any], count: int) -> str:
    return f"A step.\n<<<<<<< SEARCH\nLR = 0.01 \n=======\nLR = {0.02 + count / 100:.2f} \n>>>>>>> REPLACE\n"


def agent(url: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> LanguageModel:
    from core.agents.llm.openai import OpenAI

    monkeypatch.setenv("OPENAI_BASE_URL", url)
    return LanguageModel(OpenAI(MODEL, **settings))


async def test_proposals_also_after_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(answer)
    heard: list[str] = []
    with serving(script) as url:
        model = agent(url, monkeypatch)
        model.on_text = heard.append
        team = Team([model])
        for _ in range(2):
            found = await team.propose(context())
            await team.release()
    assert found.notes.format == "blocks" and found.agent == f"openai:{MODEL}" and found.hypothesis == "A step."
    assert found.notes.prompt_tokens > 100 and found.notes.tokens > 0
    assert any("A step" in words for words in heard) and len(script.requests) == 2
    assert script.requests[0]["model"] == MODEL and script.requests[0]["stream"] is True


async def test_usage_without_numbers_counts_as_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(answer)
    script.mishap = "odd bill"
    with serving(script) as url:
        found = await agent(url, monkeypatch).propose(context())
    assert found.hypothesis == "A step." and (found.notes.prompt_tokens, found.notes.tokens) == (0, 0)


async def test_a_simpler_form_comes_with_a_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(lambda body, count: "I would rather not.")
    with serving(script) as url, pytest.raises(Unusable):
        await agent(url, monkeypatch).propose(context())
    assert script.requests[-1]["response_format"]["json_schema"]["schema"]["anyOf"]
    assert len(script.requests) == 9 and "response_format" not in script.requests[0]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(
    ("answers", "refuses", "count", "words"),
    [
        (lambda b: b.get("reasoning_effort") == "low", None, 2, "thinking at level low and 4000 tokens"),
        (lambda b: "chat_template_kwargs" in b, None, 3, "thinking off and 4000 tokens"),
        (lambda b: b["max_completion_tokens"] > 4000, lambda b: {"reasoning_effort", "chat_template_kwargs"} & b.keys(), 4,
         "default thinking and 8000 tokens"),
    ],
)  # fmt: skip
async def test_an_endpoint_whose_model_only_thinks_is_asked_otherwise(
    name: str, answers: Any, refuses: Any, count: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(answer, thinks=lambda body: not answers(body), refuses=refuses, field=name)
    with serving(script) as url:
        model = agent(url, monkeypatch)
        found = await model.propose(context())
        assert len(script.requests) == count and found.notes.thinking == words and found.notes.tries == 1
        await model.propose(context())
        assert len(script.requests) == count + 1
        script.thinks = lambda body: True
        with pytest.raises(AgentFailed, match=r"used all \d+ tokens for thinking"):
            await model.propose(context())


async def test_an_endpoint_with_too_small_a_context_for_thoughts_is_asked_as_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(answer, thinks=lambda body: True, refuses=lambda body: body["max_completion_tokens"] > 1000)
    with serving(script) as url:
        model = agent(url, monkeypatch)
        with pytest.raises(AgentFailed, match="used all 1000 tokens for thinking"):
            await model.propose(context())
        script.thinks = None
        assert (await model.propose(context())).hypothesis == "A step."
    assert len(script.requests) == 5


@pytest.mark.parametrize("setting", ["http://user:pw@box:port/v1", "box/v1", "http://[::1/v1", "unix:///x"])
async def test_an_invalid_address_is_reported_in_a_sentence(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AgentFailed, match="OPENAI_BASE_URL is '") as raised:
        await agent(setting, monkeypatch).propose(context())
    assert "pw" not in str(raised.value)


async def test_this_machine_is_asked_without_a_proxy_and_another_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    far = "http://model-box.example:80/v1"
    script = Script(answer)
    with serving(script) as url, proxy() as recorder:
        monkeypatch.setenv("HTTP_PROXY", recorder.url)
        assert (await agent(url.removeprefix("http://"), monkeypatch).propose(context())).hypothesis == "A step."
        assert recorder.asked == []
        with pytest.raises(AgentFailed, match=rf"at {far} through the proxy {recorder.url} \(HTTP_PROXY\): .*403"):
            await agent(far, monkeypatch).propose(context())
    assert recorder.asked[0] == "POST http://model-box.example/v1/chat/completions HTTP/1.1"


@pytest.mark.parametrize(
    ("status", "headers", "words", "wait_s"),
    [
        (404, {}, "no such luck", 0),
        (401, {}, "no such luck", 0),
        (429, {"retry-after": "77"}, "no such luck", 77),
        (500, {}, "no such luck", 0),
    ],
)
async def test_refusals(
    status: int, headers: dict[str, str], words: str, wait_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(answer, status=status, headers=headers)
    with serving(script) as url, pytest.raises(AgentFailed, match=words) as raised:
        await agent(url, monkeypatch).propose(context())
    assert raised.value.wait_s == wait_s and str(raised.value).startswith(f"openai:{MODEL}")


async def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AgentFailed, match=r"cannot be reached at http://127.0.0.1:9/v1 \(All connection"):
        await agent("http://127.0.0.1:9/v1", monkeypatch).propose(context())


async def test_an_answer_that_breaks_off_and_one_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Script(answer, mishap="no end")) as url, pytest.raises(AgentFailed, match="in the middle"):
        await agent(url, monkeypatch).propose(context())
    with serving(Script(answer, mishap="endless")) as url:
        found = await agent(url, monkeypatch)._chat.ask([{"role": "user", "content": "x"}], None, ignore)
    assert found.cut and len(found.text) == server.LONGEST


async def test_its_context_is_what_the_user_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("AUTORESEARCH_CONTEXT", "5000")
    model = registry.check(f"openai:{MODEL}")().parts[0]  # type: ignore[attr-defined]
    assert await model._chat.context(1) == 5000
    model = registry.check(f"openai:{MODEL}", context=6000)().parts[0]  # type: ignore[attr-defined]
    assert await model._chat.context(1) == 6000
