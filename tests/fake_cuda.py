"""A CUDA device for tests on machines without one: what says "cuda" computes on the CPU, and fails where CUDA would.

`install(path)` is called once in the fork server, before it forks anything. From then on:

- Tensors on "cuda" are CPU tensors whose storage carries a mark. They say that they are on cuda:0, `.to("cuda")` copies,
  `.numpy()` is refused, and an operation that mixes both devices raises RuntimeError, all as on a real card.
- The first use in a process initialises it. A use in a process that was forked from an initialised one raises
  "Cannot re-initialize CUDA in forked subprocess". Asking whether there is a GPU counts as a use, as in torch.
- Every storage is charged to the card. What exceeds its memory, less what other processes hold, raises
  torch.OutOfMemoryError, and where NVML was open when the process was forked, the internal assertion of torch's allocator.
- `pynvml` is a fake that reads the same file of state.

The state is one file that all processes map, so a sandbox without rights on files sees the changes too. `Cards` writes it:
cards, memory held by programs from outside, throttle reasons, NVML calls that fail, and how `torch.compile` behaves. This
module imports torch only in `install`, so the loop's side (`pynvml` of core/machine/stats.py) works without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.machinery
import importlib.util
import json
import mmap
import os
import sys
import types
from collections.abc import Callable, Iterator
from importlib.abc import Loader
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS, ROWS = 1 << 16, 512  # bytes of settings, rows (pid, card, bytes) of the ledger
SIZE = SETTINGS + ROWS * 24
GIB = 1 << 30
# Modules that are started as processes of their own, and after which line the device is there.
STARTED = (
    ("harness/fork_server.py", "from __future__ import annotations\n", ""),
    ("harness/compile_check.py", "    import torch\n\n", "    "),  # its quick look needs no torch
)
HOOK = """
import importlib.util
import sys


