"""Watches and settles one Python process of a recorded command; Python imports it at start-up by its name.

What it does is chosen by variables that `mlvc run` and `mlvc repro` set:

    MLVC_TRACE          append to this file what is opened, started and connected to, and what is in force
    MLVC_WATCHED        somebody watches from outside, who need not hear of what is opened with these flags as well
    MLVC_DETERMINISTIC  turn on torch's deterministic algorithms (as warnings) once torch is imported
    MLVC_SEED           seed `random`, and NumPy and torch once they are imported
    MLVC_CLOCK, MLVC_DIRECTORY_ORDER, MLVC_ENTROPY    an experiment: see `variation.py`

The trace has one JSON object a line, each written at once, so that what a process did is known however it ends:

    {"pid", "event": "start", "parent", "locale", "prefixes"}
    {"pid", "event": "read" | "write" | "absent" | "list" | "execute", "path": hexadecimal digits}
    {"pid", "event": "connect", "to": "host:port"}
    {"pid", "event": "loaded", "facts"}     right after a numerical library was imported
    {"pid", "event": "exit", "facts"}       what is in force at the end, from the libraries themselves

It changes no random state unless asked to seed, and hands over to a `sitecustomize` that it hides. It never fails the
program. PEP 578 describes audit hooks. A hook sees no opens by C++ code or by children that are not Python.
"""

from __future__ import annotations

import _thread
import atexit
import importlib.machinery
import os
import sys
import time

# Every process waits for what is loaded here: `json`, `contextlib` and `typing` take longer than all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any

try:
    from _json import encode_basestring_ascii as _quoted
except ImportError:
    from json.encoder import py_encode_basestring_ascii as _quoted

_HERE = os.path.dirname(os.path.abspath(__file__))
_MOST_PATHS = 20_000
_OWN_NAMES = tuple(os.path.join(prefix, "") for prefix in {sys.prefix, sys.base_prefix, _HERE})
_OWN = tuple(map(os.fsencode, _OWN_NAMES))
_PINNED = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "LANG",
    "LC_ALL",
    "LOKY_MAX_CPU_COUNT",
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "NCCL_ALGO",
    "NPY_DISABLE_CPU_FEATURES",
    "OMP_DYNAMIC",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "PYTHONNOUSERSITE",
    "PYTHONUTF8",
    "SOURCE_DATE_EPOCH",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TZ",
)
_NUMERICAL = frozenset(
    (
        "cupy",
        "jax",
        "joblib",
        "lightgbm",
        "numexpr",
        "numpy",
        "scipy",
        "sklearn",
        "tensorflow",
        "torch",
        "xgboost",
    )
)


def _sibling(name: str) -> Any:
    """Returns a script that lies with this one as a module, which is in nobody's way in `sys.modules`."""
    loader = importlib.machinery.SourceFileLoader(f"_mlvc_{name}", os.path.join(_HERE, "_mlvc", f"{name}.py"))
    module = type(sys)(loader.name)
    loader.exec_module(module)
    return module


def _json(value: Any) -> str:
    """Returns a value as JSON, in ASCII; the module for it would load regular expressions."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        return "{" + ", ".join([f"{_quoted(str(name))}: {_json(item)}" for name, item in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_json, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)  # A number of a library's own class writes itself otherwise.
    if isinstance(value, float):
        return float.__repr__(value) if value - value == 0 else "null"
    raise TypeError(type(value))


class _Quiet:
    """A context for asking code that is not ours: whatever that raises, the program must not notice."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, Exception)


