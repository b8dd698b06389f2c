"""The app: it shows the journal of a run and sends commands to its loop. It never imports torch, git or the loop."""
