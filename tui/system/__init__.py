"""The terminal and external programs: the driver, restoring the terminal, the editor, the clipboard."""
