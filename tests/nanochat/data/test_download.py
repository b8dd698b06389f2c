"""Downloads against a real server that misbehaves: resumed or retried, verified, never half-written."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nanochat.contract import dataset, sources
from nanochat.contract.dataset import Options
from nanochat.contract.registry import Entry
from nanochat.contract.sources import Shards
from nanochat.data import prepare
from nanochat.data.download import HUB, fetch, hub
from nanochat.data.prepared import DataError, load
from nanochat.data.shards import _check_column, _is_parquet, _split_in_shard
from tests.product import until
from tests.proxy import proxy


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
        self.redirects: dict[str, str] = {}
        self.go_on = threading.Event()  # ends a "hold" in the middle of a file
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = outer.files.get(self.path)
                fault = outer.faults.get(self.path, [])
                kind = fault.pop(0) if fault else ""
                asked = self.headers.get("Range")
                outer.ranges.append(asked or "")
                if self.path in outer.redirects:
                    self.send_response(302)
                    self.send_header("Location", outer.redirects[self.path])
                    self.end_headers()
                    return
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
                if asked and kind != "no range":
                    begun = 0 if kind == "another range" else start
                    self.send_header("Content-Range", f"bytes {begun}-{len(content) - 1}/{len(content)}")
                if kind != "no length":
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if kind == "hold":
                    self.wfile.write(body[: len(body) // 3])
                    self.wfile.flush()
                    outer.go_on.wait(20.0)
                    body = body[len(body) // 3 :]
                self.wfile.write(body[: len(body) // 3] if kind == "drop" else body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
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


def test_a_server_that_continues_elsewhere_is_asked_for_the_whole_file(server: Server, tmp_path: Path) -> None:
    server.files["/a.parquet"] = shard(1)
    server.faults["/a.parquet"] = ["drop", "another range"]
    assert get(server, tmp_path).read_bytes() == server.files["/a.parquet"]
    assert server.ranges[2] == ""


ANOTHER = """
import sys
from pathlib import Path
from nanochat.data.download import fetch
fetch(sys.argv[1], Path(sys.argv[2]), check=lambda path: None, say=print)
"""


@pytest.mark.parametrize("is_killed", [False, True])
def test_two_commands_that_want_the_same_file_download_it_once(server: Server, tmp_path: Path, is_killed: bool) -> None:
    """The second waits, and downloads the file itself if the first is killed."""
    server.files["/a.parquet"] = shard(1)
    server.faults["/a.parquet"] = ["hold"]
    path, said = tmp_path / "a.parquet", list[str]()
    first = subprocess.Popen([sys.executable, "-c", ANOTHER, f"{server.url}/a.parquet", path], cwd=Path.cwd())

    def say(text: str) -> None:
        said.append(text)
        if is_killed:
            first.kill()
        server.go_on.set()

    try:
        until(path.with_name("a.parquet.part").exists, within=20)
        found = fetch(f"{server.url}/a.parquet", path, check=_is_parquet, say=say, wait_s=0.001)
        server.go_on.set()
        first.wait(20.0)
    finally:
        server.go_on.set()
        first.kill()
        first.wait()
    assert found.read_bytes() == server.files["/a.parquet"] and list(tmp_path.iterdir()) == [path]
    assert said == ["a.parquet: another command downloads this; waiting"]
    assert len(server.ranges) == (2 if is_killed else 1) and (first.returncode != 0) == is_killed


def test_a_file_system_without_locks_is_no_hindrance(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", fail)
    server.files["/a.parquet"] = shard(1)
    assert get(server, tmp_path).read_bytes() == server.files["/a.parquet"]


def test_only_a_complete_parquet_file_is_accepted(server: Server, tmp_path: Path) -> None:
    server.files["/a.parquet"] = b"<html>sign in first</html>"
    with pytest.raises(DataError, match="not a complete parquet"):
        get(server, tmp_path)
    assert not (tmp_path / "a.parquet").exists()


def test_a_missing_file_is_reported_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="404"):
        get(server, tmp_path)
    assert len(server.ranges) == 1


def test_a_whole_dataset_comes_from_shards(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Shards("some/set", lambda i: f"train-{i}.parquet", 2, 2, "val.parquet")
    monkeypatch.setattr(sources, "ENTRIES", (Entry("tinystories", "two small shards", lambda _: small),))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path))
    for number, name in enumerate(("train-0", "train-1", "val")):
        server.files[f"/datasets/some/set/resolve/main/{name}.parquet"] = shard(number)
    server.faults["/datasets/some/set/resolve/main/train-1.parquet"] = ["drop", "500"]
    prepared = load(prepare.prepare("tinystories", 320))
    assert all(split.documents > 50 for split in prepared.splits.values())
    assert prepared.splits["train"].documents == 800
    assert prepared.splits["val"].documents + prepared.splits["test"].documents == 400
    one = load(prepare.prepare("tinystories", 320, Options(shards=1)))
    assert one.splits["train"].documents == 400, "another number of shards is another dataset"
    assert dataset.find("tinystories", 320).folder == one.folder, "a new run uses what was asked for last"
    assert prepare.prepare("tinystories", 320) == prepared.folder == dataset.find("tinystories", 320).folder
    (tmp_path / "downloads" / "tinystories" / "train-0.parquet").write_bytes(b"PAR1 damaged PAR1")
    with pytest.raises(DataError, match="Delete it and prepare again"):
        prepare.prepare("tinystories", 320, force=True)


# -- the environment --------------------------------------------------------------------------------------------------

FAR = "mirror.example"  # never resolved: the proxy would do that
READ = re.compile(r".*_proxy|SSL.*|HF_ENDPOINT", re.IGNORECASE)


@pytest.fixture
def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if READ.fullmatch(name)]:
        monkeypatch.delenv(name)


def asked(url: str, folder: Path) -> tuple[str, list[str]]:
    """Why a file cannot be downloaded, and what was said while it was tried; '' where it can."""
    said: list[str] = []
    try:
        fetch(url, folder / "x", check=lambda path: None, say=said.append, wait_s=0.001)
    except DataError as error:
        return str(error), said
    return "", said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NO_PROXY", "fd00::/8"), ("NO_PROXY", "[::1]"), ("NO_PROXY", "::1,fe80::/10,localhost"), ("no_proxy", "[,::,://"),
        ("HTTP_PROXY", "PROXY"), ("ALL_PROXY", "socks5://127.0.0.1:1"), ("http_proxy", "http://[::1"), ("SSL_CERT_FILE", "/no/such"),
        ("SSLKEYLOGFILE", "/no/such/log"), ("SSL_CERT_DIR", "/no/such"),
    ],
)  # fmt: skip
def test_a_mirror_on_this_machine_needs_nothing_of_the_environment(
    variable: str, value: str, server: Server, tmp_path: Path, clear: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/x"] = b"text"
    with proxy() as recorder:
        monkeypatch.setenv(variable, recorder.url if value == "PROXY" else value)
        assert asked(f"{server.url}/x", tmp_path) == ("", []) and recorder.asked == []


@pytest.mark.parametrize(
    ("url", "variable", "value"),
    [
        (f"http://{FAR}/x", "ALL_PROXY", "socks5://127.0.0.1:1"), (f"http://{FAR}/x", "HTTP_PROXY", "http://[::1"),
        (f"https://{FAR}/x", "https_proxy", "ftp://box"), ("https://127.0.0.1:9/x", "SSL_CERT_FILE", "/no/such"),
        ("https://127.0.0.1:9/x", "SSL_CERT_DIR", "/no/such"), ("https://127.0.0.1:9/x", "SSLKEYLOGFILE", "/no/such/log"),
    ],
)  # fmt: skip
def test_a_variable_that_cannot_be_used_is_named_and_not_tried_again(
    url: str, variable: str, value: str, tmp_path: Path, clear: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    words, said = asked(url, tmp_path)
    assert f"{url} cannot be asked for: {variable} " in words and said == []


def test_the_proxy_is_named_that_refuses_or_is_not_there(
    tmp_path: Path, clear: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy() as recorder:
        monkeypatch.setenv("HTTP_PROXY", recorder.url.replace("//", "//me:secret@"))
        words, said = asked(f"http://u:hidden@{FAR}/x", tmp_path)
        assert recorder.asked == [f"GET http://{FAR}/x HTTP/1.1"] and said == []
        assert (
            f"http://{FAR}/x could not be downloaded: the server answered 403 through the proxy {recorder.url} (HTTP_PROXY)"
            in words
        )
    words, _ = asked(f"http://{FAR}/x", tmp_path)
    assert f"through the proxy {recorder.url} (HTTP_PROXY)" in words and "secret" not in words and "hidden" not in words


def test_a_redirect_goes_its_own_way(
    server: Server, tmp_path: Path, clear: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.redirects["/x"] = f"http://{FAR}/y"
    with proxy() as recorder:
        monkeypatch.setenv("ALL_PROXY", recorder.url)
        assert "403 through the proxy" in asked(f"{server.url}/x", tmp_path)[0]
        assert recorder.asked == [f"GET http://{FAR}/y HTTP/1.1"]


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("", HUB), (" ", HUB), ("https://hf-mirror.com/", "https://hf-mirror.com"), ("'http://localhost:8080'", "http://localhost:8080"),
        ("localhost:8080/hub/", "http://localhost:8080/hub"), ("http://u:p%40w@box", "http://u:p%40w@box"), ("http://[::1]:9", "http://[::1]:9"),
    ],
)  # fmt: skip
def test_the_mirror_that_hf_endpoint_names(value: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", value)
    assert hub() == url


@pytest.mark.parametrize(
    "value", ["localhost:abc", "hf-mirror.com", "http:/localhost:80", "ftp://box", "http://[::1", "https://u:pw@box:x", "htp://a", "\udcff", "a b"]
)  # fmt: skip
def test_an_invalid_endpoint_is_reported_in_one_sentence(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", value)
    with pytest.raises(
        DataError, match=r"^HF_ENDPOINT is '.+', which is not the address of a server: .* Nothing was downloaded\.$"
    ) as raised:
        hub()
    assert "pw" not in str(raised.value)


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


def test_without_a_shard_for_validation_the_content_decides() -> None:
    whole = Shards("x/y", str, 1, 1, None)
    splits = Counter(_split_in_shard(f"document {i}", "0", whole) for i in range(2000))
    assert set(splits) == {"train", "val", "test"} and splits["train"] > splits["val"] + splits["test"]
