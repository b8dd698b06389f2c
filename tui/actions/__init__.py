"""The actions of the keys. The methods `action_*` of these classes are the actions in tui/keys.py."""
