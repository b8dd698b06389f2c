"""Compute what the app shows from the record of a run. Pure: no files, no widgets, no clock."""
