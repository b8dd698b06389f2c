"""An OpenAI-compatible endpoint, through the real package and real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from core import edits
from core.agents import chat, registry
from core.agents.base import AgentFailed, Context, nobody
from core.agents.chat import LanguageModel, Unusable
from core.agents.several import Turns
from tests.openai_server import MODEL, Script, serving
from tests.product import TRAIN


def context() -> Context:
    return Context(charter="# Aim\n", source=TRAIN, parent=edits.fingerprint(TRAIN), number=1, seed=1, sigma=0.01)


openai = pytest.importorskip("openai", reason="`.venv/bin/python -m pip install openai` brings the extra")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.agents import openai as module

    monkeypatch.setattr(chat, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(module, "ASKED_AGAIN", 0)


def answer(body: dict[str, Any], count: int) -> str:
    return f"A step.\n<<<<<<< SEARCH\nLR = 0.01 \n=======\nLR = {0.02 + count / 100:.2f} \n>>>>>>> REPLACE\n"


def agent(url: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> LanguageModel:
    from core.agents.openai import OpenAI

    monkeypatch.setenv("OPENAI_BASE_URL", url)
    return LanguageModel(OpenAI(MODEL, **settings))


async def test_proposals_also_after_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(answer)
    heard: list[str] = []
    with serving(script) as url:
        model = agent(url, monkeypatch)
        model.hear = heard.append
        turns = Turns([model])
        for _ in range(2):
            found = await turns.propose(context())
            await turns.release()
    assert found.meta["format"] == "blocks" and found.agent == f"openai:{MODEL}" and found.hypothesis == "A step."
    assert found.meta["prompt_tokens"] > 100 and found.meta["tokens"] > 0
    assert any("A step" in words for words in heard) and len(script.requests) == 2
    assert script.requests[0]["model"] == MODEL and script.requests[0]["stream"] is True


async def test_an_endpoint_whose_bill_is_no_figures_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(answer)
    script.mishap = "odd bill"
    with serving(script) as url:
        found = await agent(url, monkeypatch).propose(context())
    assert found.hypothesis == "A step." and (found.meta["prompt_tokens"], found.meta["tokens"]) == (0, 0)


async def test_a_simpler_form_comes_with_a_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(lambda body, count: "I would rather not.")
    with serving(script) as url, pytest.raises(Unusable):
        await agent(url, monkeypatch).propose(context())
    assert script.requests[-1]["response_format"]["json_schema"]["schema"]["anyOf"]
    assert len(script.requests) == 9 and "response_format" not in script.requests[0]


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
        found = await agent(url, monkeypatch)._chat.ask([{"role": "user", "content": "x"}], None, nobody)
    assert found.cut and len(found.text) == chat.LONGEST


async def test_its_context_is_what_the_user_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("AUTORESEARCH_CONTEXT", "5000")
    model = registry.check(f"openai:{MODEL}")().parts[0]  # type: ignore[attr-defined]
    assert await model._chat.context(1) == 5000
    model = registry.check(f"openai:{MODEL}", context=6000)().parts[0]  # type: ignore[attr-defined]
    assert await model._chat.context(1) == 6000
