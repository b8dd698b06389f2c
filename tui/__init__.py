"""The app. It shows the journal of a run and sends commands to its loop. It does not import torch, git or the loop."""
