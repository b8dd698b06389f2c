"""Failures that somebody expects."""

from __future__ import annotations


class Expected(Exception):
    """Its message is a sentence for a human: what happened, what was kept, what to do next. The command line prints it alone."""
