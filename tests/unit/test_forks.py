"""Work in forked processes."""

import os
import signal
from pathlib import Path

import pytest

from mlvc import forks, fsio


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch):
    monkeypatch.setattr(forks, "processors", lambda: 2)


def children():
    """Returns those that this process has, dead or alive; another test may have left one of Python's own."""
    return {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }


@pytest.fixture
def before():
    """The processes that were here already."""
    return children()


def test_every_task_is_done_once_whatever_the_size_of_its_result(before):
    """Results larger than any pipe come back whole, each with the number of its task; no process is left."""

    def work(share):
        for number in share:
            yield number, bytes([number % 251]) * (number * 997)

    results = list(forks.fan_out(300, work))
    assert [(number, bytes([number % 251]) * (number * 997)) for number in range(300)] == sorted(results)
    assert before == children()


def test_the_processes_are_several_and_are_not_this_one():
    """Two tasks that wait for each other are done at the same time, by two other processes."""
    first, second = os.pipe(), os.pipe()

    def work(share):
        for number in share:
            mine, other = (first, second) if number else (second, first)
            os.write(mine[1], b"x")
            os.read(other[0], 1)
            yield number, str(os.getpid()).encode()

    pids = {result for _, result in forks.fan_out(2, work)}
    assert len(pids - {str(os.getpid()).encode()}) == 2


def test_no_task_at_all():
    """Nothing to do is done at once."""
    assert [] == list(forks.fan_out(0, lambda share: ((number, b"") for number in share)))


def test_very_many_tasks():
    """More numbers than any pipe holds are handed out, each once."""
    numbers = [
        number for number, _ in forks.fan_out(50_000, lambda share: ((number, b"") for number in share))
    ]
    assert list(range(50_000)) == sorted(numbers)


def test_a_process_that_cannot_be_started(monkeypatch):
    """Where the system allows no further process, the caller is told; nothing is left open or running."""

    def refuse():
        raise BlockingIOError

    before = sorted(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(forks.WorkerFailedError):
        list(forks.fan_out(2, lambda share: ((number, b"") for number in share)))
    assert before == sorted(os.listdir("/proc/self/fd"))


def test_an_exception_in_a_process_is_a_failure(capfd, before):
    """A process that raises ends; the caller is told, nothing is printed, and the other process ends too."""

    def work(share):
        for number in share:
            if number == 3:
                raise RuntimeError
            yield number, b""

    with pytest.raises(forks.WorkerFailedError):
        list(forks.fan_out(1000, work))
    assert before == children()
    assert ("", "") == tuple(capfd.readouterr())


def test_a_killed_process_is_a_failure(before):
    """A process that the system kills is noticed, whatever it had reported before."""

    def work(share):
        for number in share:
            yield number, b"done"
            if number == 5:
                os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(forks.WorkerFailedError):
        list(forks.fan_out(1000, work))
    assert before == children()


def test_leaving_early_ends_the_processes(before):
    """A caller that stops listening leaves nothing running."""

    def work(share):
        while True:
            yield 0, b"again"

    results = forks.fan_out(2, work)
    assert (0, b"again") == next(results)
    results.close()
    assert before == children()


def test_a_first_process_that_is_killed_takes_the_others_with_it(tmp_path):
    """Nobody reads their results any more: they end, and let go of the locks that they inherited (promise 7)."""
    lock = tmp_path / "lock"

    def work(share):
        for number in share:
            yield number, bytes(1 << 20)

    first = os.fork()
    if first == 0:
        with fsio.file_lock(lock):
            results = forks.fan_out(100, work)
            next(results)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(first, 0)
    with fsio.file_lock(lock, timeout_s=20):
        pass
