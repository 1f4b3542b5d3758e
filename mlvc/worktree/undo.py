"""`undo.log`: the lock and the files from before the last change, so that one step can be taken back.

Text, UTF-8, replaced as a whole before anything is changed:

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlvc import fsio
from mlvc.errors import FormatError, IntegrityError, VersionError
from mlvc.model.ids import BlobId, ObjectId
from mlvc.model.lock import Lock, TrackedPath, decode_lock, encode_lock
from mlvc.model.names import decode_name, encode_name
from mlvc.model.tree import Kind, check_name

__all__ = ["UndoDamagedError", "UndoRecord", "decode_undo", "encode_undo", "read_undo", "write_undo"]

_FIRST_LINE = "mlvc-undo 1"
_KINDS = {kind.word: kind for kind in Kind if kind is not Kind.DIRECTORY}


class UndoDamagedError(IntegrityError):
    """The journal of `mlvc undo` holds other bytes than were written."""

    code = "undo-damaged"

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} is damaged: {what}", hint=f"nothing can be undone; delete it: rm {path}")


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """What it takes to undo the last operation.

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
    """Returns the record of the last operation; None where there is none.

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


def write_undo(path: Path, record: UndoRecord) -> None:
    """Replaces the record of the operation before; returns after that is durable.

    Raises:
        FileUnreadableError: The file cannot be written.
        DiskFullError: There is no room for it.
    """
    with fsio.translate_os_errors(f"write {path}"):
        fsio.atomic_write(path, encode_undo(record))
