"""Language models in a whole run: real HTTP and the command line. Scores are computed, since agents are the subject."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from core.execution.deterministic import World
from core.record import events as ev
from core.record import journal
from tests.e2e.models import SPEED, ideas, with_ollama
from tests.ollama_server import MODEL, Script, serving
from tests.product import Product, until


@pytest.fixture(autouse=True)
def computed(product: Product) -> None:
    product.compute(World(noise=0.005, seconds=0.1))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("tenancy", "count"), [("coresident", 12), ("unload", 9)])
def test_the_night_goes_on_while_the_server_dies_and_comes_back(product: Product, tenancy: str, count: int) -> None:
    model, script = f"ollama:{MODEL}", Script(ideas)

    def agents() -> list[str]:
        return [e.agent for e in product.state().experiments.values()]

    with serving(script) as url:
        with_ollama(product, url)
        process = product.start(*product.options(), "--agent", model, "--tenancy", tenancy, *SPEED)
        wait(product, count // 3)
    port = int(url.rsplit(":", 1)[1])
    wait(product, count // 2)
    until(lambda: "search" in agents())  # some proposals were made ahead; then somebody has to stand in
    with serving(script, port):
        # Who stands in may have made a whole phase's proposals ahead: how many come before the model is asked again is open.
        until(lambda: model in agents()[agents().index("search") :])
        wait(product, count)
        product("stop", "r")
        out, _ = process.communicate(timeout=250)
    assert process.returncode == 0, out
    state = product.state()
    assert state.judged >= count and agents()[0] == model
    stood_in = [e for e in state.experiments.values() if e.agent == "search"]
    assert all(e.notes.instead == f"ollama:{MODEL}" for e in stood_in)
    assert any("does not answer" in e.notes.why for e in stood_in)
    assert "instead of ollama" in out and not product.strays()
    events = list(journal.read(product.logs / "r" / journal.NAME))
    assert not [e for e in events if isinstance(e, ev.Refused)], "no proposal is missing: another stood in"
    if tenancy == "unload":
        assert not script.loaded, "it left"
    facts = json.loads(product("status", "r", "--json").stdout)
    scores = {row["agent"]: row for row in facts["agents"]}
    assert (
        scores[f"ollama:{MODEL}"]["proposed"] == agents().count(f"ollama:{MODEL}")
        and scores[f"ollama:{MODEL}"]["tokens"] > 0
    )
    assert "search" in product("status", "r").stdout and "| agent |" in product("notebook", "r").stdout


def wait(product: Product, judged: int) -> None:
    until(lambda: (product.logs / "r" / journal.NAME).exists() and product.state().judged >= judged)


def test_a_run_without_a_named_agent_takes_the_model_that_is_there(product: Product) -> None:
    with serving(Script(ideas, models=("big:70b", MODEL))) as url:
        with_ollama(product, url)
        done = product(*product.options(), *SPEED, "--max-experiments", "1")
        assert done.returncode == 0, done.stderr
        assert "1.0 GB of weights" in done.stdout
        listed = product("agents").stdout
        assert f"ollama:{MODEL}" in listed and "the default" in listed and "context 32768" in listed
    state = product.state()
    assert state.experiments[1].agent.startswith("ollama:") and state.config.agent == f"ollama:{MODEL},search"
    assert state.charter is not None and "directions: the schedule, says the model" in state.charter.understood


def test_a_failed_restatement_is_asked_again_and_all_is_booked(product: Product) -> None:
    restated: list[int] = []

    def answer(body: dict[str, Any], count: int) -> dict[str, Any] | str:
        if "goals" not in body["format"].get("properties", {}):
            return ideas(body, count)
        restated.append(count)
        limits = {"max_params": 5_000_000, "off_limits": []}
        return "Hm." if len(restated) == 1 else {"goals": ["lowest"], "directions": [], "avoid": [], "limits": limits}

    with serving(Script(answer)) as url:
        with_ollama(product, url)
        done = product.run("--agent", f"ollama:{MODEL}", *SPEED, "--max-experiments", "2")
    assert done.returncode == 0, done.stderr
    assert len(restated) == 2 and f"ollama:{MODEL} could not restate it and is asked again later" in done.stdout
    state = product.state()
    assert state.charter is not None and "goals: lowest" in state.charter.understood
    assert any("proposed limits, not checked: max_params: 5000000" in words for words in state.charter.understood)
    (row,) = json.loads(product("status", "r", "--json").stdout)["agents"]
    form = row["formats"]["understanding"]
    assert (form["asked"], form["answered"], form["passed"]) == (2, 2, 1) and form["tokens"] > 0
    edits = row["formats"]["edits"]
    trained = sum(bool(e.launched) for e in state.experiments.values())  # a keep can overtake the second
    assert edits["passed"] == 2 and edits["trained"] == trained and row["tokens"] == edits["tokens"] + form["tokens"]


def test_a_model_on_the_training_gpu_leaves_before_anything_trains(product: Product) -> None:
    script = Script(ideas)
    with serving(script) as url:
        with_ollama(product, url)
        options = ("--agent", f"ollama:{MODEL}", "--tenancy", "unload", *SPEED, "--max-experiments", "5")
        done = product.run(*options)
    assert done.returncode == 0, done.stderr
    offset = time.time() - time.monotonic()
    assert all(request["options"]["num_ctx"] == script.requests[0]["options"]["num_ctx"] for request in script.requests)
    chats = [t + offset for path, t in script.log if path == "/api/chat"]
    unloads = [t + offset for path, t in script.log if path == "/api/generate"]
    spans = training(product)
    assert len(chats) >= 5 and len(unloads) >= 2 and not script.loaded
    for chat in chats:
        assert not any(start < chat < end for start, end in spans), "no call to the model while something trains"
    for start, _ in spans:
        asked, left = [t for t in chats if t < start], [t for t in unloads if t < start]
        assert not asked or (left and left[-1] > asked[-1]), "the model left first"


def training(product: Product) -> list[tuple[float, float]]:
    begun, spans = {}, []
    for event in journal.read(product.logs / "r" / journal.NAME):
        if type(event).__name__ == "Launched":
            begun[event.job] = event.t
        elif type(event).__name__ == "Measured":
            spans.append((begun[event.job] + 0.01, event.t - 0.01))
    return spans


def test_turns_and_the_scoreboard(product: Product) -> None:
    with serving(Script(ideas)) as url:
        with_ollama(product, url)
        done = product.run("--agent", f"ollama:{MODEL},search", *SPEED, "--max-experiments", "4")
    assert done.returncode == 0, done.stderr
    assert [e.agent for e in product.state().experiments.values()][:4] == [f"ollama:{MODEL}", "search"] * 2


def test_a_model_that_says_nothing_useful_costs_no_training(product: Product) -> None:
    with serving(Script(lambda body, count: "Delete prepare.py and the evaluation!")) as url:
        with_ollama(product, url)
        done = product.run("--agent", f"ollama:{MODEL}", *SPEED, "--max-experiments", "2")
    assert done.returncode == 0, done.stderr
    assert all(
        e.agent == "search" and "no usable proposal" in e.notes.why for e in product.state().experiments.values()
    )
    assert (product.root / "prepare.py").exists()


def test_the_night_ends_well_when_the_server_is_gone_at_the_end(product: Product) -> None:
    script = Script(ideas)
    with serving(script) as url:
        with_ollama(product, url)
        options = ("--agent", f"ollama:{MODEL}", "--tenancy", "unload", *SPEED, "--max-experiments", "30")
        process = product.start(*product.options(), *options)
        deadline = time.monotonic() + 100
        while not script.requests or script.log[-1][0] != "/api/chat":  # it holds the GPU, and then it is gone
            assert time.monotonic() < deadline
            time.sleep(0.002)
    product("stop", "r", "--now")
    out, _ = process.communicate(timeout=250)
    assert process.returncode == 0 and "Traceback" not in out, out
    state = product.state()
    assert state.stopped is not None and "Results: " in out
    notices = [e.text for e in journal.read(product.logs / "r" / journal.NAME) if isinstance(e, ev.Notice)]
    assert any("The model may still be on the GPU" in text for text in notices), notices


def test_a_model_that_will_not_leave_costs_no_proposal(product: Product) -> None:
    agent = own_agent(product, "Timeouts(unload_s=5)", "on_gpu=True, ", "exclusive=True, ")
    with serving(Script(ideas, sticky=True)) as url:
        with_ollama(product, url)
        done = product.run("--agent", agent, *SPEED, "--max-experiments", "1")
    assert done.returncode == 0, done.stderr
    events = list(journal.read(product.logs / "r" / journal.NAME))
    assert any(isinstance(e, ev.Notice) and "keeps" in e.text for e in events)
    assert not [e for e in events if isinstance(e, ev.Refused)]
    assert [e.agent for e in product.state().experiments.values()] == [f"ollama:{MODEL}"]


def own_agent(product: Product, timeouts: str, chat: str = "", model: str = "") -> str:
    """The same agent as ollama:MODEL, with another timeouts: what a user can write."""
    path = product.root.parent / "impatient.py"
    path.write_text(
        "from core.agents.llm.chat import LanguageModel\nfrom core.agents.llm.server import Timeouts\n"
        "from core.agents.llm.ollama.agent import Ollama\n"
        "from core.agents.search.agent import Search\nfrom core.agents.team import WithStandIn\n\n\n"
        f"def make():\n    chat = Ollama({MODEL!r}, {chat}timeouts={timeouts})\n"
        f"    return WithStandIn(LanguageModel(chat, {model}), Search())\n"
    )
    return f"python:{path}"


def test_three_that_cannot_be_used_each_say_why(product: Product) -> None:
    """One that is not there, one whose context is too small, one that takes too long: in turn, in one run."""
    agents = f"ollama:other:3b,ollama:{MODEL}," + own_agent(product, "Timeouts(first_s=0.5)")
    with serving(Script(ideas, mishap="slow")) as url:
        with_ollama(product, url)
        wrong = product.run("--agent", agents, "--context", "10")
        assert wrong.returncode == 1 and "--context is '10'" in wrong.stderr
        done = product.run("--agent", agents, "--context", "1500", *SPEED, "--max-experiments", "3")
    assert done.returncode == 0, done.stderr
    assert "instead of ollama:other:3b" in done.stdout, "unattended nobody is asked"
    found = list(product.state().experiments.values())
    assert all(e.agent == "search" and e.verdict is not None for e in found)
    missing, small, slow = (e.notes.why for e in found)
    assert "`ollama pull other:3b` installs it" in missing
    assert "the model is given 1500. --context TOKENS gives it more" in small
    assert "took too long" in slow


def test_the_same_thing_forever_costs_no_training_of_it(product: Product) -> None:
    def same(body: dict[str, Any], count: int) -> dict[str, Any]:
        return ideas(body, 1) if "anyOf" not in body["format"] else {"hypothesis": "h", "knob": "LR", "move": "1.2"}

    with serving(Script(same)) as url:
        with_ollama(product, url)
        done = product.run("--agent", f"ollama:{MODEL}", *SPEED, "--max-experiments", "4")
    assert done.returncode == 0, done.stderr
    found = list(product.state().experiments.values())
    tried = [(e.parent, e.fingerprint) for e in found]
    assert len(set(tried)) == len(tried) and found[0].agent == f"ollama:{MODEL}"
    why = [e.notes.why for e in found]
    assert any("This very change" in words for words in why), why


def test_what_it_does_is_seen_as_a_phase(product: Product) -> None:
    agent = own_agent(product, "Timeouts(unload_s=20)", "on_gpu=True, ", "exclusive=True, ")
    script = Script(ideas, sticky=True, mishap="drips")
    with serving(script) as url:
        with_ollama(product, url)
        process = product.start(*product.options(), "--agent", agent, *SPEED)
        seen(product, f"asking ollama:{MODEL}")
        script.mishap = ""
        process.send_signal(signal.SIGINT)
        seen(product, f"unloading {MODEL}")
        script.loaded.clear()
        process.communicate(timeout=250)
    assert process.returncode == 0


def seen(product: Product, phase: str) -> None:
    """Wait until `status` shows this."""

    def shown() -> bool:
        done = product("status", "r", "--json")
        return done.returncode == 0 and phase in json.loads(done.stdout)["phase"]

    until(shown, phase)
