"""Usage limits, in the words of the tools."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from core.agents.cli_tools.limits import limited

NOW = datetime(2026, 10, 5, 22, 30, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("words", "until"),
    [
        ("You've hit your limit · resets 3am (Europe/Berlin)", "06 03:01"),
        ("You've hit your limit · resets 3am (UTC)", "06 05:01"),
        ("5-hour limit reached ∙ resets 11pm", "05 23:01"),
        ("Usage limit. It resets at 03:00.", "06 03:01"),
        ("Weekly limit reached, resets Oct 9, 12am (Europe/Berlin)", "09 00:01"),
        ("You've hit your usage limit. Try again at Oct 9th, 2026 3:05 PM.", "09 15:06"),
        ("You've hit your usage limit. Try again at 3:05 PM.", "06 15:06"),
        ("Claude AI usage limit reached|1791237600", "06 00:01"),
        ("You've hit your usage limit. Upgrade, or try again in 3 days 4 hours.", "09 02:30"),
        ("You have hit your usage limit. Try again in 2 hours.", "06 00:30"),
        ("Rate limit reached for requests. Please try again in 1m30s.", "05 22:31:30"),
        ("429 Too Many Requests, retry after 40 seconds", "05 22:30:40"),
        ("Error 429: quota exceeded. retry-after: 90", "05 22:31:30"),
        ("You exceeded your current quota, please check your plan.", "05 23:30"),
        ("Usage limit reached, resets at 25:99", "05 23:30"),
    ],
)
def test_limits(words: str, until: str) -> None:
    found = limited(f"Thinking ...\nError: {words}\n", NOW)
    assert found is not None
    assert f"{found:%d %H:%M:%S}" == (until if until.count(":") == 2 else f"{until}:00")


@pytest.mark.parametrize(
    "words", ["I raised the learning rate; it limits the step.", "Done.", "The window resets at 03:00."]
)
def test_no_limits(words: str) -> None:
    assert limited(words, NOW) is None


def test_only_the_end_is_looked_at() -> None:
    assert limited("usage limit" + " word" * 1000, NOW) is None
