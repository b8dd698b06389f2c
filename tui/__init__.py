"""The app: a view of a run's journal and a sender of commands. Never imports torch, git or the loop."""
