"""Changes what a Python program sees of the world, for the experiments of `mlvc repro`; loaded by `sitecustomize`.

    MLVC_CLOCK            `+N` shifts the wall clock by N seconds, `@N` starts it at N seconds after 1970,
                          `=N` stops it there but for a millisecond each time that somebody asks
    MLVC_DIRECTORY_ORDER  `sorted`, or `reversed`: against what the file system says
    MLVC_ENTROPY          what the operating system's randomness is made from

They reach what Python code asks: `time`, `datetime` and `date`; `os.listdir`, `os.scandir` and all that is built on
them (`os.walk`, `glob`, `pathlib`, `shutil`); `os.urandom`, `secrets`, `uuid4`, and generators that were given no seed
(`random.Random()`, `numpy.random.default_rng()`). C code that asks the system itself sees no difference, and neither
do file times, other programs, and Pythons started with `-I` or `-E`.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    import datetime

_TICK_S = 0.001
_Path = Union[str, bytes, int, "os.PathLike[str]", None]


def _make_clock(setting: str) -> Callable[[], int]:
    """Returns what tells the time in nanoseconds."""
    mark, start_ns = setting[0], int(float(setting[1:]) * 1e9)
    real = time.time_ns
    if mark == "+":
        return lambda: real() + start_ns
    if mark == "@":
        shift_ns = start_ns - real()
        return lambda: real() + shift_ns
    asked = 0

    def tell() -> int:
        nonlocal asked
        asked += 1
        return start_ns + asked * int(_TICK_S * 1e9)

    return tell


def _set_clock(setting: str) -> None:
    tell_ns = _make_clock(setting)

    def tell() -> float:
        return tell_ns() / 1e9

    localtime, gmtime, ctime, asctime, strftime = (
        time.localtime,
        time.gmtime,
        time.ctime,
        time.asctime,
        time.strftime,
    )
    get, get_ns, wall = time.clock_gettime, time.clock_gettime_ns, time.CLOCK_REALTIME
    replacements: dict[str, Callable[..., Any]] = {
        "time": tell,
        "time_ns": tell_ns,
        "localtime": lambda seconds=None: localtime(tell() if seconds is None else seconds),
        "gmtime": lambda seconds=None: gmtime(tell() if seconds is None else seconds),
        "ctime": lambda seconds=None: ctime(tell() if seconds is None else seconds),
        "asctime": lambda fields=None: asctime(localtime(tell()) if fields is None else fields),
        "strftime": lambda form, fields=None: strftime(form, localtime(tell()) if fields is None else fields),
        "clock_gettime": lambda clock: tell() if clock == wall else get(clock),
        "clock_gettime_ns": lambda clock: tell_ns() if clock == wall else get_ns(clock),
    }
    for name, function in replacements.items():
        setattr(time, name, function)
    _set_datetime(tell)


def _set_datetime(tell: Callable[[], float]) -> None:
    """Gives `datetime` the clock that `time` has; its class stays, because extensions build on the size of it.

    `today` asks `time.time` already.
    """
    import datetime as module

    def now(cls: type[module.datetime], tz: datetime.tzinfo | None = None) -> module.datetime:
        return cls.fromtimestamp(tell(), tz)

    def utcnow(cls: type[module.datetime]) -> module.datetime:
        return cls.fromtimestamp(tell(), module.timezone.utc).replace(tzinfo=None)

    # A class of C has no settable attributes; behind the proxy that it shows lies a plain dictionary.
    # Nobody has asked for these methods yet, so no cache of them has to be told.
    for own in gc.get_referents(module.datetime.__dict__):
        if isinstance(own, dict) and "now" in own:
            own["now"], own["utcnow"] = classmethod(now), classmethod(utcnow)


class _Entries:
    """What `os.scandir` returns, in another order."""

    def __init__(self, entries: list[os.DirEntry[Any]]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[os.DirEntry[Any]]:
        return self

    def __next__(self) -> os.DirEntry[Any]:
        return next(self._entries)

    def __enter__(self) -> _Entries:  # noqa: PYI034  # `Self` is newer than this may be
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Yields nothing more."""
        self._entries = iter(())


def _set_directory_order(order: str) -> None:
    real_listdir, real_scandir = os.listdir, os.scandir

    def arranged(found: list[Any], key: Callable[[Any], Any]) -> list[Any]:
        return found[::-1] if order == "reversed" else sorted(found, key=key)

    def listdir(path: _Path = None) -> list[Any]:
        return arranged(real_listdir(path), os.fsencode)

    def scandir(path: _Path = None) -> _Entries:
        with real_scandir(path) as entries:
            return _Entries(arranged(list(entries), lambda entry: os.fsencode(entry.name)))

    for name, function in (("listdir", listdir), ("scandir", scandir)):
        for known in (os.supports_fd, os.supports_follow_symlinks, os.supports_dir_fd):
            if getattr(os, name) in known:
                known.add(function)
        setattr(os, name, function)


def _set_entropy(seed: str) -> None:
    import hashlib

    drawn = 0

    def urandom(size: int) -> bytes:
        nonlocal drawn
        data = b""
        while len(data) < size:
            drawn += 1
            data += hashlib.sha256(f"{seed} {drawn}".encode()).digest()
        return data[:size]

    os.urandom = urandom
    # It takes `urandom` over when it is imported; an earlier import has to be told.
    import random

    random._urandom = urandom  # type: ignore[attr-defined]  # noqa: SLF001  # what SystemRandom calls
    random.seed(int.from_bytes(urandom(32), "big"))
    real_seed = random.Random.seed

    def seed_generator(
        self: random.Random, a: float | str | bytes | bytearray | None = None, version: int = 2
    ) -> None:
        real_seed(self, int.from_bytes(urandom(32), "big") if a is None else a, version)

    random.Random.seed = seed_generator  # type: ignore[method-assign]


def settle() -> None:
    """Does what the variables say."""
    for name, change in (
        ("MLVC_ENTROPY", _set_entropy),
        ("MLVC_DIRECTORY_ORDER", _set_directory_order),
        ("MLVC_CLOCK", _set_clock),
    ):
        setting = os.environ.get(name)
        if setting:
            change(setting)
