"""A terminal driver that survives input which is not UTF-8, such as a paste or a terminal with another encoding."""

from __future__ import annotations

from textual.drivers.linux_driver import LinuxDriver


class PatientDriver(LinuxDriver):
    """Goes on after bytes that cannot be decoded. Textual's own driver ends the app."""

    def run_input_thread(self) -> None:
        while not self.exit_event.is_set():
            try:
                super().run_input_thread()
                return
            except UnicodeDecodeError:
                continue
