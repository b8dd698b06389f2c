"""Usage limits, in the words of the tools."""

from __future__ import annotations

from datetime import datetime, timedelta
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
    found = limited(f"Thinking ...\nError: {words}\n", NOW, failed=True)
    assert found is not None
    assert f"{found:%d %H:%M:%S}" == (until if until.count(":") == 2 else f"{until}:00")


@pytest.mark.parametrize(
    "words",
    [
        "I raised the learning rate; it limits the step.", "Done.", "The window resets at 03:00.",
        "Any wider model would go over the parameter limit of program.md.", "The best has reached the memory limit already.",
        "With 512 tokens it is bound by the token limit.", "The learning rate limits of program.md leave no room.",
        "Disk quota exceeded",
    ],
)  # fmt: skip
@pytest.mark.parametrize("failed", [False, True])
def test_no_limits(words: str, failed: bool) -> None:
    assert limited(words, NOW, failed=failed) is None


def test_a_tool_that_has_not_failed_is_asked_again_soon() -> None:
    words = "The runs would hit the usage limit."
    waits = [limited(words, NOW, failed=failed) for failed in (False, True)]
    assert [found - NOW for found in waits if found is not None] == [timedelta(minutes=5), timedelta(hours=1)]
    assert limited("This exceeded your current quota.", NOW, failed=False) is None


def test_only_the_end_is_looked_at() -> None:
    assert limited("usage limit" + " word" * 1000, NOW, failed=True) is None
