"""Runs commands and says what each took: seconds, memory of its processes, bytes written, bytes stored.

Linux alone: memory and bytes written are read from `/proc`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

__all__ = ["CommandError", "Sample", "census", "move_aside", "run", "stored_bytes", "warm"]

# Looking for children and reading the memory of a large process takes milliseconds; the polls of a command may not
# take more than this share of one core.
_POLL_SHARE = 0.05
_POLL_S = 0.02
_BUFFER_BYTES = 1 << 20
_LARGE_BYTES = 1 << 20


class CommandError(Exception):
    """A command that failed; the message is the end of what it printed."""


@dataclass(frozen=True)
class Sample:
    """What one step took; a step of several commands takes their sum, and the peak of the largest."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    written_bytes: int = 0
    stored_bytes: int = 0
    base_bytes: int = 0
    """What `stored_bytes` is a share of, in works that ask for it."""
    note: str = ""

    def then(self, other: Sample) -> Sample:
        """Returns what this step and the one after it took together."""
        return replace(
            self,
            seconds=self.seconds + other.seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            peak_bytes=max(self.peak_bytes, other.peak_bytes),
            written_bytes=self.written_bytes + other.written_bytes,
        )


@dataclass
class _Watcher:
    """Polls the proportional set size of a process and all its descendants, and keeps the largest sum."""

    root: int
    peak_bytes: int = 0
    _family: set[int] = field(default_factory=set)
    _strangers: set[int] = field(default_factory=set)
    _done: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self._family.add(self.root)
        self._strangers.update(_processes() - {self.root})
        thread = threading.Thread(target=self._poll)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _poll(self) -> None:
        pause_s = 0.0
        while not self._done.wait(pause_s):
            begin = time.perf_counter()
            self._look()
            pause_s = max(_POLL_S, (time.perf_counter() - begin) / _POLL_SHARE)

    def _look(self) -> None:
        # Children have larger numbers than their parents, but for the wrap-around, after which one is missed.
        for pid in sorted(_processes() - self._family - self._strangers):
            (self._family if _parent(pid) in self._family else self._strangers).add(pid)
        self.peak_bytes = max(self.peak_bytes, sum(map(_proportional_bytes, self._family)))


def _processes() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def _proportional_bytes(pid: int) -> int:
    """Returns a process's memory, each shared page divided by the number of processes that share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _written_bytes(pid: int) -> int:
    """Returns what an ended process and the children it waited for handed to `write`, files and pipes alike."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("wchar:")), 0)


def run(commands: Sequence[Sequence[str]], cwd: Path, environment: Mapping[str, str]) -> Sample:
    """Runs the commands one after the other, with nothing on stdin.

    Raises:
        CommandError: one ended with another status than 0.
    """
    total = Sample()
    for command in commands:
        total = total.then(_run_one(command, cwd, environment))
    return total


def _run_one(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Sample:
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        try:
            process = subprocess.Popen(
                command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        except OSError as error:
            raise CommandError(f"{command[0]}: {error.strerror}") from error
        watcher = _Watcher(process.pid)
        with watcher.watching():
            # Not yet reaped, it still tells what it wrote.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            seconds = time.perf_counter() - begin
        written = _written_bytes(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            told = output.read().decode(errors="replace").strip().splitlines() or ["nothing printed"]
            raise CommandError(f"`{' '.join(command[:4])}` exit {process.returncode}: {' '.join(told[-3:])}")
    return Sample(seconds, usage.ru_utime + usage.ru_stime, watcher.peak_bytes, written)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    pending = [os.fspath(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry


def census(folder: Path) -> tuple[int, int]:
    """Returns how many files are below a folder, and the sum of their lengths."""
    count = size_bytes = 0
    for entry in _files(folder):
        count += 1
        size_bytes += entry.stat(follow_symlinks=False).st_size
    return count, size_bytes


def stored_bytes(folder: Path) -> int:
    """Returns the lengths of all files below a folder, each once however many names it has."""
    sizes: dict[int, int] = {}
    for entry in _files(folder):
        facts = entry.stat(follow_symlinks=False)
        sizes[facts.st_ino] = facts.st_size
    return sum(sizes.values())


def warm(folder: Path) -> None:
    """Reads every file below a folder, so that all of it is in the page cache as far as memory allows."""
    buffer = bytearray(_BUFFER_BYTES)
    for entry in _files(folder):
        with open(entry.path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def move_aside(folder: Path, aside: Path) -> None:
    """Moves a tree out of the way, and gives the space of its large files back by cutting them to nothing.

    No file is deleted, and no small one cut: for minutes after many deletions ext4 creates files several times
    slower, and mounted with `discard` it waits for the device at each file that gives space back.
    A file that has another name outside the tree keeps its bytes.
    """
    names: Counter[int] = Counter()
    for entry in _files(folder):
        facts = entry.stat(follow_symlinks=False)
        names[facts.st_ino] += 1
        if facts.st_size >= _LARGE_BYTES and names[facts.st_ino] == facts.st_nlink:
            os.chmod(entry.path, 0o600)
            os.truncate(entry.path, 0)
    aside.mkdir(exist_ok=True)
    folder.rename(aside / str(len(os.listdir(aside))))
    subprocess.run(["sync", "-f", aside], check=True)
