"""Nights in which a language model behind a real socket takes ideas of the backlog, adds some, and writes lessons."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.agents.base import Context, LessonsLearned
from core.agents.llm.chat import LanguageModel
from core.agents.llm.ollama.agent import Ollama
from core.agents.search.agent import Search
from core.agents.team import Team, WithStandIn
from core.execution.deterministic import DeterministicExecutor
from core.loop import reflecting
from core.loop.loop import Loop
from core.loop.proposals import TRIES, Proposer
from core.model import Limits, Notes, Proposal
from core.record import backlog
from core.record import events as ev
from core.record.state import State
from core.reporting import log_lines
from tests.core.loop.night import Listed, Night
from tests.ollama_server import MODEL, Script, serving

SLOW_S = 2.5  # of a training: the loop looks once a second whether there is anything to ask
LESSONS = [f"- Lesson {number}: raise K{number}." for number in range(7)]


def is_reflection(body: dict[str, Any]) -> bool:
    return isinstance(body["format"], dict) and "lessons" in body["format"]["properties"]


def answers(lessons: Callable[[int], Any]) -> Callable[[dict[str, Any], int], Any]:
    """A model that sets one constant after the other, and follows the first idea that it is shown."""

    def answer(body: dict[str, Any], count: int) -> Any:
        if is_reflection(body):
            return lessons(count)
        if not (isinstance(body["format"], dict) and "edits" in body["format"]["properties"]):
            return {"goals": ["low"], "directions": [], "avoid": []}
        source, said = body["messages"][0]["content"], body["messages"][1]["content"]
        name, value = re.findall(r"^(K\d+) = (\S+)", source, re.M)[count % 12]
        edit = {"search": f"{name} = {value}  # constant", "replace": f"{name} = {count + 1}  # constant"}
        more = {"follows": 1} if "\n1. " in said else {"later": [f"raise {name} further", "- [ ] try two at once"]}
        return {"hypothesis": f"Set {name}.", "edits": [edit], **more}

    return answer


def work(night: Night, agent: Any, limit: int, *, seconds: float = 0.0) -> State:
    """One start of the loop with this agent."""

    async def run() -> State:
        active = night.active()
        try:
            slots = [DeterministicExecutor(lambda source, seed: 1.5, seconds)]
            loop = Loop(active, Proposer(agent), slots, Limits(max_experiments=limit), night.said.append)
            active.backlog.begin()
            active.record(ev.Started(pid=1, agent=agent.name, approval="auto", slots=1))
            await asyncio.wait_for(loop.run(), 100)
            return active.state
        finally:
            active.journal.close()

    return asyncio.run(run())


def model(url: str) -> LanguageModel:
    return LanguageModel(Ollama(MODEL, url))


def lessons_of(night: Night) -> list[ev.Lessons]:
    return [event for event in night.events() if isinstance(event, ev.Lessons)]


def test_a_model_takes_ideas_adds_some_and_writes_lessons(tmp_path: Path) -> None:
    night = Night(tmp_path)
    script = Script(answers(lambda count: {"lessons": LESSONS}), parameters="7B")
    active = night.active()
    active.journal.close()
    (night.folder / backlog.NAME).write_text("# Mine\n\n- raise K1 a lot\n- something with K2\n")
    with serving(script) as url:
        work(night, WithStandIn(model(url), Search()), 10)
        state = work(night, WithStandIn(model(url), Search()), 13, seconds=SLOW_S)
    (event,) = lessons_of(night)
    assert event.lines == tuple(line.removeprefix("- ") for line in LESSONS[:5]) and event.judged >= 10
    assert event.agent == f"ollama:{MODEL}" and event.cost.forms is not None and event.cost.forms["lessons"].passed == 1
    assert state.lessons == event and "lessons after" in (log_lines.line(event, state) or "")
    prompts = [body["messages"][1]["content"] for body in script.requests if not is_reflection(body)]
    assert "Lesson 0: raise K0." in prompts[-1] and "Lesson 0" not in prompts[0]
    book = (night.folder / "notebook.md").read_text()
    assert "## Lessons\n\n- Lesson 0: raise K0.\n" in book

    one, two = state.experiments[1], state.experiments[2]
    assert one.notes.follows == "raise K1 a lot" and one.notes.given == ("raise K1 a lot", "something with K2")
    assert two.notes.follows == "something with K2" and two.notes.given == ("something with K2",)
    third = state.experiments[3].notes
    assert third.given is None and third.later == ("raise K4 further", "try two at once")
    text = (night.folder / backlog.NAME).read_text()
    assert text.startswith("# Mine\n\n- [x] raise K1 a lot (#1: inconclusive, +0.0000)\n- [x] something with K2 (#2: ")
    assert "- [x] raise K4 further (#4: " in text
    assert not list(night.folder.glob(".backlog*"))


def test_a_model_puts_its_own_ideas_in_another_order(tmp_path: Path) -> None:
    """The last idea that it was shown comes first. A line of the human keeps its place, also if the model repeats it."""
    asked: list[list[str]] = []

    def answer(body: dict[str, Any], count: int) -> Any:
        if not is_reflection(body):
            proposed = answers(lambda count: None)(body, count)
            later = ["of the human", f"idea {count}"]
            return {**proposed, "follows": 0, "later": later} if "edits" in proposed else proposed
        asked.append(re.findall(r"^\d+\. (.*)$", body["messages"][1]["content"], re.M))
        numbers = list(range(1, len(asked[-1]) + 1))
        return {"lessons": LESSONS[:1], "order": numbers[::-1] if len(asked) == 1 else numbers[:2]}

    night, script = Night(tmp_path), Script(answer, parameters="7B")
    night.active().journal.close()
    path = night.folder / backlog.NAME
    path.write_text("- of the human\n")
    with serving(script) as url:
        for verdicts in (10, 20):
            work(night, model(url), verdicts)
            before = path.read_text().splitlines()
            state = work(night, model(url), verdicts + 1, seconds=SLOW_S)
            own = [line.removeprefix("- ") for line in before[1:]]
            assert asked[-1] == own and len(own) > 3 and before[0] == "- of the human"
            event = lessons_of(night)[-1]
            if verdicts == 10:
                assert event.order == tuple(own[::-1])
                assert path.read_text().splitlines()[: len(before)] == [before[0], *before[:0:-1]]
                assert f"; its ideas in another order: {own[-1]}, " in (log_lines.line(event, state) or "")
            else:
                assert event.lines and event.order == (), "the order is as it was"
                assert path.read_text().splitlines()[: len(before)] == before
                assert "another order" not in (log_lines.line(event, state) or "")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("I learned a lot.", "nothing usable"),
        ({"lessons": []}, "nothing usable"),
        ({"lessons": [3, "--"]}, "nothing usable"),
    ],
)
def test_lessons_that_say_nothing_are_recorded_as_such_and_the_night_goes_on(
    tmp_path: Path, answer: Any, problem: str
) -> None:
    night, script = Night(tmp_path), Script(answers(lambda count: answer), parameters="7B")
    with serving(script) as url:
        work(night, model(url), 10)
        state = work(night, model(url), 11, seconds=SLOW_S)
    (event,) = lessons_of(night)
    assert problem in event.problem and not event.lines and state.lessons is None and state.judged == 11
    assert state.reflections == [event.cost] and event.cost.tokens


def test_a_slow_answer_delays_no_proposal_and_is_given_up(tmp_path: Path) -> None:
    """The model would need longer than a training: the request is given up when the next proposal is wanted, three times."""
    released = threading.Event()

    def never(count: int) -> Any:
        released.wait(100)
        return {"lessons": LESSONS}

    night, script = Night(tmp_path), Script(answers(never), parameters="7B")
    with serving(script) as url:
        try:
            work(night, model(url), 10)
            state = work(night, model(url), 15, seconds=SLOW_S)
        finally:
            released.set()
    (event,) = lessons_of(night)
    assert state.judged == 15, "the night is whole"
    assert "no time" in event.problem and not event.lines
    assert sum(map(is_reflection, script.requests)) == reflecting.TRIES


def test_search_alone_writes_no_lessons_and_takes_the_ideas_that_it_understands(tmp_path: Path) -> None:
    for number, agent in enumerate((Search(), Team([Search(), Listed([])]))):
        night = Night(tmp_path / str(number))
        night.active().journal.close()
        path = night.folder / backlog.NAME
        path.write_text("- a new idea in prose\n- leave K2 alone\n- set K7 to 3\n- try a higher K9\n")
        state = work(night, agent, 11, seconds=0.0)
        assert not lessons_of(night) and state.judged == 11
        one, two = state.experiments[1], state.experiments[2]
        assert one.notes.follows == "set K7 to 3" and one.notes.knobs == {"K7": 3}
        assert "from the backlog" in one.hypothesis.lower()
        assert two.notes.follows == "try a higher K9" and not state.experiments[3].notes.follows
        lines = path.read_text().splitlines()
        assert lines[:2] == ["- a new idea in prose", "- leave K2 alone"]
        assert all(line.startswith("- [x] ") for line in lines[2:])


def test_an_idea_whose_proposal_was_refused_stays_open(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.active().journal.close()
    (night.folder / backlog.NAME).write_text("- one\n")
    broken = Proposal(hypothesis="One.", source="def", notes=Notes(follows="one"))
    agent = Listed([broken] * TRIES + ["K1 = 1"])
    state = work(night, agent, 2)
    assert state.experiments[1].notes.follows == "" and not state.experiments[1].launched
    assert agent.told[-1].backlog == ("one",) and (night.folder / backlog.NAME).read_text() == "- one\n"


class TimesOut(Listed):
    """An agent whose own request for lessons times out."""

    async def reflect(self, context: Context) -> LessonsLearned | None:
        raise TimeoutError


def test_an_agent_that_times_out_by_itself_is_reported_as_such(tmp_path: Path) -> None:
    night = Night(tmp_path)
    work(night, Listed([f"K1 = {n}" for n in range(1, 11)]), 10)
    work(night, TimesOut([f"K2 = {n}" for n in range(1, 3)]), 11, seconds=SLOW_S)
    assert [event.problem for event in lessons_of(night)] == ["the agent timed out"]


def test_an_agent_of_ones_own_gets_both_and_may_add_ideas(tmp_path: Path) -> None:
    night, agent = Night(tmp_path), Listed(["K1 = 1"])
    night.active().journal.close()
    (night.folder / backlog.NAME).write_text("- one\n- two\n")
    work(night, agent, 1)
    told: Context = agent.told[0]
    assert told.backlog == ("one", "two") and told.lessons == ()
    assert json.loads((night.folder / "00001" / "proposal.json").read_text())["meta"]["given"] == ["one", "two"]