class _Trace:
    """Tells what this process does."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.seen: set[tuple[str, bytes | str]] = set()
        # The threads whose events are this script's own doing.
        self.busy: set[int] = set()
        self.tell("start", parent=os.getppid(), locale=_locale(), prefixes=[sys.prefix, sys.base_prefix])

    def tell(self, event: str, **facts: Any) -> None:
        """Appends one line; the file is opened anew for each, because the program may close what it did not open."""
        line = _json({"pid": os.getpid(), "event": event, **facts}) + "\n"
        try:
            # Should the program put a pipe there, nobody waits for its other end.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | _TOLD
            fd = os.open(self.target, flags, 0o666)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
        except OSError:
            pass

    def hook(self) -> Callable[[str, tuple[Any, ...]], None]:
        """Returns what receives every audit event; it must be quick, and must never raise."""
        reaction, is_unheard = _EVENTS.get, self.unheard

        def receive(event: str, args: tuple[Any, ...]) -> None:
            # Most are nothing to us: importing scikit-learn is 68,000 events, and 54,000 of these are `id()`.
            react = reaction(event)
            if react is not None:
                is_unheard(react, self, *args)

        return receive

    def unheard(self, act: Callable[..., None], *args: Any, **facts: Any) -> None:
        """Does something that is not the program's doing, unless this thread is about it already."""
        thread = _thread.get_ident()
        if thread in self.busy:
            return
        self.busy.add(thread)
        try:
            act(*args, **facts)
        except (OSError, ValueError, TypeError):
            pass  # What it cannot make sense of, the call itself will refuse.
        finally:
            self.busy.discard(thread)

    def saw(self, event: str, path: Any) -> None:
        """Tells of a path, once. Relative ones are resolved now: the working directory may change later."""
        if not isinstance(path, (str, bytes)):
            path = os.fspath(path)
        name = os.path.normpath(os.path.join(os.getcwdb(), os.fsencode(path)))
        if name.startswith(_OWN) or (event, name) in self.seen or len(self.seen) >= _MOST_PATHS:
            return
        self.seen.add((event, name))
        self.tell(event, path=name.hex())

    def opened(self, path: Any, _mode: Any, flags: int) -> None:
        """Somebody opens a file."""
        if _is_own(path) or isinstance(path, int):
            return
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self.saw("write", path)
        else:
            try:
                os.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                self.saw("absent", path)
            else:
                self.saw("read", path)

    def moved(self, _source: Any, target: Any, *_: Any) -> None:
        """Somebody renames or links a file: the new name is one that the program wrote."""
        self.saw("write", target)

    def listed(self, path: Any) -> None:
        """Somebody lists a directory."""
        if not _is_own(path) and not isinstance(path, int):
            self.saw("list", "." if path is None else path)

    def started(self, program: Any, *_: Any) -> None:
        """Somebody starts a program."""
        if program is not None:
            self.saw("execute", self._found(os.fsencode(program)))

    @staticmethod
    def _found(program: bytes) -> bytes:
        if b"/" in program:
            return program
        for directory in os.environb.get(b"PATH", os.fsencode(os.defpath)).split(b":"):
            path = os.path.join(directory, program)
            if os.access(path, os.X_OK):
                return path
        return program

    def in_shell(self, *_: Any) -> None:
        """Somebody hands a line to the shell."""
        self.saw("execute", b"/bin/sh")

    def connected(self, _socket: Any, address: Any) -> None:
        """Somebody connects a socket."""
        if isinstance(address, tuple) and len(address) >= 2:
            self._connects(f"{address[0]}:{address[1]}")

    def resolved(self, host: Any, port: Any, *_: Any) -> None:
        """Somebody asks for the address of a host."""
        self._connects(f"{host.decode() if isinstance(host, bytes) else host}:{port}")

    def _connects(self, to: str) -> None:
        if ("connect", to) not in self.seen and len(self.seen) < _MOST_PATHS:
            self.seen.add(("connect", to))
            self.tell("connect", to=to)

    def after_fork(self) -> None:
        """A child of a fork tells of its own; how it ends, `atexit` may never hear."""
        self.busy.clear()
        self.unheard(self.tell, "start", parent=os.getppid())

    def finish(self) -> None:
        """Tells what is in force at the end."""
        self.unheard(lambda: self.tell("exit", facts=_effective()))


def _is_own(path: Any) -> bool:
    """Returns whether a path is by its looks one of the interpreter's or its packages', which are known; quick."""
    return path.__class__ is str and path.startswith(_OWN_NAMES) and "/.." not in path


_EVENTS: dict[str, Callable[..., None]] = {
    "open": _Trace.opened,
    "os.rename": _Trace.moved,
    "os.link": _Trace.moved,
    "os.symlink": _Trace.moved,
    "os.listdir": _Trace.listed,
    "os.scandir": _Trace.listed,
    "os.exec": _Trace.started,
    "os.posix_spawn": _Trace.started,
    "subprocess.Popen": _Trace.started,
    "os.system": _Trace.in_shell,
    "socket.connect": _Trace.connected,
    "socket.getaddrinfo": _Trace.resolved,
}


def _effective() -> dict[str, Any]:
    """Returns what is in force, read from the interpreter and from the libraries that the program loaded itself."""
    facts: dict[str, Any] = {
        "python": sys.version,
        "program": os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else "",
        "hash_randomization": sys.flags.hash_randomization,
        "hash_seed": os.environ.get("PYTHONHASHSEED", "random"),
        "affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "utf8_mode": sys.flags.utf8_mode,
        "flags": {
            "dont_write_bytecode": bool(sys.dont_write_bytecode),
            "no_user_site": sys.flags.no_user_site,
            "optimize": sys.flags.optimize,
        },
        "time_zone": [*time.tzname, time.timezone],
        "variables": {
            name: value
            for name, value in os.environ.items()
            if name in _PINNED or name.endswith("_NUM_THREADS")
        },
    }
    _add(facts, "locale", _locale)
    if _generators is not None:
        _add(facts, "random", _generators.facts)
    facts.update(_loaded())
    if _libraries is not None:
        _add(facts, "mapped", lambda: [path for path in _libraries.mapped_files() if ".so" in path])
    return facts


def _locale() -> str:
    import _locale as of_the_process

    return of_the_process.setlocale(of_the_process.LC_CTYPE)


