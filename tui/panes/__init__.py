"""One module for each pane, with its style beside it. A pane is told what to show and keeps no record of its own."""
