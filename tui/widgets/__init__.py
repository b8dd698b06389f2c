"""Widgets that more than one pane or screen is built from."""
