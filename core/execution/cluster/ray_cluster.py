"""The cluster as the executor sees it, and Ray behind it. Ray is only imported here and in ray_head.py, when a cluster is used."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import importlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from core import entry
from core.execution.base import ExecutorFailed
from core.execution.cluster import actor, code, daemon_threads
from core.execution.cluster.actor import DONE, Actor
from core.execution.cluster.ray_errors import explained, is_full
from core.execution.cluster.ray_head import CLIENT, Head, Listed, joined
from core.machine import temporary
from core.machine.project import UsageError

LOOPBACK = "127.0.0.1"
REACH_S = 5.0  # to connect to an address
HEAD_S = 30.0  # for an answer of the head
KILL_S = 3.0  # at the end, for actors that are being killed
SHUT_S = 60.0  # to disconnect; without a head, Ray may never do it
LOST_S = 12.0  # the same when the head is known to be gone. Ray takes 7 s then
INLINE = 100_000  # bytes; Ray puts larger arguments into its object store, and waits while that is full
PREFIX = "autoresearch-ray-"  # of the folder of a cluster on this machine
LONGEST = 30  # characters of the path to that folder
STORE_BYTES = 160 << 20  # of the object store of a local cluster: chunks pass through it
INSTALL = ".venv/bin/python -m pip install -r requirements-ray.txt"
RESOURCES = {"cpu": "CPU", "cuda": "GPU"}  # device -> Ray's name of what a training needs
# Otherwise Ray sends statistics of its use to its makers, warns of a change in a later version, and ends actors when memory is
# scarce. The harness has limits of its own, and says which training reached them.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_memory_monitor_refresh_ms": "0",
}
# Of a cluster on this machine: it uses the loopback address only, and answers only those who have its token. Ray reads the name of
# the first variable on all systems.
ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "120",  # after that, Ray ends this process if there is no head
}
# Of a process that joins a cluster: the same, which would be a minute. HeadWatch comes first, and the run ends in good order.
JOINING = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}


class NodeLost(ExecutorFailed):
    """A node or its actor does not answer. Its job is lost."""


class NodeRefused(ExecutorFailed):
    """A node answered that it cannot do what it was asked for."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster. `places`: how many trainings fit on it."""

    id: str
    name: str
    places: int


class Remote(Protocol):
    """The actor of a slot on a node."""

    async def call(self, method: str, *arguments: bytes, within_s: float) -> bytes:
        """Call a method of `NodeSlot`. Raises NodeLost if no answer comes within so many seconds, and NodeRefused."""
        ...

    def kill(self) -> None:
        """End the actor at once."""
        ...


class Cluster(Protocol):
    """Nodes on which actors can be started."""

    async def nodes(self, device: str) -> Sequence[Node]:
        """Return the living nodes that have what a training on this device needs. Raises NodeLost if they are unknown."""
        ...

    async def place(self, node: Node, device: str) -> Remote:
        """Start an actor on a node. It may not live yet. Raises NodeLost.

        `device`: cpu or cuda for trainings, "" for a question, which takes no place from them.
        """
        ...

    async def lost(self) -> str:
        """Wait until the cluster is lost for good. Returns why, and what to do next, as sentences."""
        ...

    def close(self) -> None:
        """Disconnect, and end what was started."""
        ...


Connect = Callable[[], Cluster]  # raises UsageError


