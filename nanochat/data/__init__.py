"""Prepared text: which datasets there are, how they are fetched, tokenized and read."""
