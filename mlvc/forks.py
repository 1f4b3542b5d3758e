"""Work on many small tasks in forked processes, where threads would wait for each other's GIL.

The children inherit everything as it is, so no task is encoded; what they find out comes back as bytes through a pipe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Self

from mlvc.errors import MlvcError

__all__ = ["WorkerFailedError", "fan_out", "processors"]

_MAX_WORKERS = 8
_NUMBER = struct.Struct("<I")
_FRAME = struct.Struct("<II")
_END = (1 << 32) - 1
_READ_BYTES = 1 << 18
_FED_BYTES = 512
"""Pipes guarantee that so much is written at once (PIPE_BUF, POSIX)."""


class WorkerFailedError(MlvcError):
    """A forked process ended before its work did: it was killed, or met an error that it could not tell."""

    code = "worker-failed"

    def __init__(self) -> None:
        super().__init__(
            "a process that shared the work ended early", hint="repeat; the memory may have run out"
        )


def processors() -> int:
    """Returns how many processes are worth having: the processors that this one may use, up to eight.

    One where forking is not safe: the system libraries of macOS use threads of their own.
    """
    if sys.platform == "darwin":
        return 1
    return min(_MAX_WORKERS, len(os.sched_getaffinity(0)))


def fan_out(
    tasks: int, work: Callable[[Iterator[int]], Iterator[tuple[int, bytes]]]
) -> Generator[tuple[int, bytes], None, None]:
    """Does tasks 0 to `tasks` - 1 in `processors()` forked processes, and yields their results as they come.

    Each task is done by one process, in no certain order. The result of a task can be relied on once the iterator
    ended: until then the process that did it may still fail. Closing the iterator early kills the processes.

    Args:
        tasks: How many.
        work: Run in each process, with the tasks that it is to do; yields a result for each. It must touch nothing
            that another thread of this process may hold at this moment, such as the progress display.

    Raises:
        WorkerFailedError: A process could not be started, or ended before its work did.
    """
    numbers = b"".join(map(_NUMBER.pack, range(tasks)))
    with _Processes() as processes:
        processes.start(min(processors(), tasks), work)
        yield from processes.results(numbers)


class _Processes:
    """The forked processes, the pipe from which they take the numbers of their tasks, and theirs with the results."""

    def __init__(self) -> None:
        try:
            self._queue, self._feed = os.pipe()
        except OSError as exc:
            raise WorkerFailedError from exc
        os.set_blocking(self._feed, False)
        self._results: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._queue)
        self._end_feed()
        for read_end, pid in self._results.items():
            os.close(read_end)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _end_feed(self) -> None:
        if self._feed >= 0:
            os.close(self._feed)
            self._feed = -1

    def start(self, count: int, work: Callable[[Iterator[int]], Iterator[tuple[int, bytes]]]) -> None:
        for _ in range(count):
            try:
                read_end, write_end = os.pipe()
            except OSError as exc:
                raise WorkerFailedError from exc
            try:
                with warnings.catch_warnings():
                    # Python warns of threads that hold locks; `fan_out` says what the child must not touch.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    pid = os.fork()
            except OSError as exc:
                os.close(read_end)
                os.close(write_end)
                raise WorkerFailedError from exc
            if pid == 0:
                # An end that stays open here would hide from another process that this one's other end is gone.
                _child([self._feed, read_end, *self._results], self._queue, write_end, work)
            os.close(write_end)
            self._results[read_end] = pid

    def results(self, numbers: bytes) -> Iterator[tuple[int, bytes]]:
        """Hands out the numbers, and yields what comes back; forgets each process that has ended well."""
        buffers = {fd: bytearray() for fd in self._results}
        fed = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._feed, selectors.EVENT_WRITE)
            for fd in self._results:
                selector.register(fd, selectors.EVENT_READ)
            while self._results:
                for key, _ in selector.select():
                    if key.fd == self._feed:
                        # So few bytes are written all or not at all, so that no process reads half a number.
                        with contextlib.suppress(BlockingIOError):
                            fed += os.write(self._feed, numbers[fed : fed + _FED_BYTES])
                        if fed == len(numbers):
                            selector.unregister(self._feed)
                            self._end_feed()
                        continue
                    data = os.read(key.fd, _READ_BYTES)
                    if not data:
                        raise WorkerFailedError
                    buffers[key.fd] += data
                    for number, result in _frames(buffers[key.fd]):
                        if number != _END:
                            yield number, result
                            continue
                        selector.unregister(key.fd)
                        os.close(key.fd)
                        os.waitpid(self._results.pop(key.fd), 0)


def _child(
    unused: list[int],
    queue: int,
    results: int,
    work: Callable[[Iterator[int]], Iterator[tuple[int, bytes]]],
) -> None:
    """Never returns: nothing of the parent's stack may run a second time."""
    status = 1
    try:
        # A collection that looked at what the first process made would copy every page of it.
        gc.freeze()
        for fd in unused:
            os.close(fd)
        with os.fdopen(results, "wb") as file:
            for number, result in work(_take(queue)):
                file.write(_FRAME.pack(number, len(result)) + result)
                file.flush()
            file.write(_FRAME.pack(_END, 0))
        status = 0
    finally:
        os._exit(status)


def _take(queue: int) -> Iterator[int]:
    while number := os.read(queue, _NUMBER.size):
        yield _NUMBER.unpack(number)[0]


def _frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Takes the whole frames off the front of a buffer."""
    offset = 0
    while len(buffer) - offset >= _FRAME.size:
        number, length = _FRAME.unpack_from(buffer, offset)
        end = offset + _FRAME.size + length
        if len(buffer) < end:
            break
        yield number, bytes(buffer[offset + _FRAME.size : end])
        offset = end
    del buffer[:offset]
