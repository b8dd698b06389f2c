"""The panes, one module each, with their styles beside them. PaneUpdates tells them what to show."""
