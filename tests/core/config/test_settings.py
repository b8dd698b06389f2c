"""What a config file says: types, mistakes with their lines, and which file wins."""

from __future__ import annotations

import pytest
import typer.main
from textual.theme import BUILTIN_THEMES

from core import cli
from core.charter import front_matter
from core.config import settings, shown
from core.config.settings import Settings, overlaid, parse

WHOLE = """
# all keys
agent = "ollama:qwen2.5-coder:7b,search"
tenancy = "unload"
context = 8192
gate = "ask"
gate-time = 90
budget = 120
slots = 2
dataset = "text:~/corpus"
device = "cpu"
profile = "tiny"
max-experiments = 50
max-hours = 7.5
max-crashes = 5
notify = "ntfy:mine"
notify-on = "best, ended"
earlier = true
ablation = false
lessons = true
report = false
beside = true
theme = "nord"
"""


def test_all_keys_have_their_types() -> None:
    found = parse(WHOLE)
    assert found.problems == () and found.settings.budget == 120.0 and found.settings.report is False
    assert set(settings.values(found.settings)) == set(settings.KEYS)
    assert parse("") == parse("\n# nothing\n") == settings.Parsed()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("agnet = 'search'", "There is no key agnet. Did you mean agent?"),
        ("max_experiments = 3", "There is no key max_experiments. Did you mean max-experiments?"),
        ("zzz = 3", "There is no key zzz. Known are agent, "),
        ("budget = 'fast'", 'budget must be a number of seconds, 0.1 or more, not "fast".'),
        ("budget = nan", "budget must be a number of seconds, 0.1 or more, not nan."),
        ("budget = inf", "not inf."),
        ("budget = 0", "not 0."),
        ("slots = 2.5", "slots must be a whole number above 0, not 2.5."),
        ("slots = true", "not true."),
        ("report = 'no'", 'report must be true or false, not "no".'),
        ("agent = ''", 'agent must be a text, not "".'),
        ("gate = 'auot'", 'gate must be one of auto, ask, not "auot". Did you mean auto?'),
        ("theme = 'Drakula'", "Did you mean dracula?"),
        ("profile = 'huge'", "profile must be one of tiny, "),
        ("device = ['cpu']", "not a list."),
        ("max-hours = 0", "max-hours must be a number of hours above 0, not 0."),
        ("budget = 2026-11-28", "not 2026-11-28."),
        ("[run]\nslots = 3", "slots stands below [run]. Write it at the top, without [run]."),
        ("max_params = 3", "max_params belongs in the front matter of program.md."),
        ("seed = 3", "seed cannot be set in a config file, only as the option --seed."),
        ("'a\\u001b[31mb' = 3", "There is no key a\\u001b[31mb"),
        ('"bu\\u001b[0mdget" = 3', "There is no key bu[0mdget."),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line_and_a_way_out(line: str, words: str) -> None:
    found = parse(f"# first\n\n{line}\n")
    (problem,) = found.problems
    assert words in problem and "\x1b" not in problem and found.settings == Settings()
    if "\\" not in line:
        assert problem.startswith("line 3: ")


def test_all_mistakes_are_named_in_order_and_the_rest_is_read() -> None:
    found = parse("theme = 3\nagent = 'search'\nbugdet = 1\nslots = 0\n")
    assert [problem.partition(":")[0] for problem in found.problems] == ["line 1", "line 3", "line 4"]
    assert found.settings == Settings(agent="search")
    assert (
        "not valid TOML" in parse("agent = search\n").problems[0] and "line 1" in parse("agent = search\n").problems[0]
    )
    assert "not valid TOML" in parse("x = " + "[" * 5000).problems[0]


def test_the_upper_file_wins_key_by_key() -> None:
    lower, upper = Settings(agent="search", report=True, budget=60), Settings(report=False, slots=3)
    assert overlaid(lower, upper) == Settings(agent="search", report=False, budget=60, slots=3)


def test_an_address_of_notifications_is_never_shown() -> None:
    for value in ("slack:https://secret", "curl https://secret", "desktop", "secret"):
        assert "secret" not in settings.shown("notify", value)


def test_every_option_of_a_run_is_a_key_or_is_known_to_be_none() -> None:
    run = typer.main.get_command(cli.app).commands["run"]  # type: ignore[attr-defined]
    options = {name.removeprefix("--") for option in run.params for name in option.opts}
    others = {*settings.PER_RUN, *settings.PER_COMMAND}
    assert options - others == set(settings.KEYS) - {"theme"} and not others & set(settings.KEYS)
    assert set(shown.DEFAULTS) == set(settings.KEYS)


def test_what_other_modules_name_is_named_alike() -> None:
    assert set(settings.THEMES) == set(BUILTIN_THEMES) and settings.CHARTER == front_matter.KEYS
