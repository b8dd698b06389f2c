"""Sentences in journals of earlier versions, in the words of this one. Pure."""

from __future__ import annotations

import re

# "It made no difference: 0.0143 bpb worse, within noise." The figure that would have been needed is not in such journals.
_FINDING = re.compile(
    r"It (made no difference|did not repeat): (\d\S* bpb (?:better|worse)(?: over \d+ seeds)?), within noise\."
)
_SIMPLER = re.compile(
    r"Within noise((?: over \d+ seeds)?), with (\d+) lines out and (\d+) in: the simpler code was kept\."
)
_REASON = re.compile(r"no difference beyond noise(?=: |, with )|the gain did not repeat, it is within noise(?=: )")


def renewed(text: str) -> str:
    """A finding or reason with "inconclusive" and "not confirmed" in it; the same object where there is nothing to change."""
    if "noise" not in text:
        return text
    found = _FINDING.sub(_finding, text)
    found = _SIMPLER.sub(r"Inconclusive\1; kept because it has less code (\2 lines out, \3 in).", found)
    found = _REASON.sub(lambda match: "inconclusive" if match[0][0] == "n" else "not confirmed", found)
    return text if found == text else found


def _finding(match: re.Match[str]) -> str:
    outcome = "Inconclusive" if match[1] == "made no difference" else "Not confirmed"
    return f"{outcome}: {match[2]}{'' if ' over ' in match[2] else ' on one seed'}."
