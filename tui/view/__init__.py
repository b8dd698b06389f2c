"""What the app shows, computed from the record of a run. Pure: no files, no widgets, no clock."""
