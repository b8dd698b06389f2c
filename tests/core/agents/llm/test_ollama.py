"""One model of an Ollama server: its context, its timeouts, how it leaves the GPU. Against the protocol's server, and where
OLLAMA_HOST and AUTORESEARCH_TEST_MODEL name one, against a real server too."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.agents.base import AgentFailed, Context, PastExperiment
from core.agents.hooks import attach_callbacks, ignore
from core.agents.llm import checks, questions
from core.agents.llm.chat import LanguageModel, Unusable, needs
from core.agents.llm.connection import to_ollama
from core.agents.llm.counting import Counting
from core.agents.llm.ollama.agent import Ollama, _within
from core.agents.llm.ollama.models import full, installed, pick, sized
from core.agents.llm.server import Timeouts
from core.change import edits
from core.machine import stats
from core.model import Proposal
from core.verdicts import Verdict
from tests.fake_cuda import GIB, Cards, Nvml, make
from tests.ollama_server import MODEL, Script, serving
from tests.product import ROOT, TRAIN

CHARTER = "# Aim\n\nLowest val_bpb.\n"
SHIPPED = (ROOT / "nanochat" / "train.py").read_text()
PROGRAM = (ROOT / "program.md").read_text()
SHORT = Timeouts(first_s=0.4, idle_s=0.4, answer_s=0.8, proposal_s=5.0, unload_s=0.5)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "PAUSES_S", (0.0, 0.0))


def context(source: str = TRAIN, charter: str = CHARTER, past: tuple[PastExperiment, ...] = (), **more: Any) -> Context:
    return Context(
        charter=charter, source=source, parent=edits.fingerprint(source), number=len(past) + 1, seed=1, sigma=0.01,
        past=past, **more,
    )  # fmt: skip


def good(body: dict[str, Any], count: int) -> dict[str, Any] | str:
    """An answer in the form that is asked for, another each time; also to the question what program.md asks for."""
    form = body.get("format")
    if form is None:
        return f"A step.\n<<<<<<< SEARCH\nLR = 0.01 \n=======\nLR = {0.02 + count / 100:.2f} \n>>>>>>> REPLACE\n"
    if "goals" in form.get("properties", {}):
        return {"goals": ["lowest val_bpb"], "directions": [], "avoid": []}
    if "anyOf" in form:
        one = form["anyOf"][count % len(form["anyOf"])]["properties"]
        return {"hypothesis": "h", "knob": one["knob"]["const"], "move": one["move"]["enum"][0]}
    return {
        "hypothesis": "h",
        "edits": [{"search": "LR = 0.01 ", "replace": f"LR = {0.02 + count / 100:.2f} "}],
    }


def model(url: str, name: str = MODEL, proposal_s: float = 60.0, **settings: Any) -> tuple[LanguageModel, list[str]]:
    """The agent, and what it tells: notes, and phases in brackets."""
    found, told = LanguageModel(Ollama(name, url, **settings), proposal_s=proposal_s), []
    attach_callbacks(found, ignore, lambda words: told.append(f"[{words}]") if words else None, told.append)
    return found, told


# -- the same on a real server ----------------------------------------------------------------------------------------


@dataclass
class Server:
    url: str
    model: str
    script: Script


@pytest.fixture(params=["protocol", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "protocol":
        script = Script(good)
        with serving(script) as url:
            yield Server(url, MODEL, script)
        return
    name = os.environ.get("AUTORESEARCH_TEST_MODEL")
    if not name or not os.environ.get("OLLAMA_HOST"):
        pytest.skip("a real server is named by OLLAMA_HOST and a model of it by AUTORESEARCH_TEST_MODEL")
    yield Server(to_ollama().server.url, name, Script(good))


@pytest.mark.timeout(1800)
async def test_proposals_or_a_sentence(server: Server) -> None:
    """Nothing of the model's taste: what comes is checked, or refused in words."""
    agent, told = model(server.url, server.model, 900.0)
    agent.expect(TRAIN, CHARTER)
    await agent.understand(CHARTER)
    past: tuple[PastExperiment, ...] = ()
    for _ in range(2):
        asked = context(past=past)
        try:
            found = await agent.propose(asked)
        except Unusable as error:
            assert error.cost.tries >= 3 and error.cost.tokens > 0
            continue
        checks.check(asked, found)
        assert found.notes.prompt_tokens > 100 and found.notes.format in ("knob", "edits", "blocks")
        candidate = found.source or edits.apply(TRAIN, found.edits)
        past += (tried(len(past) + 1, found, candidate),)
    assert f"[asking ollama:{server.model}]" in told and not any("outgrown" in words for words in told)