class AfterTorch:
    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            import fake_cuda

            fake_cuda.install({path})

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, AfterTorch())
"""
FORKED = "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start method"
ASSERTION = 'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "../c10/cuda/CUDACachingAllocator.cpp":1016, please report a bug to PyTorch. '


class Cards:
    """The file of state: settings as JSON, and a ledger of what each process holds."""

    def __init__(self, path: Path | str) -> None:
        """Map the file; it is made if it is not there."""
        self.path = Path(path)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, SIZE)
            self._map = mmap.mmap(handle, SIZE)
        finally:
            os.close(handle)
        self._rows = np.frombuffer(self._map, dtype=np.int64, offset=SETTINGS).reshape(ROWS, 3)
        self._known: tuple[bytes, dict[str, Any]] = (b"", {})

    @property
    def settings(self) -> dict[str, Any]:
        """cards, raises, compile, context, capability, driver; see `make`."""
        length = int.from_bytes(self._map[:8], "little")
        raw = self._map[8 : 8 + length]
        if raw != self._known[0]:
            self._known = (raw, json.loads(raw))
        return self._known[1]

    def change(self, **changes: Any) -> None:
        """Set some of the settings."""
        old = self.settings if self._map[0:8] != bytes(8) else {}
        raw = json.dumps(old | changes).encode()
        assert len(raw) < SETTINGS - 8
        self._map[:SETTINGS] = len(raw).to_bytes(8, "little") + raw.ljust(SETTINGS - 8, b"\0")

    def change_card(self, index: int = 0, **changes: Any) -> None:
        """Set some figures of one card."""
        cards = [dict(card) for card in self.settings["cards"]]
        cards[index] |= changes
        self.change(cards=cards)

    def occupy(self, size: int, *, pid: int = 4711, index: int = 0) -> None:
        """From now on a program from outside holds `size` bytes of a card; 0: it is gone."""
        others = {who: held for who, held in self.settings["cards"][index]["others"].items() if who != str(pid)}
        self.change_card(index, others=others | ({str(pid): size} if size else {}))

    def hold(self, pid: int, index: int, size: int) -> None:
        """What a process holds of a card."""
        self._rows[pid % ROWS] = (pid, index, size)

    def users(self, index: int) -> dict[int, int]:
        """Bytes of a card by process, programs from outside included. The memory of a dead process is free."""
        found = {int(pid): size for pid, size in self.settings["cards"][index]["others"].items()}
        for row in self._rows[:, 2].nonzero()[0]:
            pid, card, size = self._rows[row].tolist()
            if card == index and (os.path.exists(f"/proc/{pid}") or not sees_all()):
                found[pid] = size
        return found

    def forget_the_dead(self) -> None:
        """Free what dead processes held. A process with a /proc of its own cannot tell who is dead."""
        for row in self._rows[:, 2].nonzero()[0]:
            if not os.path.exists(f"/proc/{self._rows[row][0]}"):
                self._rows[row] = 0


def make(path: Path | str, *, cards: int = 1, memory: int = 8 * GIB, **settings: Any) -> Cards:
    """A new file of state with `cards` cards of `memory` bytes.

    Settings: `raises` (names of NVML calls that are not supported), `compile` ("identity", or a backend of torch.compile such as "eager"
    or "inductor"), `context` (bytes that the first use takes), `capability`, `triton` (whether the package seems to be installed),
    `pins` (whether host memory can be pinned),
    `preload` (whether the fork server imports the compiler, which takes seconds and is of use to few tests).
    """
    made = Cards(path)
    found = [
        {"name": f"Fake GPU {i}", "total": memory, "uuid": f"GPU-{i:08x}-fake", "others": {}, "reasons": 0, "mig": []}
        for i in range(cards)
    ]
    defaults = {
        "raises": [],
        "preload": False,
        "pins": True,
        "compile": "identity",
        "context": 1 << 20,
        "capability": [7, 5],
        "triton": True,
    }
    made.change(**defaults | {"cards": found} | settings)
    return made


def plant(root: Path, cards: Cards) -> None:
    """Install the device in a copy of the product: its fork server sees it, and everything that is forked from it.

    `root`: a folder with a copy of nanochat/. Never the source tree: product code has no switch for a fake.
    """
    package = root / "nanochat"
    (package / "fake_cuda.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    for name, before, indent in STARTED:
        if (package / name).exists():
            source = (package / name).read_text(encoding="utf-8")
            assert source.count(before) == 1, f"{name} begins otherwise now"
            lines = f"{indent}from nanochat import fake_cuda\n\n{indent}fake_cuda.install({str(cards.path)!r})\n"
            (package / name).write_text(source.replace(before, before + lines), encoding="utf-8")


def shadow(folder: Path, cards: Cards, torch: str = "2.13.0+cu130") -> Path:
    """Make a folder for PYTHONPATH in which `pynvml` is the fake and the installed torch has the version `torch`.

    A process that imports torch with this path has the fake device too. The fork server has no such path; see `plant`.
    """
    folder.mkdir(parents=True)
    (folder / "fake_cuda.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    path = repr(str(cards.path))
    (folder / "pynvml.py").write_text(
        f"import sys\n\nimport fake_cuda\n\nsys.modules[__name__] = fake_cuda.Nvml(fake_cuda.Cards({path}))\n"
    )
    (folder / "sitecustomize.py").write_text(HOOK.format(path=path))
    information = folder / f"torch-{torch}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {torch}\n")
    return folder


def shown_pid() -> int:
    """The number of this process in the namespace that /proc shows."""
    try:
        return int(os.readlink("/proc/self"))
    except (OSError, ValueError):
        return os.getpid()


def sees_all() -> bool:
    """Whether /proc shows the processes of the machine, and not only those of the trainer that this is."""
    return shown_pid() != 1


# -- NVML -------------------------------------------------------------------------------------------------------------


class NVMLError(Exception):
    """As pynvml raises it."""


class NVMLError_NotSupported(NVMLError):
    """A call that this card, driver or system does not know."""


class Nvml(types.ModuleType):
    """In the place of the module pynvml."""

    NVMLError, NVMLError_NotSupported = NVMLError, NVMLError_NotSupported
    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = 0, 1

    def __init__(self, cards: Cards) -> None:
        super().__init__("pynvml")
        self.cards = cards
        self.open = 0  # nvmlInit calls less nvmlShutdown calls
        self.inherited = False  # it was open when this process was forked
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.inherited = self.inherited or self.open > 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(_Calls, name, None)
        if call is None:
            raise AttributeError(name)

        def checked(*arguments: Any) -> Any:
            if name in self.cards.settings["raises"]:
                raise NVMLError_NotSupported("Not Supported")
            if name != "nvmlInit" and not self.open:
                raise NVMLError("Uninitialized")
            return call(self, *arguments)

        return checked


class _Calls:
    """The calls of NVML that the product makes. A handle is (card,) or (card, MIG instance)."""

    def nvmlInit(self: Nvml) -> None:
        self.open += 1

    def nvmlShutdown(self: Nvml) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self: Nvml) -> int:
        return len(self.cards.settings["cards"])

    def nvmlDeviceGetHandleByIndex(self: Nvml, index: int) -> tuple[int, ...]:
        if not 0 <= index < len(self.cards.settings["cards"]):
            raise NVMLError("Invalid Argument")
        return (index,)

    def nvmlDeviceGetHandleByUUID(self: Nvml, uuid: str | bytes) -> tuple[int, ...]:
        name = uuid.decode() if isinstance(uuid, bytes) else uuid
        for index, card in enumerate(self.cards.settings["cards"]):
            if card["uuid"] == name:
                return (index,)
            for number, instance in enumerate(card["mig"]):
                if instance["uuid"] == name:
                    return (index, number)
        raise NVMLError("Not Found")

    def nvmlDeviceGetMemoryInfo(self: Nvml, handle: tuple[int, ...]) -> Any:
        total = _part(self, handle)["total"]
        used = sum(self.cards.users(handle[0]).values())
        return types.SimpleNamespace(total=total, used=used, free=total - used)

    def nvmlDeviceGetName(self: Nvml, handle: tuple[int, ...]) -> str:
        return str(_part(self, handle)["name"])

    def nvmlDeviceGetUUID(self: Nvml, handle: tuple[int, ...]) -> str:
        return str(_part(self, handle)["uuid"])

    def nvmlDeviceGetComputeRunningProcesses(self: Nvml, handle: tuple[int, ...]) -> list[Any]:
        users = self.cards.users(handle[0]).items()
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in users]

    def nvmlDeviceGetCurrentClocksThrottleReasons(self: Nvml, handle: tuple[int, ...]) -> int:
        return int(_whole(self, handle)["reasons"])

    nvmlDeviceGetCurrentClocksEventReasons = nvmlDeviceGetCurrentClocksThrottleReasons

    def nvmlDeviceGetUtilizationRates(self: Nvml, handle: tuple[int, ...]) -> Any:
        _whole(self, handle)
        return types.SimpleNamespace(gpu=50, memory=10)

    def nvmlDeviceGetPowerUsage(self: Nvml, handle: tuple[int, ...]) -> int:
        _whole(self, handle)
        return 100_000

    def nvmlDeviceGetTemperature(self: Nvml, handle: tuple[int, ...], kind: int) -> int:
        _whole(self, handle)
        return 60

    def nvmlDeviceGetClockInfo(self: Nvml, handle: tuple[int, ...], kind: int) -> int:
        _whole(self, handle)
        return 1500

    def nvmlSystemGetDriverVersion(self: Nvml) -> str:
        return str(self.cards.settings.get("driver", "580.65.06"))

    def nvmlSystemGetCudaDriverVersion_v2(self: Nvml) -> int:
        return int(self.cards.settings.get("driver_cuda", 13000))

    nvmlSystemGetCudaDriverVersion = nvmlSystemGetCudaDriverVersion_v2

    def nvmlDeviceGetMigMode(self: Nvml, handle: tuple[int, ...]) -> tuple[int, int]:
        on = int(bool(_whole(self, handle)["mig"]))
        return (on, on)

    def nvmlDeviceGetMaxMigDeviceCount(self: Nvml, handle: tuple[int, ...]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self: Nvml, handle: tuple[int, ...], number: int) -> tuple[int, ...]:
        if number >= len(_whole(self, handle)["mig"]):
            raise NVMLError("Not Found")
        return (handle[0], number)


def _whole(nvml: Nvml, handle: tuple[int, ...]) -> dict[str, Any]:
    """The card; a MIG instance has no such figure of its own."""
    if len(handle) > 1:
        raise NVMLError_NotSupported("Not Supported")
    card: dict[str, Any] = nvml.cards.settings["cards"][handle[0]]
    return card


def _part(nvml: Nvml, handle: tuple[int, ...]) -> dict[str, Any]:
    card: dict[str, Any] = nvml.cards.settings["cards"][handle[0]]
    return card["mig"][handle[1]] | {"name": f"{card['name']} MIG"} if len(handle) > 1 else card


# -- CUDA -------------------------------------------------------------------------------------------------------------


class Device:
    """The card as this process sees it: initialised or not, and the memory that it holds."""

    def __init__(self, cards: Cards) -> None:
        self.cards = cards
        self.pid = self.index = 0  # of the process that uses it, and of its card
        self.outer_pid = shown_pid()  # as the driver tells it
        self.initialised = self.bad_fork = self.kept_error = False
        self.compiling = False  # the compiler of a CPU build of torch is at work: it must see no GPU
        self.live = self.reserved = self.peak = 0  # bytes
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.bad_fork = self.bad_fork or self.initialised
        if sees_all():  # not yet in the namespaces of a trainer
            self.outer_pid = shown_pid()
            self.cards.forget_the_dead()
        self.initialised, self.live, self.reserved, self.peak = False, 0, 0, 0

    @property
    def visible(self) -> list[int]:
        """The cards that CUDA_VISIBLE_DEVICES leaves; it ends at the first that is not there."""
        cards = self.cards.settings["cards"]
        setting = os.environ.get("CUDA_VISIBLE_DEVICES")
        if setting is None:
            return list(range(len(cards)))
        found: list[int] = []
        for word in setting.split(","):
            names = [card["uuid"] for card in cards]
            if word.strip().isdecimal() and int(word) < len(cards):
                found.append(int(word))
            elif word.strip() in names:
                found.append(names.index(word.strip()))
            else:
                break
        return found

    def use(self) -> None:
        """What every call of CUDA does first."""
        import torch

        if self.bad_fork:
            raise RuntimeError(FORKED)
        if self.kept_error:
            self.kept_error = False
            raise RuntimeError("CUDA error: invalid argument")
        if self.initialised:
            return
        if not (visible := self.visible):
            raise RuntimeError("No CUDA GPUs are available")
        self.initialised = True
        self.pid, self.index = self.outer_pid, visible[0]
        context = int(self.cards.settings["context"])
        if context > self._room():
            self.initialised = False
            raise getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: out of memory")
        self.take(context)

    def _room(self) -> int:
        """Bytes that are free for this process; what it has cached itself counts as free."""
        index = self.index
        others = sum(size for pid, size in self.cards.users(index).items() if pid != self.pid)
        return int(self.cards.settings["cards"][index]["total"]) - others - self.live

    def take(self, size: int) -> None:
        """Charge an allocation. Raises torch.OutOfMemoryError, or what torch raises in its place where NVML was inherited open."""
        self.check(size)
        self.live += size
        self.peak = max(self.peak, self.live)
        self.reserved = max(self.reserved, self.live)
        self.cards.hold(self.pid, self.index, self.reserved)

    def check(self, size: int) -> None:
        """Raise what `take` would."""
        import torch

        if size > (room := self._room()):
            nvml = sys.modules.get("pynvml")
            if isinstance(nvml, Nvml) and nvml.inherited:
                raise RuntimeError(ASSERTION)
            total = self.cards.settings["cards"][self.index]["total"]
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. GPU 0 has a total capacity of {total / 2**30:.2f} GiB "
                f"of which {room / 2**20:.2f} MiB is free."
            )

    def give(self, size: int) -> None:
        """A storage is gone; its memory stays cached."""
        self.live -= size

    def empty_cache(self) -> None:
        if self.initialised:
            self.reserved = self.live
            self.cards.hold(self.pid, self.index, self.reserved)


class Block:
    """Memory of the card that a storage holds, for as long as the storage lives."""

    def __init__(self, device: Device, size: int) -> None:
        self._device, self._size = device, 0
        device.take(size)
        self._size = size

    def __del__(self) -> None:
        self._device.give(self._size)


class Triton(Loader):
    """Makes the package `triton` look installed to who asks the import system, as train.py does. Nobody can import it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == "triton" else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        raise ModuleNotFoundError("No module named 'triton'", name="triton")


