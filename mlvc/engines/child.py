"""A child process whose output is streamed while it runs: what the engines on this host have in common."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from mlvc.engines.errors import EngineError
from mlvc.ports import EngineResult, LogSink

__all__ = ["run_child", "shell_status"]

_PIECE_BYTES = 1 << 16
_POLL_S = 0.2
"""How soon the end of a child is noticed whose own children keep its output open."""
_SIGNALLED = 128


def shell_status(status: int) -> int:
    """Returns the exit status of `subprocess` (negative for a signal) as a shell tells it: 128 + n for signal n."""
    return _SIGNALLED - status if status < 0 else status


@contextlib.contextmanager
def _on_cpus(cpus: Sequence[int] | None) -> Iterator[None]:
    """Lets the children that this thread starts inherit `cpus`; other threads keep what they have."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as exc:
        raise EngineError(
            f"the CPUs {', '.join(map(str, cpus))} cannot be used here: {exc.strerror}"
        ) from exc
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_child(
    argv: Sequence[bytes],
    log: LogSink,
    *,
    variables: Mapping[str, str],
    directory: str | None = None,
    cpus: Sequence[int] | None = None,
    timeout_s: float | None = None,
    pass_fds: Sequence[int] = (),
    on_start: Callable[[], None] | None = None,
) -> EngineResult:
    """Runs a program to its end; on any exception, KeyboardInterrupt included, it and its group are killed first.

    The child leads a session of its own, so that control-C reaches this process alone, which then ends the child.
    Its standard input is empty.

    Args:
        argv: The program and its arguments.
        log: Receives the output, in the order in which it was read.
        variables: The whole of its environment.
        directory: Its working directory; None for this process's.
        cpus: The CPUs that it and its children may use; None for those of this process.
        timeout_s: Kill it after so long.
        pass_fds: File descriptors that it inherits.
        on_start: Called when the child has them.

    Raises:
        OSError: The program cannot be executed.
        EngineError: None of `cpus` exists.
    """
    started = time.monotonic()
    deadline = None if timeout_s is None else started + timeout_s
    with _on_cpus(cpus):
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=variables,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    try:
        if on_start is not None:
            on_start()
        _stream(child, log, deadline)
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(remaining)
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    return EngineResult(shell_status(child.returncode), round((time.monotonic() - started) * 1000))


def _stream(child: subprocess.Popen[bytes], log: LogSink, deadline: float | None) -> None:
    """Passes on what the child prints until it closes both streams, has ended, or the deadline is over."""
    with selectors.DefaultSelector() as selector:
        for pipe, is_error in ((child.stdout, False), (child.stderr, True)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, is_error)
        while selector.get_map():
            if deadline is not None and time.monotonic() >= deadline:
                return
            ready = selector.select(_POLL_S)
            if not ready and child.poll() is not None:
                # What it left running in the background still holds the pipes; the command itself is over.
                return
            for key, _ in ready:
                data = os.read(key.fd, _PIECE_BYTES)
                if data:
                    log(data, is_error=key.data)
                else:
                    selector.unregister(key.fileobj)
