"""What the app draws on: a terminal, or a browser by way of `autoresearch serve`."""

from __future__ import annotations

import asyncio

from textual import messages
from textual.drivers.linux_driver import LinuxDriver
from textual.drivers.web_driver import WebDriver


class PatientDriver(LinuxDriver):
    """Continues after bytes that cannot be decoded, such as of a paste. Textual's own driver ends the app."""

    def run_input_thread(self) -> None:
        while not self.exit_event.is_set():
            try:
                super().run_input_thread()
                return
            except UnicodeDecodeError:
                continue


class BrowserDriver(WebDriver):
    """Ends the app when its input ends, because the server is gone then. Textual's own driver lets it run on."""

    def start_application_mode(self) -> None:
        self._events = asyncio.get_running_loop()
        super().start_application_mode()

    def run_input_thread(self) -> None:
        super().run_input_thread()
        if not self.exit_event.is_set():
            asyncio.run_coroutine_threadsafe(self._app._post_message(messages.ExitApp()), self._events)
