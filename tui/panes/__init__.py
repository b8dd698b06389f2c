"""One folder a pane: the widget and its style. A pane is told what to show and holds no truth."""
