"""A server that speaks Ollama's protocol over real HTTP, and misbehaves on demand. It answers by a function or a list."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fake_cuda import Cards

Reply = dict[str, Any] | str  # a JSON object to answer with, or a text
MODEL = "tiny-coder:1.5b"


@dataclass
class Script:
    """What the server does. `mishap` names one of the ways in which it goes wrong."""

    answer: Callable[[dict[str, Any], int], Reply]
    mishap: str = ""
    models: tuple[str, ...] = (MODEL,)
    context: int = 32_768
    capabilities: tuple[str, ...] = ("completion",)
    size: int = 1_000_000_000
    parameters: str = "1.5B"  # as `show` says it
    family: str = "qwen2"
    thinks: Callable[[dict[str, Any]], bool] | None = None  # whether a question brings thoughts alone, up to its limit
    refuses: Callable[[dict[str, Any]], bool] | None = None  # whether the server refuses what it says of thinking
    unshown: tuple[str, ...] = ()  # models for which `show` fails
    sticky: bool = False  # does not unload
    stumbles: int = 0  # so many answers go wrong by the mishap, the next ones do not
    pulls: str = ""  # what goes wrong with a pull
    closed: int = 0  # answers that the client did not hear to their end
    cards: Cards | None = None  # whose first card a loaded model sits on
    vram: int = 0  # bytes of it
    frees_s: float | None = 0.0  # how long the memory stays taken after the model has left; None: for good
    freed: list[float] = field(default_factory=list)  # when it was free again, as time.time()
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)  # of every request
    loaded: set[str] = field(default_factory=set)
    log: list[tuple[str, float]] = field(default_factory=list)

    def load(self, model: str) -> None:
        self.loaded.add(model)
        if self.cards is not None:
            self.cards.occupy(self.vram)

    def unload(self, model: str) -> None:
        """The list of loaded models is ahead of the driver."""
        there = model in self.loaded
        self.loaded.discard(model)
        if not there or self.cards is None or self.frees_s is None:
            return
        if self.frees_s == 0:
            self._free()
            return
        timer = threading.Timer(self.frees_s, self._free)
        timer.daemon = True
        timer.start()

    def _free(self) -> None:
        assert self.cards is not None
        if not self.loaded:  # it may have been asked again
            self.cards.occupy(0)
            self.freed.append(time.time())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def end_headers(self) -> None:
        self.send_header("Connection", "close")  # or a stopped server would go on answering on open connections
        self.close_connection = True
        super().end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass

    def _json(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, lines: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self) -> None:
        script = self.script
        script.headers.append({name.lower(): value for name, value in self.headers.items()})
        details = {"parameter_size": script.parameters, "family": script.family}
        if self.path == "/api/version":
            self._json({"version": "0.12.0"})
        elif self.path == "/api/tags":
            self._json(
                {
                    "models": [
                        {
                            "model": name,
                            "name": name,
                            "size": 400 if name.endswith("cloud") else script.size,
                            "details": details,
                        }
                        for name in script.models
                    ]
                }
            )
        elif self.path == "/api/ps":
            loaded = [name if ":" in name else f"{name}:latest" for name in script.loaded]
            size = {"size_vram": script.vram} if script.cards is not None else {}
            self._json({"models": [{"model": name, "name": name, **size} for name in loaded]})
        else:
            self._json({"error": "not found"}, 404)

    def do_POST(self) -> None:
        script = self.script
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        script.log.append((self.path, time.monotonic()))
        script.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.path == "/api/pull":
            self._pull(body["model"])
        elif body.get("model") not in script.models:
            self._json({"error": f"model '{body.get('model')}' not found"}, 404)
        elif self.path == "/api/show" and body["model"] in script.unshown:
            self._json({"error": "unknown architecture"}, 500)
        elif self.path == "/api/show":
            info = {"general.architecture": script.family,
                    "qwen2.context_length": script.context, "qwen2.block_count": 28, "qwen2.attention.head_count": 12,
                    "qwen2.attention.head_count_kv": 2, "qwen2.embedding_length": 1536}  # fmt: skip
            details = {"parameter_size": script.parameters}
            self._json({"model_info": info, "capabilities": list(script.capabilities), "details": details})
        elif self.path == "/api/generate" and body.get("keep_alive") == 0:
            if not script.sticky:
                script.unload(body["model"])
            self._json({"model": body["model"], "response": "", "done": True, "done_reason": "unload"})
        elif self.path == "/api/chat":
            self._chat(body)
        else:
            self._json({"error": "not found"}, 404)

    def _pull(self, model: str) -> None:
        """Some layers by and by; the model is there at the end."""
        script = self.script

        def lines() -> Iterator[bytes]:
            yield b'{"status": "pulling manifest"}\n'
            for completed in (0, 500, 1000):
                part = {"status": "pulling 0123", "digest": "sha256:0123", "total": 1000, "completed": completed}
                yield json.dumps(part).encode() + b"\n"
            if script.pulls:
                yield json.dumps({"error": script.pulls}).encode() + b"\n"
                return
            script.models = (*script.models, model)
            yield b'{"status": "success"}\n'

        self._stream(lines())

    def _chat(self, body: dict[str, Any]) -> None:
        script = self.script
        script.requests.append(body)
        if script.refuses is not None and script.refuses(body):
            self._json({"error": f"think value {body['think']!r} is not supported for this model"}, 400)
            return
        script.load(body["model"])
        mishap = script.mishap
        if script.stumbles:
            script.stumbles -= 1
            script.mishap = mishap if script.stumbles else ""
        self._answer(body, mishap)

    def _answer(self, body: dict[str, Any], mishap: str) -> None:
        script = self.script
        if mishap == "500":
            self._json({"error": "runner has terminated"}, 500)
            return
        if mishap == "packed":
            body = gzip.compress(b"x" * 1_000_000)
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        if mishap == "html":
            self.send_response(200)
            self.send_header("Content-Length", "20")
            self.end_headers()
            self.wfile.write(b"<html>proxy!</html>\n")
            return
        reply = script.answer(body, len(script.requests) - 1)
        text = reply if isinstance(reply, str) else json.dumps(reply)
        counted = sum(len(message["content"]) for message in body["messages"]) // 4
        if mishap == "truncated":
            counted = int(body["options"]["num_ctx"])
        if mishap == "dropped message":
            counted = len(body["messages"][-1]["content"]) // 4
        if script.thinks is not None and script.thinks(body):
            thought = {"role": "assistant", "content": "", "thinking": text}
            end = {"done": True, "done_reason": "length", "prompt_eval_count": counted}
            part = {"model": body["model"], "message": thought, **end, "eval_count": body["options"]["num_predict"]}
            self._stream(iter([json.dumps(part).encode() + b"\n"]))
            return
        try:
            self._stream(self._parts(body["model"], text, counted, mishap))
        except OSError:
            script.closed += 1

    def _parts(self, model: str, text: str, counted: int, mishap: str) -> Iterator[bytes]:
        if mishap == "slow":
            time.sleep(30)
        while mishap == "no line break":
            yield b"x" * 100_000
        while mishap in ("endless", "drips"):
            time.sleep(0.05 if mishap == "drips" else 0.0)
            yield (
                json.dumps(
                    {"model": model, "message": {"role": "assistant", "content": "and so on " * 500}, "done": False}
                ).encode()
                + b"\n"
            )
        reason = "length" if mishap == "length" else "stop"
        text = text[: len(text) // 2] if mishap == "length" else text
        if mishap == "one line":
            part = {"model": model, "message": {"role": "assistant", "content": "x" * 1_000_000}, "done": False}
            yield json.dumps(part).encode() + b"\n"
        for start in range(0, max(1, len(text)), 40):
            part = {
                "model": model,
                "message": {"role": "assistant", "content": text[start : start + 40]},
                "done": False,
            }
            yield json.dumps(part).encode() + b"\n"
            if mishap == "stalls" and start >= 40:
                time.sleep(30)
            if mishap == "dies" and start >= 40:
                self.connection.close()
                return
            if mishap == "error line" and start >= 40:
                yield json.dumps({"error": "out of memory"}).encode() + b"\n"
                return
        if mishap == "no end":
            return
        end = {"model": model, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": reason}
        yield json.dumps({**end, "prompt_eval_count": counted, "eval_count": len(text) // 4}).encode() + b"\n"


@contextmanager
def serving(script: Script, port: int = 0) -> Iterator[str]:
    """The URL of a running server. A port that was used before can be used again: servers come back."""
    handler = type("Handler", (Handler,), {"script": script})
    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
