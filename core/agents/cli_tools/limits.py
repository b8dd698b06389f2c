"""Detects usage limits in the output of coding agents, and when they end. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

UNKNOWN = timedelta(hours=1)  # the wait if the output names no time
UNSURE = timedelta(minutes=5)  # the same if the tool has not failed: it may have written about another limit
SPARE = timedelta(minutes=1)  # added, since clocks differ
TAIL = 2000  # characters at the end of the output that are searched

# Tools also write about their work, such as about limits of memory, of parameters and of learning rates.
_LIMITED = re.compile(
    r"\b(?:usage|(?<!learning )rate|session|daily|weekly|monthly|\d+[- ]hour|spend(?:ing)?) limits?\b"
    r"|\b(?:hit|reached|exceeded) your limits?\b|\btoo many requests\b|\b429\b",
    re.I,
)
_OF_A_FAILED_TOOL = re.compile(
    r"\b(?:message|request) limits?\b|(?<!disk )\bquota\b|\b(?:hit|reached|exceeded) (?:the|its) limits?\b", re.I
)
_EPOCH = re.compile(r"\blimit reached\|(\d{10})\b", re.I)
_IN = re.compile(
    r"(?:again|retry|resets?|available)(?:[- ]after:?| in| after)? ((?:\d+(?:\.\d+)? ?(?:ms|[a-z]+)?(?:,? (?:and )?)?)+)",
    re.I,
)
_SPAN = re.compile(
    r"(\d+(?:\.\d+)?) ?(milliseconds?|ms|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)?(?![a-z])", re.I
)
_UNITS = {"ms": 0.001, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}
_AT = re.compile(
    r"(?:resets?|again|available|until)(?: on| at)?:? "
    r"(?:(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* (?P<day>\d{1,2})(?:st|nd|rd|th)?(?:, (?P<year>\d{4}))?,?(?: at)? )?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?(?::\d{2})? ?(?P<half>[ap]\.?m\b)?\.?(?: ?\(?(?P<zone>UTC|GMT|[A-Z]\w+/[\w/+-]+)\)?)?", re.I
)  # fmt: skip
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def limited(text: str, now: datetime, *, failed: bool) -> datetime | None:
    """Return when a usage limit ends, as the tool says, or after UNKNOWN or UNSURE if it names no time. None without a usage limit.

    Args:
        text: The output of the tool.
        now: The present time, with its time zone. A time without a zone is taken to be in that zone.
        failed: Whether the tool has failed.
    """
    tail = text[-TAIL:]
    if not _LIMITED.search(tail) and not (failed and _OF_A_FAILED_TOOL.search(tail)):
        return None
    if match := _EPOCH.search(tail):
        return datetime.fromtimestamp(int(match[1]), UTC).astimezone(now.tzinfo) + SPARE
    for match in _AT.finditer(tail):
        if (match["minute"] or match["half"] or match["month"]) and (then := _clock(match, now)):
            return then + SPARE
    for match in _IN.finditer(tail):
        if seconds := _seconds(match[1]):
            return now + timedelta(seconds=seconds)
    return now + (UNKNOWN if failed else UNSURE)


def _clock(match: re.Match[str], now: datetime) -> datetime | None:
    """Return the next time that matches, or None if it is not a valid time."""
    try:
        here = now.astimezone(_zone(match["zone"])) if match["zone"] else now
        hour = int(match["hour"])
        if match["half"]:
            hour = hour % 12 + (12 if match["half"][0].lower() == "p" else 0)
        then = here.replace(hour=hour, minute=int(match["minute"] or 0), second=0, microsecond=0)
        if match["month"]:
            month = _MONTHS.index(match["month"].lower()) + 1
            then = then.replace(year=int(match["year"] or here.year), month=month, day=int(match["day"]))
            if then <= here and not match["year"]:
                then = then.replace(year=here.year + 1)
        elif then <= here:
            then += timedelta(days=1)
    except (ValueError, KeyError, OSError):
        return None
    return then.astimezone(now.tzinfo) if then > here else None


def _zone(name: str) -> ZoneInfo:
    return ZoneInfo("UTC" if name.upper() in ("UTC", "GMT") else name)


def _seconds(text: str) -> float:
    """Return the seconds of a time span such as "3 days 4 hours", "1m30s" or a plain number of seconds."""
    total = 0.0
    for number, unit in _SPAN.findall(text):
        unit = unit.lower()
        key = "ms" if unit in ("ms", "millisecond", "milliseconds") else unit[:1]
        total += float(number) * _UNITS[key]
    return total
