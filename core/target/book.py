"""The book: structural edits for train.py, ideas from the literature as exact replacements that can be combined where they fit.

An entry applies if each of its search texts occurs exactly once. So it still applies after edits elsewhere, and is skipped if
an earlier edit changed its place. The tests train every entry, alone and combined.
"""

from __future__ import annotations

from core.target.book_model import MODEL
from core.target.book_training import TRAINING
from core.target.entry import Entry

BOOK: tuple[Entry, ...] = MODEL + TRAINING
