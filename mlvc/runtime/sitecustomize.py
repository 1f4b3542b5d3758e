"""Watches and settles one Python process of a recorded command; Python imports it at start-up by its name.

What it does is chosen by variables that `mlvc run` and `mlvc repro` set:

    MLVC_TRACE          append to this file, at exit, what was opened and what was in force (one JSON line a process)
    MLVC_DETERMINISTIC  turn on torch's deterministic algorithms (as warnings) once torch is imported
    MLVC_SEED           seed `random`, and NumPy and torch once they are imported

It imports nothing that the program itself would not have imported, changes no random state unless asked to seed,
and hands over to a `sitecustomize` that it hides. It never fails the program: at exit it is silent.
PEP 578 describes audit hooks. A hook sees no opens by C++ code or child processes that are not Python.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_MOST_PATHS = 20_000


class _Trace:
    """What this process was seen to do."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.reads: set[bytes] = set()
        self.writes: set[bytes] = set()
        self.connections: set[str] = set()
        self.active = True

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        """Receives every audit event; must be quick, and must never raise."""
        if not self.active:
            return
        if event == "open":
            self._opened(*args)
        elif event == "socket.connect":
            self._connected(args[1])
        elif event == "socket.getaddrinfo":
            self.connections.add(f"{args[0]}:{args[1]}")

    def _opened(self, path: object, _mode: object, flags: int) -> None:
        if not isinstance(path, (str, bytes)) or len(self.reads) + len(self.writes) > _MOST_PATHS:
            return
        writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        # Relative paths are resolved now: the working directory may change later.
        name = os.path.join(os.getcwdb(), os.fsencode(path))
        if writing:
            self.writes.add(name)
        elif name not in self.writes:
            self.reads.add(name)

    def _connected(self, address: object) -> None:
        if isinstance(address, tuple) and len(address) >= 2:
            self.connections.add(f"{address[0]}:{address[1]}")

    def finish(self) -> None:
        """Appends one line to the trace."""
        self.active = False
        line = {
            "connections": sorted(self.connections),
            "effective": _effective(),
            "reads": _outside_environment(self.reads),
            "writes": _outside_environment(self.writes),
        }
        with contextlib.suppress(OSError):
            fd = os.open(self.target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(fd, (json.dumps(line) + "\n").encode())
            finally:
                os.close(fd)


def _outside_environment(names: Iterable[bytes]) -> list[str]:
    """Returns the names, as sorted hexadecimal digits, without the interpreter's and the environment's own files."""
    own = tuple(os.fsencode(os.path.join(prefix, "")) for prefix in {sys.prefix, sys.base_prefix, _HERE})
    return sorted(name.hex() for name in map(os.path.normpath, names) if not name.startswith(own))


def _effective() -> dict[str, Any]:
    """Returns what is really in force at exit, read from the libraries that the program loaded itself."""
    facts: dict[str, Any] = {
        "python": sys.version,
        "hash_randomization": sys.flags.hash_randomization,
        "hash_seed": os.environ.get("PYTHONHASHSEED", "random"),
        "affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "utf8_mode": sys.flags.utf8_mode,
    }
    # Each probe asks code that is not ours, at a moment when the interpreter is going down: whatever it raises,
    # the program's own exit must not change.
    for name, probe in (("libraries", _thread_pools), ("numpy", _numpy_facts), ("torch", _torch_facts)):
        with contextlib.suppress(Exception):
            found = probe()
            if found is not None:
                facts[name] = found
    return facts


def _thread_pools() -> list[dict[str, Any]] | None:
    if "threadpoolctl" not in sys.modules and not {"numpy", "scipy", "torch"} & sys.modules.keys():
        return None
    import threadpoolctl  # type: ignore[import-untyped]

    keys = ("user_api", "internal_api", "prefix", "version", "threading_layer", "architecture", "num_threads")
    return [{key: pool[key] for key in keys if key in pool} for pool in threadpoolctl.threadpool_info()]


def _numpy_facts() -> dict[str, Any] | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[import-not-found, unused-ignore]

    return {"version": numpy.__version__, "simd": sorted(name for name, on in __cpu_features__.items() if on)}


def _torch_facts() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls a function right after a module was imported for the first time."""

    def __init__(self, actions: dict[str, Callable[[ModuleType], None]]) -> None:
        self.actions = actions

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002  # the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002  # likewise
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns the real spec with a loader that calls the action, or None for every other module."""
        action = self.actions.pop(name, None)
        if action is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            action(module)

        # The loader's own class stays, because some modules ask for it.
        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _settle() -> None:
    seed = os.environ.get("MLVC_SEED")
    deterministic = os.environ.get("MLVC_DETERMINISTIC") == "1"

    def after_numpy(numpy: ModuleType) -> None:
        if seed is not None:
            numpy.random.seed(int(seed) % 2**32)

    def after_torch(torch: ModuleType) -> None:
        if seed is not None:
            torch.manual_seed(int(seed))
        if deterministic:
            torch.use_deterministic_algorithms(mode=True, warn_only=True)
            torch.backends.cudnn.benchmark = False

    if seed is not None:
        import random

        random.seed(int(seed))
        sys.meta_path.insert(0, _AfterImport({"numpy": after_numpy, "torch": after_torch}))
    elif deterministic:
        sys.meta_path.insert(0, _AfterImport({"torch": after_torch}))


def _hand_over() -> None:
    """Runs the `sitecustomize` that this one hides, if there is one."""
    others = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


# The module `mlvc` for programs whose environment has none; last on the path, so that an installed one wins.
sys.path.append(os.path.join(_HERE, "client"))
_settle()
if os.environ.get("MLVC_TRACE"):
    _trace = _Trace(os.environ["MLVC_TRACE"])
    sys.addaudithook(_trace.hook)
    atexit.register(_trace.finish)
_hand_over()
