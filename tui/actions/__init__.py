"""What the keys do. The methods `action_*` of these classes are the actions that tui/keys.py names."""