def _loaded() -> dict[str, Any]:
    """Returns what the numerical libraries say that are loaded now."""
    facts: dict[str, Any] = {}
    if sys.modules.keys() & _NUMERICAL:
        global _libraries  # noqa: PLW0603  # loaded once
        with _Quiet():
            if _libraries is None:
                _libraries = _sibling("libraries")
            _add(facts, "libraries", _libraries.thread_pools)
            _add(facts, "numpy", _libraries.numpy_facts)
            _add(facts, "torch", _libraries.torch_facts)
            _add(facts, "numexpr", _libraries.numexpr_facts)
            _add(facts, "joblib", _libraries.joblib_facts)
    return facts


def _add(facts: dict[str, Any], name: str, probe: Callable[[], Any]) -> None:
    # Perhaps when the interpreter is going down.
    with _Quiet():
        found = probe()
        if found is not None:
            facts[name] = found


def _read_told(_loader: Any, path: Any) -> bytes:
    """Reads a module's file, of which the audit hook has heard, without stopping for who watches from outside."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | _TOLD)
    try:
        size_bytes = os.fstat(fd).st_size
        pieces = []
        while piece := os.read(fd, size_bytes + 1):
            pieces.append(piece)
    finally:
        os.close(fd)
    return b"".join(pieces)


class _AfterImport:
    """Calls functions right after a module was imported for the first time.

    A finder by its one method: to say so by a base class would load a dozen modules into every program.
    """

    def __init__(self, actions: dict[str, list[Callable[[ModuleType], None]]]) -> None:
        self.actions = actions

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002  # the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002  # likewise
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns the real spec with a loader that calls the actions, or None for every other module."""
        actions = self.actions.pop(name, None)
        if actions is None:
            return None
        from importlib.util import find_spec

        spec = find_spec(name)
        run = getattr(spec and spec.loader, "exec_module", None)
        if spec is None or run is None:
            return None

        def exec_module(module: ModuleType) -> None:
            run(module)
            for action in actions:
                action(module)

        # The loader's own class stays, because some modules ask for it.
        spec.loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]
        return spec


def _settling() -> dict[str, list[Callable[[ModuleType], None]]]:
    """Seeds `random`, and returns what is to be done to other modules once they are imported."""
    actions: dict[str, list[Callable[[ModuleType], None]]] = {}
    if os.environ.get("MLVC_SEED") is not None:
        seed = int(os.environ["MLVC_SEED"])
        actions["random"] = [lambda module: module.seed(seed)]
        actions["numpy.random"] = [lambda module: module.seed(seed % 2**32)]
        actions["torch"] = [lambda module: module.manual_seed(seed)]
    if os.environ.get("MLVC_DETERMINISTIC") == "1":

        def settle(torch: ModuleType) -> None:
            torch.use_deterministic_algorithms(mode=True, warn_only=True)
            torch.backends.cudnn.benchmark = False

        actions.setdefault("torch", []).append(settle)
    return actions


def _watching(trace: _Trace) -> dict[str, list[Callable[[ModuleType], None]]]:
    """Returns what is to be looked at right after an import, before anything that settles."""

    def follow(name: str) -> Callable[[ModuleType], None]:
        def action(module: ModuleType) -> None:
            global _generators  # noqa: PLW0603  # loaded once
            with _Quiet():
                if _generators is None:
                    _generators = _sibling("generators").Generators()
                _generators.imported(name, module)

        return action

    def ask(_module: ModuleType) -> None:
        trace.unheard(lambda: trace.tell("loaded", facts=_loaded()))

    return {
        "random": [follow("random")],
        "numpy.random": [follow("numpy")],
        "numpy": [ask],
        "scipy.linalg": [ask],
        "sklearn": [ask],
        "torch": [follow("torch"), ask],
    }


def _hand_over() -> None:
    """Runs the `sitecustomize` that this one hides, if there is one."""
    others = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec

        module = module_from_spec(spec)
        spec.loader.exec_module(module)


# The module `mlvc` for programs whose environment has none; last on the path, so that an installed one wins.
sys.path.append(os.path.join(_HERE, "client"))
if {"MLVC_CLOCK", "MLVC_DIRECTORY_ORDER", "MLVC_ENTROPY"} & os.environ.keys():
    _sibling("variation").settle()
_TOLD = int(os.environ.get("MLVC_WATCHED") or 0)
_generators: Any = None
_libraries: Any = None
_actions = _settling()
if os.environ.get("MLVC_TRACE"):
    _trace = _Trace(os.environ["MLVC_TRACE"])
    for _name, _first in _watching(_trace).items():
        _actions[_name] = [*_first, *_actions.get(_name, [])]
    sys.addaudithook(_trace.hook())
    if _TOLD:
        # A program that imports much opens little else, and each opening would wait for an answer.
        for _class in importlib.machinery.SourceFileLoader.__mro__:
            if "get_data" in vars(_class):
                _class.get_data = _read_told  # type: ignore[attr-defined]
                break
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_trace.after_fork)
    atexit.register(_trace.finish)
for _name in _actions.keys() & sys.modules.keys():
    for _action in _actions.pop(_name):
        _action(sys.modules[_name])
if _actions:
    sys.meta_path.insert(0, _AfterImport(_actions))
_hand_over()