def tried(number: int, proposal: Proposal, candidate: str) -> PastExperiment:
    return PastExperiment(
        number=number, parent=edits.fingerprint(TRAIN), fingerprint=edits.fingerprint(candidate), proposal=proposal,
        verdict=Verdict.DISCARD, gain=0.0, finding="Inconclusive: no change on one seed.",
    )  # fmt: skip


@pytest.mark.timeout(1800)
async def test_it_is_loaded_when_asked_and_gone_when_released(server: Server) -> None:
    agent, told = model(server.url, server.model, 900.0, on_gpu=True)
    client = agent._chat._client  # type: ignore[attr-defined]

    async def loaded() -> bool:
        return any(full(m.model or "") == full(server.model) for m in (await client.ps()).models)

    await client.generate(server.model, keep_alive=0)  # what the test before left
    for _ in range(100):
        if not await loaded():
            break
        await asyncio.sleep(0.2)
    await agent.understand(CHARTER)
    assert await loaded()
    await agent.release()
    assert not await loaded() and f"[unloading {server.model}]" in told and "[waiting for GPU memory]" in told


@pytest.mark.timeout(1800)
async def test_it_is_listed_with_its_figures(server: Server) -> None:
    found = {full(m.name): m for m in await installed(to_ollama(server.url))}
    mine = found[full(server.model)]
    assert mine.size > 0 and mine.context > 0 and mine.cache > 0


@pytest.mark.timeout(1800)
async def test_an_unknown_model_is_reported(server: Server) -> None:
    agent, _ = model(server.url, "no-such-model:1b")
    with pytest.raises(AgentFailed, match="ollama pull no-such-model:1b"):
        await agent.propose(context())


@pytest.mark.timeout(1800)
async def test_cancelled_it_lets_go_at_once(server: Server) -> None:
    server.script.mishap = "stalls"  # after its first words
    agent, _ = model(server.url, server.model, 900.0)
    task = asyncio.create_task(agent.propose(context()))
    attach_callbacks(agent, lambda words: task.cancel() if words else None, ignore, ignore)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


# -- the context ------------------------------------------------------------------------------------------------------


async def test_the_context_has_room_for_train_py_to_grow_though_program_md_is_asked_first() -> None:
    script = Script(good)
    longer = SHIPPED + "# a comment that somebody added to this file\n" * 60
    with serving(script) as url:
        agent, told = model(url)
        agent.expect(SHIPPED, PROGRAM)
        await agent.understand(PROGRAM)
        assert (await agent.propose(context(longer, PROGRAM))).notes.format == "knob", (
            "the answers fit another train.py"
        )
    sizes = {request["options"]["num_ctx"] for request in script.requests}
    assert len(sizes) == 1 and sizes.pop() >= 16_384 and not any("outgrown" in words for words in told)


async def test_the_context_grows_once_with_train_py_and_a_notice_says_so() -> None:
    script = Script(good)
    with serving(script) as url:
        agent, told = model(url)
        await agent.propose(context())
        found = await agent.propose(context(TRAIN + "# a long comment, with nothing to say\n" * 700))
        assert found.notes.format == "edits"
        small, large = (request["options"]["num_ctx"] for request in script.requests)
        assert (small, large > 2 * small) == (8192, True)
        assert f"train.py has outgrown the context of 8192 tokens; ollama:{MODEL} is given {large} from now on." in told
        found = await agent.propose(context(TRAIN + "# a long comment, with nothing to say\n" * 2000))
    assert found.notes.format == "knob", "no second enlargement, but the constants alone still fit"
    assert script.requests[-1]["options"]["num_ctx"] == large and len([w for w in told if "outgrown" in w]) == 1


async def test_a_context_that_was_given_stays() -> None:
    script = Script(good)
    with serving(script) as url:
        agent, _ = model(url, context=6000)
        await agent.propose(context())
        with pytest.raises(AgentFailed, match=r"given 6000. --context TOKENS"):
            await agent.propose(context(charter="Be bold. " * 4000))
    assert {request["options"]["num_ctx"] for request in script.requests} == {6000}


@pytest.mark.parametrize("mishap", ["truncated", "dropped message"])
async def test_a_prompt_that_was_cut_is_asked_once_more_with_more_room(mishap: str) -> None:
    script = Script(good, mishap=mishap, stumbles=1)
    with serving(script) as url:
        agent, told = model(url)
        assert (await agent.propose(context())).notes.format == "edits"
    one, two = (request["options"]["num_ctx"] for request in script.requests)
    assert two > one and any("outgrown" in words for words in told)


async def test_a_prompt_that_is_cut_every_time_is_a_failure_with_what_to_do() -> None:
    script = Script(good, mishap="truncated")
    with serving(script) as url:
        agent, _ = model(url)
        with pytest.raises(AgentFailed, match=r"saw only a part of the prompt.*--context \d+ gives it more"):
            await agent.propose(context(SHIPPED))


