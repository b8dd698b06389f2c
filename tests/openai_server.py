"""A server that speaks the OpenAI protocol over real HTTP, as vLLM and llama.cpp do: streaming chat completions, and their mishaps."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "any-coder"


@dataclass
class Script:
    """What the server does. `status` other than 200: it refuses so; `mishap`: no end, endless, odd bill."""

    answer: Callable[[dict[str, Any], int], str]
    status: int = 200
    mishap: str = ""
    headers: dict[str, str] = dataclass_field(default_factory=dict)
    thinks: Callable[[dict[str, Any]], bool] | None = None  # whether a question brings thoughts alone, up to its limit
    field: str = "reasoning_content"  # in which they come
    refuses: Callable[[dict[str, Any]], bool] | None = (
        None  # whether a question has arguments that the server does not know
    )
    requests: list[dict[str, Any]] = dataclass_field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        script = self.script
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        script.requests.append(body)
        if script.refuses is not None and script.refuses(body):
            self._refuse(400)
            return
        if script.status != 200 or self.path != "/v1/chat/completions":
            self._refuse(script.status if script.status != 200 else 404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        try:
            for part in self._parts(body):
                self.wfile.write(b"data: " + part + b"\n\n")
                self.wfile.flush()
        except OSError:
            pass  # the client has heard enough

    def _refuse(self, status: int) -> None:
        body = json.dumps({"error": {"message": "no such luck", "type": "invalid_request_error"}}).encode()
        self.send_response(status)
        for name, value in self.script.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _parts(self, body: dict[str, Any]) -> Iterator[bytes]:
        def chunk(content: str, reason: str | None = None, usage: dict[str, Any] | None = None) -> bytes:
            choices = [{"index": 0, "delta": {"content": content}, "finish_reason": reason}] if usage is None else []
            part = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
            return json.dumps({**part, "choices": choices, "usage": usage}).encode()

        if self.script.thinks is not None and self.script.thinks(body):
            text, limit = self.script.answer(body, len(self.script.requests) - 1), body["max_completion_tokens"]
            part = json.loads(chunk("", "length"))
            part["choices"][0]["delta"][self.script.field] = text
            yield json.dumps(part).encode()
            yield chunk("", usage={"prompt_tokens": 500, "completion_tokens": limit, "total_tokens": limit + 500})
            return
        while self.script.mishap == "endless":
            yield chunk("and so on " * 500)
        text = self.script.answer(body, len(self.script.requests) - 1)
        for start in range(0, len(text), 40):
            yield chunk(text[start : start + 40])
        if self.script.mishap == "no end":
            return
        yield chunk("", "length" if self.script.mishap == "length" else "stop")
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4
        if self.script.mishap == "odd bill":
            yield chunk("", usage={"prompt_tokens": None, "completion_tokens": "5", "total_tokens": {}})
            return
        yield chunk("", usage={"prompt_tokens": prompt, "completion_tokens": len(text) // 4, "total_tokens": prompt})
        yield b"[DONE]"


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """The base URL of a running server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"script": script}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
