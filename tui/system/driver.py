"""Textual's driver of a terminal, which survives bytes that are no UTF-8: a paste, or a terminal in another alphabet."""

from __future__ import annotations

from textual.drivers.linux_driver import LinuxDriver


class PatientDriver(LinuxDriver):
    """Reads on after what cannot be decoded. Textual's own ends the app."""

    def run_input_thread(self) -> None:
        while not self.exit_event.is_set():
            try:
                super().run_input_thread()
                return
            except UnicodeDecodeError:
                continue
