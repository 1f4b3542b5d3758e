"""Who carries orders out: processes of this machine, or the workers of a Dask cluster.

Either way an order becomes a process of its own, `python -m mlvc.cli.worker`, which is told the order on its standard
input and answers on its standard output. Its input stays open while it is wanted: a process whose order-giver is gone,
by control-C or by `kill -9`, sees the end of it and interrupts itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

from mlvc.errors import MlvcError, UsageError
from mlvc.forks import WorkerFailedError
from mlvc.verbs.orders import Workers

__all__ = ["WORKER", "ClusterError", "choose_workers"]

WORKER = (sys.executable, "-m", "mlvc.cli.worker")
_CONNECT_S = 10
_ADDRESS = re.compile(r"(tcp|tls)://([^\s/:]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")


class ClusterError(MlvcError):
    """The Dask cluster cannot be used."""

    code = "cluster"


@contextmanager
def choose_workers(jobs: int, executor: str | None) -> Iterator[Workers | None]:
    """Yields the workers that were asked for; None where everything is to be done here, one after the other.

    Args:
        jobs: How many runs are executed at a time on this machine.
        executor: The address of a Dask scheduler, or None.

    Raises:
        UsageError: Both were asked for, or that is no address.
        ClusterError: `distributed` is not installed, or no scheduler answers.
    """
    if executor is None:
        if jobs == 1:
            yield None
            return
        with _Processes(jobs) as processes:
            yield processes
        return
    if jobs != 1:
        raise UsageError("--jobs and --executor exclude each other", hint="the cluster has its own workers")
    if _ADDRESS.fullmatch(executor) is None:
        raise UsageError(
            f"--executor {executor}: no address of a scheduler", hint="as in tcp://10.0.0.1:8786"
        )
    with _cluster(executor) as cluster:
        yield cluster


class _Processes:
    """Worker processes of this machine, each on CPUs of its own."""

    def __init__(self, jobs: int) -> None:
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="mlvc-worker")
        self._free = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._count = len(self._free)
        self._changed = threading.Condition()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def submit(self, order: bytes) -> Future[bytes]:
        return self._threads.submit(self._do, order)

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            for process in self._running:
                if process.stdin is not None:
                    process.stdin.close()
            self._changed.notify_all()
        self._threads.shutdown(cancel_futures=True)

    def _do(self, order: bytes) -> bytes:
        cpus = self._take_cpus(json.loads(order)["cpus"])
        try:
            with self._changed:
                if self._is_stopped:
                    raise WorkerFailedError
                process = start_worker(order, cpus)
                self._running.add(process)
            try:
                return read_answer(process)
            finally:
                with self._changed:
                    self._running.discard(process)
        finally:
            self._give_back(cpus)

    def _take_cpus(self, wanted: int) -> Sequence[int]:
        """Returns so many free CPUs, waiting for them; two commands on one CPU would both be slow.

        None where the run is not bound to any. All there are, where the run wants more: its process says so.
        """
        wanted = min(wanted, self._count)
        with self._changed:
            self._changed.wait_for(lambda: len(self._free) >= wanted or self._is_stopped)
            taken, self._free = self._free[:wanted], self._free[wanted:]
            return taken

    def _give_back(self, cpus: Sequence[int]) -> None:
        with self._changed:
            self._free = sorted([*self._free, *cpus])
            self._changed.notify_all()


def start_worker(order: bytes, cpus: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Starts a process that carries an order out, on some CPUs or all of them.

    Raises:
        WorkerFailedError: It cannot be started.
    """
    try:
        process = subprocess.Popen(
            [*WORKER, ",".join(map(str, cpus))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Control-C reaches this process alone, which ends the other in its own way.
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101  # it was asked for
        process.stdin.write(order + b"\n")
        process.stdin.flush()
    except OSError as exc:
        raise WorkerFailedError from exc
    return process


def read_answer(process: subprocess.Popen[bytes]) -> bytes:
    """Returns the answer of a worker's process when it has ended.

    Raises:
        WorkerFailedError: It ended without one.
    """
    assert process.stdout is not None  # noqa: S101  # it was asked for
    with process.stdout as stream:
        answer = stream.read()
    status = process.wait()
    if process.stdin is not None:
        process.stdin.close()
    if status != 0 or not answer:
        raise WorkerFailedError
    return answer


# --------------------------------------------------------------------------------------------------- Dask


def carry_out_there(order: bytes) -> bytes:
    """Carries an order out in a process beside a Dask worker's; runs on the cluster, where mlvc is installed too."""
    return read_answer(start_worker(order))


class _Cluster:
    """The workers of a Dask cluster."""

    def __init__(self, executor: Any) -> None:  # noqa: ANN401  # a library without types
        self._executor = executor

    def submit(self, order: bytes) -> Future[bytes]:
        future: Future[bytes] = self._executor.submit(carry_out_there, order, pure=False)
        return future

    def stop(self) -> None:
        # What a worker has begun it ends by itself; its answer is not waited for.
        self._executor.shutdown(wait=False)


@contextmanager
def _cluster(address: str) -> Iterator[_Cluster]:
    try:
        from distributed import Client  # noqa: PLC0415  # an extra, and half a second
    except ImportError as exc:
        raise ClusterError(
            "--executor needs the package distributed, which is not installed",
            hint="pip install 'mlvc[dask]', here and where the workers run",
        ) from exc
    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as exc:
        raise ClusterError(
            f"no Dask scheduler answers at {address}: {exc}",
            hint="start one with `dask scheduler`, and workers with `dask worker tcp://HOST:8786`",
        ) from exc
    with client:
        yield _Cluster(client.get_executor())
