"""Compares in a process of its own what a library in C reads: a file that crashes it, or fills memory, takes only that.

The process is this module as a program. It gets the two files as descriptors, and a line of JSON; it answers with a
line of JSON for each difference, and a last one that says that it is done. Without that one, nothing counts.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, cast

from mlvc.errors import MlvcError
from mlvc.model.objects import NATURES, Difference
from mlvc.repro.compare.arrays import missing_library
from mlvc.repro.compare.comparison import Findings, UnfitError
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.windows import Unpacked, Window

__all__ = ["compare_apart"]

_MODULES = MappingProxyType(
    {
        name: f"mlvc.repro.compare.{name}"
        for name in ("arrow_tables", "hdf5_files", "onnx_models", "sqlite_tables")
    }
)
_MOST_MEMORY_BYTES = 4 << 30
"""Of addresses, of which the libraries alone take more than one."""
_MOST_SECONDS = 900
_MOST_SENT = 1000
_MOST_ANSWER_BYTES = 16 << 20


class CompareProcessError(MlvcError):
    """The process that compares could not be started."""

    code = "compare-process"


def compare_apart(kind: str, left: Window, right: Window, job: Job) -> None:
    """Compares two files by one of the modules of libraries.

    Raises:
        UnfitError: A file cannot be read, or not within the limits, or the library is not installed.
        CompareProcessError: The process could not be started.
    """
    windows = [_with_descriptor(window, job) for window in (left, right)]
    files = [window.file.fileno() for window in windows]
    request = {
        "kind": kind,
        "name": job.name,
        "scratch": os.fsdecode(job.unpacked.scratch),
        "windows": [[fd, window.start, window.size] for fd, window in zip(files, windows, strict=True)],
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=files,
            timeout=_MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnfitError("reading it takes too long") from None
    except OSError as exc:
        raise CompareProcessError(f"the process that compares could not be started: {exc.strerror}") from exc
    _take_over(done.stdout[:_MOST_ANSWER_BYTES], job)


def _with_descriptor(window: Window, job: Job) -> Window:
    try:
        window.file.fileno()
    except io.UnsupportedOperation:
        return job.unpacked.add(window.pieces())
    return window


def _take_over(answer: bytes, job: Job) -> None:
    """Adds what the process found; its words are foreign, for the file may have taken it over."""
    found, is_done = [], False
    try:
        for line in answer.splitlines():
            match json.loads(line):
                case {"difference": dict(fields)} if fields.get("nature") in NATURES:
                    found.append(_difference(fields))
                case {"unfit": str(reason)}:
                    raise UnfitError(reason)
                case {"done": True}:
                    is_done = True
                case _:
                    raise UnfitError("it cannot be read")
    except (ValueError, RecursionError, TypeError):
        raise UnfitError("it cannot be read") from None
    if not is_done:
        raise UnfitError("it cannot be read, or not within the limits of memory and time")
    for item in found:
        job.findings.add(dataclasses.replace(item, where=job.place(item.where)))


def _difference(fields: dict[str, Any]) -> Difference:
    difference = Difference(**fields)
    if difference.nature == "numeric":
        float(difference.norm)
    for field in dataclasses.fields(Difference):
        default = "" if field.name in {"where", "nature"} else field.default
        if type(getattr(difference, field.name)) is not type(default):
            raise ValueError(field.name)
    return difference


# What the process does.


class _Shared(io.RawIOBase):
    """A descriptor whose position belongs to another process."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a position from the start."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation
        self._at = offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Returns as many bytes, and fewer only at the end."""
        pieces = []
        left = size or 0
        while left > 0 and (piece := os.pread(self._fd, left, self._at)):
            pieces.append(piece)
            self._at += len(piece)
            left -= len(piece)
        return b"".join(pieces)


class _Sender(Findings):
    """Hands differences to the process that asked."""

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0

    def __len__(self) -> int:
        return self._sent

    def add(self, difference: Difference, *, owner: str = "") -> None:  # noqa: ARG002  # only pickles have owners
        self._sent += 1
        if self._sent <= _MOST_SENT:
            _answer({"difference": dataclasses.asdict(difference)})

    def add_unfit(self, where: str, reason: str) -> None:
        raise UnfitError(f"{where}: {reason}" if where else reason)


def _answer(message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


def _main() -> None:
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    left, right = (
        Window(cast("BinaryIO", _Shared(fd)), start, size) for fd, start, size in request["windows"]
    )
    try:
        module = importlib.import_module(_MODULES[request["kind"]])
        with Unpacked(Path(request["scratch"])) as unpacked:
            module.compare(left, right, Job(request["name"], "", _Sender(), unpacked, _nothing_inside))
    except ImportError as exc:
        _answer({"unfit": str(missing_library(exc.name or "a library"))})
    except UnfitError as exc:
        _answer({"unfit": str(exc)})
    else:
        _answer({"done": True})


def _nothing_inside(*_: object) -> None:
    raise UnfitError("files in it are not compared")


if __name__ == "__main__":
    _main()