def check_installed() -> None:
    """Raise UsageError if Ray is not installed. Does not import it."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError(f"`--executor ray` needs the package ray. Nothing was started. `{INSTALL}` installs it.")


def check_reachable(address: str) -> None:
    """Raise UsageError if nothing answers at an address that names a host. Does not import Ray."""
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not colon or not port.isdigit():
        if address in ("", "auto"):
            return
        raise UsageError(
            f"{address!r} is not the address of a Ray cluster. Nothing was started. Such are auto, HOST:6379 and ray://HOST:10001."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"Nothing answers at {address} ({error}). Nothing was started. `ray status` on the first machine of the cluster shows "
            "whether it runs."
        ) from error


def connect(address: str, places: int, device: str) -> RayCluster:
    """Connect to a cluster, or start one on this machine.

    Args:
        address: The address of the cluster as Ray understands it; "" to start one on this machine, reachable by loopback only.
        places: The number of trainings that a cluster on this machine takes.
        device: cpu or cuda.

    Raises:
        UsageError: Ray cannot be imported, the cluster cannot be reached, or it has another version of Ray or Python.
    """
    os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})
    if not address:
        # whatever the user has set for another cluster
        os.environ.update(ALONE | {"RAY_AUTH_TOKEN": secrets.token_hex(32)})
    else:
        os.environ.update({name: value for name, value in JOINING.items() if name not in os.environ})
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise UsageError(f"Ray cannot be imported ({error}). `{INSTALL}` installs it.") from error
    folder = _session_folder() if not address else ""
    options: dict[str, Any] = {"address": address}
    if not address:
        options = {
            "address": "local", "num_cpus": places, "num_gpus": places if device == "cuda" else 0, "include_dashboard": False,
            "object_store_memory": STORE_BYTES, "_node_ip_address": LOOPBACK, "_temp_dir": folder,
        }  # fmt: skip
    try:
        with _kept_signals():
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
        head = joined(ray, address)
    except Exception as error:  # also RayError, such as AuthenticationError
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(_unreachable(address, error)) from error
    return RayCluster(ray, folder, head)


def _session_folder() -> str:
    """Create a folder for the sockets and logs of a cluster on this machine. The path of a socket has at most 107 characters."""
    prefix = f"{PREFIX}{os.getpid()}-"
    short = [place for place in temporary.places() if len(str(place)) <= LONGEST]
    for place in short:
        with contextlib.suppress(OSError):
            folder = tempfile.mkdtemp(prefix=prefix, dir=place)
            remove_left(place)
            return folder
    return str(temporary.folder(prefix))


def remove_left(place: Path) -> None:
    """Remove the folders of clusters whose process was killed. Those of other users stay."""
    for folder in place.glob(f"{PREFIX}*-*"):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _unreachable(address: str, error: Exception) -> str:
    words = " ".join(str(error).split())[:400].rstrip(".")
    if not address:
        return f"Ray could not be started on this machine: {words}. What was recorded is kept. --executor local needs no Ray."
    return (
        f"The Ray cluster at {address} cannot be used: {words}. What was recorded is kept; try again. `ray status` on its "
        "first machine shows whether it runs. Ray and Python must have the same versions on all "
        "machines. If it has a token, set RAY_AUTH_MODE=token here too."
    )


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Put back the handlers of signals that Ray replaces."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


class RayCluster:
    """A cluster that this process is connected to.

    Args:
        ray: The module ray, connected.
        folder: Of a cluster that was started for this process; "" otherwise.
        head: Its head.
    """

    def __init__(self, ray: Any, folder: str, head: Head) -> None:
        self._ray, self._folder, self._head = ray, folder, head
        self._killing: list[threading.Thread] = []
        self._code = code.packed()  # once, since the sources may change later
        self._digest = hashlib.sha256(self._code).hexdigest()
        importlib.import_module("ray.cloudpickle").register_pickle_by_value(actor)
        self._actor = ray.remote(Actor)

    async def nodes(self, device: str) -> Sequence[Node]:
        listed: Sequence[Listed] = await self._within(lambda: self._head.nodes(HEAD_S))
        nodes = [(one, int(one.resources.get(RESOURCES[device], 0))) for one in listed]
        return [Node(one.id, one.name, places) for one, places in nodes if places > 0]

    async def place(self, node: Node, device: str) -> Remote:
        handle = await self._within(lambda: self._start(node, device))
        return RayRemote(handle, node.name, self._kill)

    def _start(self, node: Node, device: str) -> Any:
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        options = self._actor.options(
            num_cpus=1 if device == "cpu" else 0,
            num_gpus=1 if device == "cuda" else 0,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(node.id, soft=False),
        )
        return options.remote(self._code, self._digest)

    async def _within(self, work: Callable[[], Any]) -> Any:
        """Ask the head of the cluster, with a timeout, since Ray waits without end for a lost head. Raises NodeLost."""
        try:
            return await asyncio.wait_for(daemon_threads.call(work), HEAD_S)
        except TimeoutError:
            self._head.watch.doubt()
            raise NodeLost(f"The head of the Ray cluster did not answer within {HEAD_S:.0f} s.") from None
        except Exception as error:  # Ray raises errors of many kinds
            if is_full(error):  # of the code that an actor brings along
                raise NodeLost(explained(error, "This machine")) from error
            self._head.watch.doubt()
            raise NodeLost(f"The Ray cluster does not answer ({_line(error)}).") from error

    async def lost(self) -> str:
        return await self._head.watch.lost()

    def _kill(self, handle: Any) -> None:
        """Kill an actor. With ray:// this waits for the head, so it runs in a thread."""

        def kill() -> None:
            with contextlib.suppress(Exception):  # it may be gone already
                self._ray.kill(handle, no_restart=True)

        self._killing = [thread for thread in self._killing if thread.is_alive()] + [daemon_threads.start(kill)]

    def close(self) -> None:
        gone = self._head.watch.gone
        self._head.watch.stop()
        until = time.monotonic() + (0.0 if gone else KILL_S)
        for thread in self._killing:
            thread.join(max(0.0, until - time.monotonic()))
        with _kept_signals():
            shutting = daemon_threads.start(self._ray.shutdown)
            shutting.join(LOST_S if gone else SHUT_S)
        if shutting.is_alive():
            atexit.unregister(self._ray.shutdown)  # it would wait once more, after all else has ended
            entry.end_without_cleanup()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


class RayRemote:
    """An actor in Ray.

    Args:
        handle: Its handle.
        node: The name of its node.
        kill: Kills the actor of a handle.
    """

    def __init__(self, handle: Any, node: str, kill: Callable[[Any], None]) -> None:
        self._handle, self._node, self._kill = handle, node, kill

    async def call(self, method: str, *arguments: bytes, within_s: float) -> bytes:
        try:
            async with asyncio.timeout(within_s):
                answer: bytes = await asyncio.wrap_future(await self._send(method, *arguments))
        except TimeoutError:
            raise NodeLost(f"Node {self._node} did not answer within {within_s:.0f} s.") from None
        except ExecutorFailed:
            raise
        except Exception as error:  # RayError, and with ray:// also ConnectionError and others
            raise NodeLost(explained(error, f"Node {self._node}")) from error
        if answer[:1] != DONE:
            words = answer[1:].decode(errors="replace")
            raise NodeRefused(f"Node {self._node} reports: {words.rstrip('.')}.")
        return answer[1:]

    async def _send(self, method: str, *arguments: bytes) -> Future[bytes]:
        """Send a call, and return the future of its answer. Raises ExecutorFailed if this machine cannot send anything now."""

        def send() -> Future[bytes]:
            future: Future[bytes] = self._handle.call.remote(method, *arguments).future()
            return future

        try:
            return await daemon_threads.call(send) if sum(map(len, arguments)) > INLINE else send()
        except Exception as error:
            if is_full(error):  # no node is at fault
                raise ExecutorFailed(explained(error, "This machine")) from error
            raise

    def kill(self) -> None:
        self._kill(self._handle)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
