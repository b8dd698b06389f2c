"""What a start fills in before it opens the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from core import session
from core.machine.profiles import named
from core.machine.project import Project
from core.run.choose_run import try_read_header
from core.run.options import Options, StartOptions
from core.run.plan import Plan
from tests.core.run.runs import START, write_run


@pytest.mark.parametrize(
    ("agent", "options", "start", "device", "slots"),
    [
        ("search", Options(), StartOptions(), "cpu", 2),
        ("ollama:qwen", Options(), StartOptions(), "cpu", 1),
        ("search, ollama:qwen", Options(), StartOptions(), "cpu", 1),
        ("ollama:qwen", Options(), StartOptions(tenancy="remote"), "cpu", 2),
        ("ollama:qwen", Options(slots=2), StartOptions(), "cpu", 2),
        ("ollama:qwen", Options(), StartOptions(), "cuda", 2),
    ],
)
def test_a_language_model_on_the_same_cpu_takes_the_place_of_a_training(
    tmp_path: Path, agent: str, options: Options, start: StartOptions, device: str, slots: int
) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    config = try_read_header(write_run(project, "old", START))
    assert config is not None
    given = Options(agent=agent, slots=options.slots)
    plan = Plan(project.logs / "new", replace(config, device=device, slots=2), named("cpu"), new=True, options=given)
    chosen, why = session._with_agent(project, plan, start, shown=False)
    assert (chosen.config.agent, chosen.config.slots, why) == (agent, slots, "")
    assert chosen.options.slots == (slots if slots == 1 else options.slots)
