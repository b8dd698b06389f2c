"""The terminal and the programs around the app: its driver, its end, the editor, the clipboard."""
