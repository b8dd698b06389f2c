"""The screens of the app: the panes, the details of an experiment, pages of text, menus."""