FACTORIES = frozenset({"empty", "zeros", "ones", "full", "rand", "randn", "randint", "arange", "eye"})
HOST = object()  # the mark of a storage that is known to be on the CPU
MIXES = frozenset(
    {
        "copy_",
        "__getitem__",
        "__setitem__",
        "set_",
        "__set__",
        "__get__",
        "is_same_size",
        "_has_compatible_shallow_copy_type",
    }
)


def install(path: Path | str) -> Device:
    """Make "cuda" work in this process and in what is forked from it. `path`: the file of state. Call it once."""
    import torch
    from torch.overrides import TorchFunctionMode

    cards = Cards(path)
    if not cards.settings["preload"] and importlib.util.find_spec("nanochat.harness.compiler") is not None:
        compiler: Any = importlib.import_module("nanochat.harness.compiler")
        compiler.preload = compiler.start_workers = lambda: None
    if library := cards.settings.get("libcuda"):
        ctypes.CDLL(library)  # from now on it is what "libcuda.so.1" means, also where the sandbox hides its path
    device = Device(cards)
    sys.modules["pynvml"] = Nvml(cards)
    Tensor, Compute = torch.Tensor, torch.device("cuda", 0)

    def wants(where: object) -> bool:
        return str(where).startswith("cuda") or (isinstance(where, int) and not isinstance(where, bool))

    def mark_of(tensor: Any) -> object | None:
        return getattr(tensor.untyped_storage(), "fake_cuda", None) if tensor.layout is torch.strided else None

    def on_card(tensor: Any) -> bool:
        return isinstance(mark_of(tensor), Block)

    def place(result: Any, card: bool) -> Any:
        """Mark what an operation returned, and charge it; views and results in place are marked already."""
        for tensor in tensors(result):
            if tensor.layout is torch.strided and mark_of(tensor) is None:
                storage = tensor.untyped_storage()
                storage.fake_cuda = Block(device, storage.nbytes()) if card else HOST
        return result

    def tensors(values: Any) -> Iterator[Any]:
        if isinstance(values, Tensor):
            yield values
        elif isinstance(values, list | tuple):
            for value in values:
                yield from tensors(value)

    def to_card(tensor: Any) -> Any:
        device.use()
        return (
            tensor
            if on_card(tensor)
            else place(tensor.clone() if mark_of(tensor) is not None else tensor.detach().clone(), True)
        )

    def move(tensor: Any, where: object, **rest: Any) -> Any:
        """`Tensor.to`: another dtype, then another device; gradients flow through both."""
        copy = rest.pop("copy", False)
        rest.pop("non_blocking", None)
        card = on_card(tensor)
        result = place(tensor.to(**rest), card) if rest else tensor
        if where is None or wants(where) == card:
            return place(result.clone(), card) if copy and result is tensor else result
        if wants(where):
            device.use()
        return place(result.clone(), wants(where))

    def to(tensor: Any, *arguments: Any, **kwargs: Any) -> Any:
        where = kwargs.pop("device", None)
        names = ["non_blocking", "copy"]
        if arguments and isinstance(arguments[0], Tensor):
            other, *arguments = arguments
            where, kwargs["dtype"] = ("cuda" if on_card(other) else "cpu"), other.dtype
        elif arguments and not isinstance(arguments[0], torch.dtype):
            where, *arguments = arguments
            names = ["dtype", *names] if not arguments or isinstance(arguments[0], torch.dtype | None) else names
        else:
            names = ["dtype", *names]
        kwargs |= {name: value for name, value in zip(names, arguments, strict=False) if value is not None}
        return move(tensor, where, **kwargs)

    def refuse_numpy(func: Any) -> Any:
        def numpy(tensor: Any, *arguments: Any, **kwargs: Any) -> Any:
            if on_card(tensor):
                raise TypeError(
                    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
                )
            return func(tensor, *arguments, **kwargs)

        return numpy

    def pinned(tensor: Any, *arguments: Any, **kwargs: Any) -> Any:
        device.use()
        return place(tensor.clone(), False)

    def lent_memory(view: Any) -> Any:
        """A tensor over memory that lent.py has mapped; it is charged to nobody."""
        device.use()
        told = view.__cuda_array_interface__
        raw = (ctypes.c_float * int(np.prod(told["shape"]))).from_address(told["data"][0])
        tensor = torch.frombuffer(raw, dtype=torch.float32).view(told["shape"])
        storage = tensor.untyped_storage()
        storage.fake_cuda = Block(device, 0)
        storage.lent = view
        return tensor

    special: dict[Any, Callable[..., Any]] = {
        Tensor.to: to,
        Tensor.cuda: lambda tensor, *a, **k: move(tensor, "cuda"),
        Tensor.cpu: lambda tensor, *a, **k: move(tensor, "cpu"),
        Tensor.pin_memory: pinned,
        Tensor.numpy: refuse_numpy(Tensor.numpy),
        Tensor.__array__: refuse_numpy(Tensor.__array__),
        Tensor.device.__get__: lambda tensor, *a: Compute if on_card(tensor) else torch.device("cpu"),
        Tensor.is_cuda.__get__: lambda tensor, *a: on_card(tensor),
        Tensor.get_device: lambda tensor: 0 if on_card(tensor) else -1,
        Tensor.untyped_storage: Tensor.untyped_storage,
    }

    class Mode(TorchFunctionMode):
        """Sees each call of torch that Python makes."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if (own := special.get(func)) is not None:
                return own(*args, **kwargs)
            if func is torch.as_tensor and hasattr(args[0], "__cuda_array_interface__"):
                return lent_memory(args[0])
            name = getattr(func, "__name__", "")
            card = wants(kwargs["device"]) if kwargs.get("device") is not None else False
            if "device" in kwargs:
                if card:
                    device.use()
                    if (
                        name in FACTORIES
                    ):  # what does not fit is not made: the machine may have less memory than the card
                        device.check(func(*args, **kwargs | {"device": "meta"}).nbytes)
                kwargs = kwargs | {"device": "cpu" if kwargs["device"] is not None else None}
            given = [*tensors(args), *tensors(list(kwargs.values()))]
            marks = [mark_of(tensor) for tensor in given]
            here = [isinstance(mark, Block) for mark in marks]
            if any(here):
                device.use()
                mixed = any(mark is HOST and t.dim() > 0 for t, mark in zip(given, marks, strict=True))
                if mixed and name not in MIXES:
                    raise RuntimeError(
                        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                        f"(in {name})"
                    )
            result = func(*args, **kwargs)
            if kwargs.get("device") is not None:
                return place(result, card)
            if any(here):
                return place(result, True)
            if not given or all(mark is HOST for mark in marks):
                return place(result, False)
            return result

    mode = Mode()

    @contextlib.contextmanager
    def plainly() -> Iterator[None]:
        """A compiler traces what the CPU computes, without this mode."""
        mode.__exit__(None, None, None)
        device.compiling = True
        try:
            yield
        finally:
            device.compiling = False
            mode.__enter__()

    compiles = torch.compile

    def compile(model: Any = None, **options: Any) -> Any:
        if model is None:
            return lambda function: compile(function, **options)
        kind = cards.settings["compile"]
        if kind == "identity":
            return model
        with plainly():
            compiled = compiles(model, **options | {"backend": kind})

        def call(*args: Any, **kwargs: Any) -> Any:
            with plainly():
                result = compiled(*args, **kwargs)
            return place(result, device.initialised)

        return call

    def after_use(value: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            device.use()
            return value() if callable(value) else value

        return call

    def asked(value: Callable[[], Any]) -> Callable[..., Any]:
        """The driver is initialised by the question, so that a fork afterwards is too late."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if device.bad_fork or device.compiling:
                return value()
            device.initialised = device.initialised or bool(device.visible)
            return value()

        return call

    def free_total() -> tuple[int, int]:
        total = int(cards.settings["cards"][device.visible[0]]["total"])
        return total - sum(cards.users(device.visible[0]).values()), total

    def properties() -> Any:
        card, (major, minor) = cards.settings["cards"][device.visible[0]], cards.settings["capability"]
        return types.SimpleNamespace(
            name=card["name"],
            total_memory=card["total"],
            major=major,
            minor=minor,
            multi_processor_count=16,
            gcnArchName="",
        )

    def register(*_: Any) -> int:
        """Pinning: where it is refused, CUDA keeps the error for the next operation."""
        device.use()
        device.kept_error = not cards.settings["pins"]
        return int(device.kept_error)

    cudart = types.SimpleNamespace(cudaHostRegister=register, cudaHostUnregister=lambda *a: 0)
    stream = types.SimpleNamespace(synchronize=after_use(None), wait_stream=after_use(None), cuda_stream=0)
    replaced = {
        "is_available": asked(lambda: bool(device.visible) and not device.compiling),
        "device_count": asked(lambda: 0 if device.compiling else len(device.visible)),
        "is_initialized": lambda: device.initialised,
        "_is_in_bad_fork": lambda: device.bad_fork,
        "init": after_use(None),
        "_lazy_init": after_use(None),
        "current_device": after_use(0),
        "set_device": after_use(None),
        "synchronize": after_use(None),
        "empty_cache": device.empty_cache,
        "ipc_collect": after_use(None),
        "mem_get_info": after_use(free_total),
        "memory_allocated": lambda *a, **k: device.live,
        "memory_reserved": lambda *a, **k: device.reserved,
        "max_memory_allocated": lambda *a, **k: device.peak,
        "max_memory_reserved": lambda *a, **k: device.reserved,
        "reset_peak_memory_stats": lambda *a, **k: setattr(device, "peak", device.live),
        "get_device_capability": after_use(lambda: tuple(cards.settings["capability"])),
        "get_device_name": after_use(lambda: properties().name),
        "get_device_properties": after_use(properties),
        "is_bf16_supported": after_use(lambda: cards.settings["capability"][0] >= 8),
        "current_stream": after_use(lambda: stream),
        "cudart": after_use(lambda: cudart),
        "manual_seed": lambda seed: None,  # the CPU's generator draws for the card too
        "manual_seed_all": lambda seed: None,
    }
    for name, value in replaced.items():
        setattr(torch.cuda, name, value)
    torch.compile = compile
    if (
        cards.settings["triton"] and importlib.util.find_spec("triton") is None
    ):  # train.py compiles where it is installed
        sys.meta_path.append(Triton())
    mode.__enter__()
    return device