def test_what_a_server_counts() -> None:
    def asked(head: str, rest: str = "r") -> list[dict[str, str]]:
        return [{"role": "system", "content": head}, {"role": "user", "content": rest}]

    long, other = "x" * 4000, "y" * 4000
    assert not Counting().cut(asked(long), 1000, 8192)
    assert Counting().cut(asked(long), 300, 8192), "far below the estimate"
    assert Counting().cut(asked(long), 8191, 8192), "all that there is"
    assert not Counting().cut(asked(long), 0, 8192), "it does not count"
    assert not Counting().cut(asked(long), 300, 8192, warm=True), "somebody else may have filled its cache"
    counting = Counting()
    assert not counting.cut(asked(long), 1000, 8192)
    assert not counting.cut(asked(long), 20, 8192), "the cache is left out"
    assert counting.cut(asked(other), 700, 8192), "the ratio is known by now"
    counting = Counting()
    assert not counting.cut(asked(long), 1000, 8192) and not counting.cut(asked(long, "s"), 1000, 8192)
    assert counting.cut(asked(long, "t" * 4000), 1000, 8192), "a server that counts its cache has dropped something"


# -- stumbling, silence, endless answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("mishap", ["500", "dies", "error line", "no end"])
async def test_a_server_that_stumbles_is_asked_again_at_once(mishap: str) -> None:
    script = Script(good, mishap=mishap, stumbles=2)
    with serving(script) as url:
        agent, _ = model(url)
        found = await agent.propose(context())
    assert len(script.requests) == 3 and found.notes.tries == 1, "it is the same try"


@pytest.mark.parametrize("mishap", ["slow", "stalls"])
async def test_silence_before_and_within_an_answer_ends(mishap: str) -> None:
    with serving(Script(good, mishap=mishap)) as url:
        agent, _ = model(url, timeouts=SHORT)
        with pytest.raises(AgentFailed, match="took too long"):
            await agent.propose(context())


async def test_an_answer_that_never_ends_is_ended() -> None:
    with serving(Script(good, mishap="drips")) as url:
        agent, _ = model(url, timeouts=Timeouts(first_s=5, idle_s=5, answer_s=0.4))
        with pytest.raises(AgentFailed, match="took too long"):
            await agent.propose(context())


async def test_an_answer_in_a_rush_of_small_parts_is_ended_too() -> None:
    async def rush() -> AsyncGenerator[int, None]:
        for number in itertools.count():
            await asyncio.sleep(0)
            yield number

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async for _ in _within(rush(), Timeouts(answer_s=0.2)):
            assert time.monotonic() - began < 20
    assert time.monotonic() - began < 20


async def test_all_tries_together_are_bounded() -> None:
    script = Script(lambda body, count: "prose", mishap="slow")
    with serving(script) as url:
        agent, _ = model(url, proposal_s=0.5)
        with pytest.raises(AgentFailed, match=r"gave no proposal within 0\.5 s"):
            await agent.propose(context())


@pytest.mark.parametrize("mishap", ["one line", "endless"])
async def test_an_answer_without_measure_is_a_refused_try_and_the_stream_is_closed(mishap: str) -> None:
    script = Script(good, mishap=mishap, stumbles=1)
    with serving(script) as url:
        agent, _ = model(url)
        found = await agent.propose(context())
        assert found.notes.tries == 2
        assert "too long and was cut off" in script.requests[1]["messages"][-1]["content"]
        if mishap == "endless":
            async with asyncio.timeout(100):
                while not script.closed:  # noqa: ASYNC110  a thread of the server fills it
                    await asyncio.sleep(0.02)
            assert script.closed == 1


@pytest.mark.parametrize(
    ("mishap", "words"), [("no line break", "without a line break"), ("packed", "compressed answer")]
)
async def test_an_answer_that_only_fills_memory_is_broken_off(mishap: str, words: str) -> None:
    script = Script(good, mishap=mishap)
    with serving(script) as url:
        agent, _ = model(url)
        with pytest.raises(AgentFailed, match=words):
            await agent.propose(context())
        assert len(script.requests) == 1


# -- leaving the GPU --------------------------------------------------------------------------------------------------


async def test_a_model_without_a_tag_is_known_by_its_full_name() -> None:
    script = Script(good, models=("coder",), sticky=True)
    with serving(script) as url:
        agent, _ = model(url, "coder", on_gpu=True, timeouts=Timeouts(unload_s=3))
        await agent.propose(context())
        with pytest.raises(AgentFailed, match=r"keeps coder loaded for 3 s"):
            await agent.release()
        script.sticky = False
        await agent.propose(context())
        await agent.release()
        assert not script.loaded, "it was ours all the time"
    assert [full(name) for name in ("a", "a:1b", "r/a", "host:80/r/a")] == [
        "a:latest", "a:1b", "r/a:latest", "host:80/r/a:latest",
    ]  # fmt: skip


