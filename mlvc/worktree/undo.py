"""The journal of `mlvc undo`: for each change the lock and the files from before it, so that it can be taken back.

    <git dir>/mlvc/undo/NUMBER.step      a step that can be undone; the highest number is the last one
    <git dir>/mlvc/undo/NUMBER.undone    a step that was undone, or what an undo replaced

Undone steps are kept for the keep period too: so long gc keeps what they name. `undo.log` beside the directory is the
one step that an earlier mlvc remembered, and comes before all others.

Each is a text, UTF-8, written before anything is changed:

    mlvc-undo 1
    operation WORD
    time TIME
    files yes|no                       whether the operation changed files too
    head SHA WHAT                      only where it moved HEAD: to SHA, from the branch or commit WHAT
    before LINE                        each line of mlvc.lock as it was
    after LINE                         each line of mlvc.lock as the operation left it
    replaced KIND ID BYTES PATH        each file or link that it changed or deleted and that was
                                       not what the lock said, as it was
    restored KIND ID BYTES PATH        each file or link that an undo brings back besides what the lock says
    end DIGITS                         the BLAKE3 of everything before this line

Format page: docs/format/undo.md
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlvc import fsio
from mlvc.errors import FormatError, IntegrityError, VersionError
from mlvc.model.ids import BlobId, ObjectId
from mlvc.model.lock import Lock, TrackedPath, decode_lock, encode_lock
from mlvc.model.names import decode_name, encode_name
from mlvc.model.tree import Kind, check_name

__all__ = ["UndoDamagedError", "UndoJournal", "UndoRecord", "decode_undo", "encode_undo", "read_undo"]

_STEP, _UNDONE = ".step", ".undone"
_NUMBER_DIGITS = 12
_FIRST_LINE = "mlvc-undo 1"
_KINDS = {kind.word: kind for kind in Kind if kind is not Kind.DIRECTORY}


class UndoDamagedError(IntegrityError):
    """The journal of `mlvc undo` holds other bytes than were written."""

    code = "undo-damaged"

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} is damaged: {what}", hint=f"nothing can be undone; delete it: rm {path}")


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """What it takes to undo one operation.

    Attributes:
        operation: `add`, `rm`, `checkout`, or `undo` of one of them.
        time: When it began, aware.
        before: The lock before it.
        after: The lock after it.
        changes_files: Whether it changed files of the work tree too.
        replaced: The files and links that it changed or deleted and that were not what `before` says, by path.
        restored: The files and links that it brings back besides what `after` says, by path; only of an `undo`.
        head: The branch, or the commit, that HEAD was at; None where it did not move HEAD.
        sha: The commit that it moved HEAD to.
    """

    operation: str
    time: datetime.datetime
    before: Lock
    after: Lock
    changes_files: bool = False
    replaced: Mapping[bytes, TrackedPath] = field(default_factory=dict)
    restored: Mapping[bytes, TrackedPath] = field(default_factory=dict)
    head: str | None = None
    sha: str | None = None


def encode_undo(record: UndoRecord) -> bytes:
    """Returns the text of a record."""
    lines = [
        _FIRST_LINE,
        f"operation {record.operation}",
        f"time {record.time.isoformat()}",
        f"files {'yes' if record.changes_files else 'no'}",
    ]
    if record.head is not None:
        lines.append(f"head {record.sha} {record.head}")
    for word, lock in (("before", record.before), ("after", record.after)):
        lines += (f"{word} {line}" for line in encode_lock(lock).decode().splitlines())
    for word, entries in (("replaced", record.replaced), ("restored", record.restored)):
        for path, entry in sorted(entries.items()):
            lines.append(f"{word} {entry.kind.word} {entry.id} {entry.size_bytes} {encode_name(path)}")
    body = "".join(line + "\n" for line in lines).encode()
    return body + f"end {ObjectId.of(body).hex}\n".encode()


def decode_undo(data: bytes) -> UndoRecord:
    """Returns the record that a text holds; the inverse of `encode_undo`.

    Raises:
        FormatError: It is no such text, or damaged.
        VersionError: A newer mlvc wrote it.
    """
    body, _, end = data.removesuffix(b"\n").rpartition(b"\n")
    body += b"\n"
    if body.partition(b"\n")[0] != _FIRST_LINE.encode():
        if body.startswith(b"mlvc-undo "):
            raise VersionError("it was written by a newer mlvc", hint="install a newer mlvc")
        raise FormatError("it does not start with `mlvc-undo 1`")
    if data != body + end + b"\n" or end != b"end " + ObjectId.of(body).hex.encode():
        raise FormatError("its last line does not fit the others")
    fields: dict[str, list[str]] = {}
    for line in body.decode().split("\n")[1:-1]:
        word, _, rest = line.partition(" ")
        fields.setdefault(word, []).append(rest)
    try:
        sha, head = None, None
        if "head" in fields:
            sha, _, head = fields["head"][0].partition(" ")
        return UndoRecord(
            operation=fields["operation"][0],
            time=datetime.datetime.fromisoformat(fields["time"][0]),
            before=_lock(fields["before"]),
            after=_lock(fields["after"]),
            changes_files=fields["files"] == ["yes"],
            replaced={entry.path: entry for entry in map(_entry, fields.get("replaced", ()))},
            restored={entry.path: entry for entry in map(_entry, fields.get("restored", ()))},
            head=head,
            sha=sha,
        )
    except (KeyError, ValueError) as exc:
        raise FormatError(f"it lacks something: {exc}") from exc


def _lock(lines: Sequence[str]) -> Lock:
    return decode_lock("".join(line + "\n" for line in lines).encode())


def _entry(line: str) -> TrackedPath:
    word, blob, size_bytes, name = line.split(" ", 3)
    path = decode_name(name)
    for component in path.split(b"/"):
        check_name(component)
    return TrackedPath(path, _KINDS[word], BlobId.parse(blob), 1, int(size_bytes))


def read_undo(path: Path) -> UndoRecord | None:
    """Returns the record in a file; None where there is none.

    Raises:
        UndoDamagedError: The file holds other bytes than were written.
        VersionError: A newer mlvc wrote it.
        FileUnreadableError: It cannot be read.
    """
    with fsio.translate_os_errors(f"read {path}"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
    try:
        return decode_undo(data)
    except (FormatError, UnicodeDecodeError) as exc:
        raise UndoDamagedError(path, exc.message if isinstance(exc, FormatError) else "no text") from exc


class UndoJournal:
    """The steps of one work tree. Whoever changes it holds the work tree's lock; whoever reads needs none."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._directory = state_dir / "undo"
        self._earlier = state_dir / "undo.log"

    def files(self) -> list[Path]:
        """Returns all of its files, undone or not, the oldest first.

        Raises:
            FileUnreadableError: The directory cannot be listed.
        """
        with fsio.translate_os_errors(f"list {self._directory}"):
            try:
                names = os.listdir(self._directory)
            except FileNotFoundError:
                # Only then: gc would take what could not be looked at for a journal that names nothing.
                names = []
            earlier = [self._earlier] if fsio.read_if_there(self._earlier) is not None else []
        return earlier + [self._directory / name for name in sorted(names) if name.endswith((_STEP, _UNDONE))]

    def last(self) -> tuple[Path, UndoRecord] | None:
        """Returns the step that an undo takes back, and its file; None where there is none.

        Raises:
            MlvcError: As `read_undo` raises it.
        """
        for path in reversed(self.files()):
            record = None if path.suffix == _UNDONE else read_undo(path)
            if record is not None:
                return path, record
        return None

    def append(self, record: UndoRecord, oldest: datetime.datetime, *, is_undone: bool = False) -> None:
        """Adds a step; returns after it is durable. Deletes those that are older than the keep period.

        Args:
            record: The step.
            oldest: When the keep period began.
            is_undone: Whether it is only kept for gc, and no step that can be undone.

        Raises:
            FileUnreadableError: A file cannot be written.
            DiskFullError: There is no room for it.
        """
        known = self.files()
        numbers = [self._number_of(path) for path in known]
        target = self._path(max(numbers, default=0) + 1, _UNDONE if is_undone else _STEP)
        with fsio.translate_os_errors(f"write {target}"):
            if not self._directory.is_dir():
                self._directory.mkdir()
                fsio.sync_directory(self._state_dir)
            fsio.atomic_write(target, encode_undo(record))
            for path in known:
                if not _is_older(path, oldest):
                    break
                path.unlink()

    def mark_undone(self, path: Path) -> None:
        """Makes a step one that was undone, durably: the next undo takes back the one before it."""
        with fsio.translate_os_errors(f"write {self._directory}"):
            self._directory.mkdir(exist_ok=True)
            fsio.publish(path, self._path(self._number_of(path), _UNDONE))

    def _path(self, number: int, suffix: str) -> Path:
        return self._directory / f"{number:0{_NUMBER_DIGITS}}{suffix}"

    def _number_of(self, path: Path) -> int:
        return int(path.stem) if path != self._earlier and path.stem.isdecimal() else 0


def _is_older(path: Path, oldest: datetime.datetime) -> bool:
    """Whether a step is from before `oldest`; one that cannot be understood is not: whoever can may look at it."""
    try:
        record = read_undo(path)
    except (IntegrityError, VersionError):
        return False
    return record is not None and record.time < oldest
