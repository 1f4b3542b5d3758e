"""Work on many small tasks in forked processes, where threads would wait for each other's GIL.

The children inherit everything as it is, so no task is encoded; what they find out comes back as bytes through a pipe.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import struct
import sys
from collections.abc import Callable, Iterator

from mlvc.errors import MlvcError

__all__ = ["MAX_TASKS", "WorkerFailedError", "fan_out", "processors"]

MAX_TASKS = 16_000
"""The numbers of all tasks fit into one pipe, from which the children take them."""

_MAX_WORKERS = 8
_NUMBER = struct.Struct("<I")
_FRAME = struct.Struct("<II")
_END = (1 << 32) - 1
_READ_BYTES = 1 << 18


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
) -> Iterator[tuple[int, bytes]]:
    """Does tasks 0 to `tasks` - 1 in `processors()` forked processes, and yields their results as they come.

    Each task is done by one process, in no certain order. The result of a task can be relied on once the iterator
    ended: until then the process that did it may still fail. Leaving the iterator early kills the processes.

    Args:
        tasks: How many; at most `MAX_TASKS`.
        work: Run in each process, with the tasks that it is to do; yields a result for each. It must touch nothing
            that a thread of this process may have held when it was forked, such as the progress display.

    Raises:
        WorkerFailedError: A process ended before its work did.
    """
    queue, feed = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, queue)
        with os.fdopen(feed, "wb") as file:
            file.writelines(map(_NUMBER.pack, range(tasks)))
        results: dict[int, int] = {}
        try:
            for _ in range(min(processors(), tasks)):
                read_end, write_end = os.pipe()
                pid = os.fork()
                if pid == 0:
                    _child(queue, write_end, work)
                os.close(write_end)
                results[read_end] = pid
            yield from _gather(results)
        finally:
            for read_end, pid in results.items():
                os.close(read_end)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _child(queue: int, results: int, work: Callable[[Iterator[int]], Iterator[tuple[int, bytes]]]) -> None:
    """Never returns: nothing of the parent's stack may run a second time."""
    status = 1
    try:
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


def _gather(results: dict[int, int]) -> Iterator[tuple[int, bytes]]:
    """Yields what comes through the pipes; takes a pipe and its process out of `results` once that has ended well."""
    buffers = {fd: bytearray() for fd in results}
    with selectors.DefaultSelector() as selector:
        for fd in results:
            selector.register(fd, selectors.EVENT_READ)
        while results:
            for key, _ in selector.select():
                buffer = buffers[key.fd]
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    raise WorkerFailedError
                buffer += data
                for number, result in _frames(buffer):
                    if number != _END:
                        yield number, result
                        continue
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    os.waitpid(results.pop(key.fd), 0)


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