async def test_a_release_that_is_cut_short_is_made_up_for_at_the_end() -> None:
    script = Script(good, sticky=True)
    with serving(script) as url:
        agent, told = model(url, on_gpu=True)
        await agent.propose(context())
        release = asyncio.create_task(agent.release())
        async with asyncio.timeout(100):
            while not any("unloading" in words for words in told):  # noqa: ASYNC110  a plain callback fills it
                await asyncio.sleep(0.01)
        while not release.done():  # Python 3.11 lets a cancellation go by that comes together with an answer
            release.cancel()
            await asyncio.sleep(0.01)
        assert release.cancelled()
        script.sticky = False
        await agent.release()
        assert not script.loaded


async def test_a_model_in_use_elsewhere_stays_loaded_with_one_notice() -> None:
    script = Script(good, loaded={MODEL})
    with serving(script) as url:
        agent, told = model(url, on_gpu=True)
        for _ in range(2):
            await agent.propose(context())
            await agent.release()
        assert script.loaded == {MODEL} and not any("unloading" in words for words in told)
        (said,) = [words for words in told if "before this run asked it" in words]
        assert f"`ollama stop {MODEL}`" in said and script.requests[0].get("keep_alive") is None
        script.loaded.clear()  # they are done with it
        await agent.propose(context())
        await agent.release()
        assert not script.loaded and script.requests[-1]["keep_alive"] == "15m"


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    """One fake card of 8 GiB, as the driver's library shows it to this process."""
    made = make(tmp_path / "cards")
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(made))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stats._nvml.cache_clear()
    yield made
    stats._nvml.cache_clear()


@pytest.mark.parametrize("vram", [100_000_000, 5 * GIB])
async def test_memory_that_is_freed_late_is_waited_for(cards: Cards, vram: int) -> None:
    script = Script(good, cards=cards, vram=vram, frees_s=1.0)
    with serving(script) as url:
        agent, told = model(url, on_gpu=True, timeouts=Timeouts(freed_s=60))
        await agent.propose(context())
        assert stats.gpus()[0].memory_used == vram
        await agent.release()
    assert len(script.freed) == 1 and stats.gpus()[0].memory_used == 0
    assert not any("still shows" in words for words in told)


async def test_memory_that_is_never_freed_gives_one_notice_and_the_wait_ends(cards: Cards) -> None:
    script = Script(good, cards=cards, vram=5 * GIB, frees_s=None)
    with serving(script) as url:
        agent, told = model(url, on_gpu=True, timeouts=Timeouts(freed_s=0.3))
        for _ in range(2):
            await agent.propose(context())
            await agent.release()
        (said,) = [words for words in told if "still shows its memory in use" in words]
        assert "5.4 GB" in said and "nvidia-smi" in said
        script.frees_s = 0.0
        await agent.propose(context())
        await agent.release()
        assert stats.gpus()[0].memory_used == 0
        script.frees_s = None
        await agent.propose(context())
        await agent.release()
    assert len([words for words in told if "still shows" in words]) == 2, "it had been free in between"


async def test_a_model_that_runs_on_the_cpu_leaves_no_memory_to_wait_for(cards: Cards) -> None:
    cards.occupy(GIB, pid=1)
    script = Script(good, cards=cards, vram=0)
    with serving(script) as url:
        agent, told = model(url, on_gpu=True, timeouts=Timeouts(freed_s=500))
        await agent.propose(context())
        await agent.release()
    assert not any("still shows" in words for words in told)


async def test_a_server_that_was_never_reached_is_not_asked_to_unload() -> None:
    agent, told = model("http://127.0.0.1:9", on_gpu=True)
    with pytest.raises(AgentFailed, match="does not answer"):
        await agent.propose(context())
    await agent.release()
    assert not told


# -- which models there are -------------------------------------------------------------------------------------------


async def test_one_model_that_cannot_be_shown_does_not_hide_the_others() -> None:
    script = Script(good, models=("broken:7b", MODEL, "glm:355b-cloud"), unshown=("broken:7b",))
    with serving(script) as url:
        found = await installed(to_ollama(url))
    assert [m.name for m in found] == ["broken:7b", MODEL, "glm:355b-cloud"] and found[0].context == 0
    chosen = pick([m for m in found if m.name != "broken:7b"], 80 * 10**9)
    assert chosen is not None and chosen[0].name == MODEL, "what runs elsewhere is never taken by itself"


def test_the_sum_uses_the_context_of_the_task() -> None:
    tokens = sized(needs(SHIPPED, PROGRAM))
    assert 16_384 <= tokens <= 24_576 and tokens % 4096 == 0
