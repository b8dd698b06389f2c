"""A terminal driver that tolerates input that is not UTF-8, such as from a paste or a terminal with another encoding."""

from __future__ import annotations

from textual.drivers.linux_driver import LinuxDriver


class PatientDriver(LinuxDriver):
    """Continues after bytes that cannot be decoded. Textual's own driver ends the app."""

    def run_input_thread(self) -> None:
        while not self.exit_event.is_set():
            try:
                super().run_input_thread()
                return
            except UnicodeDecodeError:
                continue
