"""Downloads against a real server that misbehaves: resumed or retried, verified, never half-written."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nanochat import data, prepare
from nanochat.contract import dataset
from nanochat.contract.dataset import Options
from nanochat.data import DataError
from nanochat.datasets import HUB_SETS, Shards, _check_column, _is_parquet
from nanochat.download import fetch


def shard(number: int, documents: int = 400) -> bytes:
    texts = [
        f"Story {number}-{i}: the quick fox number {i * 7 % 13} met {i * 31 % 97} lazy dogs and told them so. " * 3
        for i in range(documents)
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), buffer)
    return buffer.getvalue()


class Server:
    """Serves files; `faults` maps a path to what goes wrong at its first requests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.ranges: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = outer.files.get(self.path)
                fault = outer.faults.get(self.path, [])
                kind = fault.pop(0) if fault else ""
                asked = self.headers.get("Range")
                outer.ranges.append(asked or "")
                if content is None or kind == "404":
                    self.send_error(404)
                    return
                if kind == "500":
                    self.send_error(500)
                    return
                tag = f'"{hash(content)}"'
                if self.headers.get("If-Range", tag) != tag:
                    asked = None
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and kind != "no range" else 0
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                body = content[start:]
                self.send_response(206 if asked and kind != "no range" else 200)
                if kind == "truncate":  # says it is all, and is not
                    body = body[: len(body) // 2]
                self.send_header("ETag", tag)
                if kind != "no length":
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 3] if kind == "drop" else body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def get(server: Server, folder: Path, check: Callable[[Path], None] = _is_parquet) -> Path:
    return fetch(f"{server.url}/a.parquet", folder / "a.parquet", check=check, say=lambda text: None, wait_s=0.001)


@pytest.mark.parametrize("fault", ["", "drop", "truncate", "500", "no range", "no length"])
def test_a_fault_is_overcome_and_the_file_is_whole(server: Server, tmp_path: Path, fault: str) -> None:
    server.files["/a.parquet"] = shard(1)
    server.faults["/a.parquet"] = [fault, fault] if fault else []
    path = get(server, tmp_path)
    assert path.read_bytes() == server.files["/a.parquet"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_dropped_download_is_resumed_where_it_was(server: Server, tmp_path: Path) -> None:
    server.files["/a.parquet"] = shard(1)
    server.faults["/a.parquet"] = ["drop"]
    get(server, tmp_path)
    assert server.ranges[0] == "" and server.ranges[1] == f"bytes={len(server.files['/a.parquet']) // 3}-"


def test_a_file_that_changed_meanwhile_is_not_mixed_with_its_part(server: Server, tmp_path: Path) -> None:
    server.files["/a.parquet"] = shard(1)
    server.faults["/a.parquet"] = ["drop", "404"]
    with pytest.raises(DataError, match="404"):
        get(server, tmp_path)
    server.files["/a.parquet"] = shard(2)
    assert get(server, tmp_path).read_bytes() == server.files["/a.parquet"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_what_is_no_parquet_is_never_taken_for_it(server: Server, tmp_path: Path) -> None:
    server.files["/a.parquet"] = b"<html>sign in first</html>"
    with pytest.raises(DataError, match="no whole parquet"):
        get(server, tmp_path)
    assert not (tmp_path / "a.parquet").exists()


def test_what_is_not_there_is_said_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="404"):
        get(server, tmp_path)
    assert len(server.ranges) == 1


def test_a_whole_dataset_comes_from_shards(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Shards("some/set", lambda i: f"train-{i}.parquet", 2, 2, "val.parquet")
    monkeypatch.setitem(HUB_SETS, "tinystories", small)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path))
    for number, name in enumerate(("train-0", "train-1", "val")):
        server.files[f"/datasets/some/set/resolve/main/{name}.parquet"] = shard(number)
    server.faults["/datasets/some/set/resolve/main/train-1.parquet"] = ["drop", "500"]
    prepared = data.load(prepare.prepare("tinystories", 320))
    assert all(split.documents > 50 for split in prepared.splits.values())
    assert prepared.splits["train"].documents == 800
    assert prepared.splits["val"].documents + prepared.splits["test"].documents == 400
    one = data.load(prepare.prepare("tinystories", 320, Options(shards=1)))
    assert one.splits["train"].documents == 400, "another number of shards is another dataset"
    assert dataset.find("tinystories", 320).folder == one.folder, "a new run uses what was asked for last"
    assert prepare.prepare("tinystories", 320) == prepared.folder == dataset.find("tinystories", 320).folder
    (tmp_path / "downloads" / "tinystories" / "train-0.parquet").write_bytes(b"PAR1 damaged PAR1")
    with pytest.raises(DataError, match="Delete it and prepare again"):
        prepare.prepare("tinystories", 320, force=True)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ALL_PROXY", "socks5://127.0.0.1:1"), ("NO_PROXY", "::1,fe80::/10"), ("HTTP_PROXY", "http://[::1")],
)
def test_a_proxy_that_cannot_be_used_is_a_sentence_and_not_tried_again(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    said: list[str] = []
    with pytest.raises(DataError, match=rf"cannot be asked for \(.*Correct or unset .*{variable}"):
        fetch("http://127.0.0.1:9/x", tmp_path / "x", check=lambda path: None, say=said.append)
    assert said == []


@pytest.mark.parametrize(
    "columns", [{"story": ["a"]}, {"text": [1]}, {"text": [b"a"]}, {"text": [["a"]]}, {"Text": ["a"]}]
)
def test_a_download_without_a_column_of_text_is_a_sentence(columns: dict[str, list[object]], tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column `text` of strings"):
        _check_column(pq.ParquetFile(tmp_path / "a.parquet").schema_arrow, tmp_path / "a.parquet")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_may_be_stored_in_any_kind_of_string(kind: pa.DataType) -> None:
    _check_column(pa.schema([("id", pa.int64()), ("text", kind)]), Path("a.parquet"))
