"""Widgets that several panes and screens use."""
