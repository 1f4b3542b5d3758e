"""`mlvc.lock`: the one file that git tracks for the data.

One line for each tracked path, sorted by path, fields separated by one space; the path comes last and is in text form:

    mlvc-lock 1
    environment b3:…
    KIND ID FILES BYTES RUN PATH

KIND is `file`, `executable`, `symlink` or `directory`; RUN is the run that made it, or `-`.
The `environment` line is absent where none was captured.
Format page: docs/format/lock.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from mlvc.errors import FormatError, MlvcError, VersionError
from mlvc.model.ids import BlobId, EnvironmentId, RunId, TreeId
from mlvc.model.names import decode_name, encode_name
from mlvc.model.tree import Kind, check_name

__all__ = [
    "GIT_KEPT",
    "Lock",
    "LockConflict",
    "LockConflictError",
    "TrackedPath",
    "check_path",
    "decode_conflicts",
    "decode_entry",
    "decode_lock",
    "encode_conflicts",
    "encode_entry",
    "encode_lock",
]

GIT_KEPT = frozenset({b"mlvc.toml", b"mlvc.lock", b".gitignore"})
"""The files of the repository's top that mlvc itself writes and git tracks; never data."""

_FIRST_LINE = "mlvc-lock 1"
_KINDS = {kind.word: kind for kind in Kind}
_NO_RUN = "-"
_COUNT_LIMIT = 1 << 63
_ENVIRONMENT = "environment "
_MARK_LENGTH = 7
_CONFLICT_MARKS = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


class LockConflictError(MlvcError):
    """`mlvc.lock` holds git's conflict marks."""

    code = "lock-conflict"


class TrackedPath(NamedTuple):
    """One tracked path.

    Attributes:
        path: Relative to the repository, `/` between components, as bytes.
        kind: What stands at the path.
        id: The tree of a directory, the blob of anything else.
        files: Number of files and symlinks in it; 1 for a single file.
        size_bytes: The sum of their sizes.
        run: The run that made it, if one did.
    """

    path: bytes
    kind: Kind
    id: BlobId | TreeId
    files: int
    size_bytes: int
    run: RunId | None = None

    @property
    def name(self) -> str:
        """The path in text form."""
        return encode_name(self.path)


class Lock(NamedTuple):
    """The tracked paths and the environment of one revision.

    Attributes:
        entries: By path; no path lies below another.
        environment: The captured environment, if any.
    """

    entries: Mapping[bytes, TrackedPath] = MappingProxyType({})
    environment: EnvironmentId | None = None

    def with_entries(self, changed: Iterable[TrackedPath] = (), removed: Iterable[bytes] = ()) -> Lock:
        """Returns a lock with some entries added or replaced and others removed."""
        entries = dict(self.entries)
        for path in removed:
            entries.pop(path, None)
        for entry in changed:
            entries[entry.path] = entry
        return Lock(entries, self.environment)


class LockConflict(NamedTuple):
    """Lines that a merge could not decide.

    Attributes:
        path: Where they belong in the file; empty for the environment.
        ours: The lines of the present side, without their ends; none where it dropped them.
        theirs: The lines of the other side.
    """

    path: bytes
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


def check_path(path: bytes) -> None:
    """Refuses a path that is not a plain relative path of allowed names.

    Raises:
        FormatError: The path is empty, absolute, holds a newline, or a component that no tree may hold.
    """
    if b"\n" in path:
        raise FormatError(f"a tracked path may hold no newline: {encode_name(path)!r}")
    for component in path.split(b"/"):
        check_name(component)


def _check_keepers(entries: Mapping[bytes, TrackedPath]) -> None:
    for path in entries:
        # Some file systems fold case, and a checkout must never replace the lock that it reads.
        if path.partition(b"/")[0].lower() in GIT_KEPT:
            raise FormatError(f"mlvc.lock tracks {encode_name(path)!r}, which belongs to git")


def _check_nesting(entries: Mapping[bytes, TrackedPath]) -> None:
    for path in entries:
        parent = path
        while b"/" in parent:
            parent = parent.rpartition(b"/")[0]
            if parent in entries:
                raise FormatError(f"mlvc.lock tracks {encode_name(path)!r} inside {encode_name(parent)!r}")


def encode_entry(entry: TrackedPath) -> str:
    """Returns the line of one tracked path, without its end."""
    run = _NO_RUN if entry.run is None else str(entry.run)
    return f"{entry.kind.word} {entry.id} {entry.files} {entry.size_bytes} {run} {entry.name}"


def encode_lock(lock: Lock) -> bytes:
    """Returns the text of `lock`.

    Raises:
        FormatError: A path is not allowed, or lies inside another: `decode_lock` could not read it back.
    """
    _check_keepers(lock.entries)
    _check_nesting(lock.entries)
    lines = [_FIRST_LINE]
    if lock.environment is not None:
        lines.append(f"environment {lock.environment}")
    for path in sorted(lock.entries):
        check_path(path)
        lines.append(encode_entry(lock.entries[path]))
    return "".join(line + "\n" for line in lines).encode()


def encode_conflicts(lock: Lock, conflicts: Iterable[LockConflict]) -> bytes:
    """Returns the text of a lock with git's conflict marks around the lines that are still to be decided.

    `decode_lock` refuses it with the error that names the ways out.
    """
    blocks = {path: [encode_entry(entry)] for path, entry in lock.entries.items()}
    if lock.environment is not None:
        blocks[b""] = [f"environment {lock.environment}"]
    for item in conflicts:
        blocks[item.path] = ["<<<<<<< ours", *item.ours, "=======", *item.theirs, ">>>>>>> theirs"]
    lines = [_FIRST_LINE, *(line for path in sorted(blocks) for line in blocks[path])]
    return "".join(line + "\n" for line in lines).encode()


def decode_conflicts(data: bytes) -> tuple[Lock, tuple[LockConflict, ...]]:
    """Returns what a lock with conflict marks has decided, and what it has not; of mlvc's own merge or of git's.

    Lines that both sides of a conflict have are decided. Paths inside each other are one conflict, of the outermost.

    Raises:
        FormatError: It is no lock, with or without marks.
        VersionError: The version is not known.
    """
    decided: list[str] = []
    sides: dict[str, dict[bytes, str]] = {"<<<<<<<": {}, "=======": {}}
    now: str | None = None
    for line in data.decode("utf-8", "replace").splitlines():
        mark = line[:_MARK_LENGTH]
        if line.startswith(_CONFLICT_MARKS):
            now = None if mark == ">>>>>>>" else mark
        elif now is None:
            decided.append(line)
        elif now in sides and line:
            sides[now][_path_of(line)] = line
    ours, theirs = sides.values()
    conflicts = []
    for outer in _outermost(ours.keys() | theirs.keys()):
        mine, other = (
            tuple(
                side[path]
                for path in sorted(side)
                if path == outer or (outer and path.startswith(outer + b"/"))
            )
            for side in (ours, theirs)
        )
        if mine == other:
            decided += mine
        else:
            conflicts.append(LockConflict(outer, mine, other))
    return decode_lock("\n".join(decided).encode() + b"\n"), tuple(conflicts)


def _path_of(line: str) -> bytes:
    return b"" if line.startswith(_ENVIRONMENT) else decode_entry(line).path


def _outermost(paths: Iterable[bytes]) -> list[bytes]:
    outer: list[bytes] = []
    for path in sorted(paths):
        if not any(other and path.startswith(other + b"/") for other in outer):
            outer.append(path)
    return outer


def _decode_count(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_COUNT_LIMIT))
    if not is_number or int(text) >= _COUNT_LIMIT or str(int(text)) != text:
        raise FormatError(f"{text[:40]!r} is not a count")
    return int(text)


def decode_entry(line: str) -> TrackedPath:
    """Returns the tracked path that a line names; the inverse of `encode_entry`.

    Raises:
        FormatError: It is no such line.
    """
    fields = line.split(" ", 5)
    if len(fields) != 6:
        raise FormatError(f"a line of mlvc.lock has too few fields: {line[:120]!r}")
    word, id_text, files, size_bytes, run, name = fields
    kind = _KINDS.get(word)
    if kind is None:
        raise FormatError(f"mlvc.lock names an unknown kind: {word[:40]!r}")
    path = decode_name(name)
    check_path(path)
    entry_id = TreeId.parse(id_text) if kind is Kind.DIRECTORY else BlobId.parse(id_text)
    return TrackedPath(
        path,
        kind,
        entry_id,
        _decode_count(files),
        _decode_count(size_bytes),
        None if run == _NO_RUN else RunId.parse(run),
    )


def decode_lock(data: bytes) -> Lock:
    """Returns the lock that `data` holds; the order of lines does not matter, so that any line merge is readable.

    Raises:
        LockConflictError: Git's conflict marks stand in it.
        FormatError: It is no lock, two lines name one path or nested paths, or one names a file of `GIT_KEPT`.
        VersionError: The version is not known.
    """
    try:
        return _decode_lock(data)
    except FormatError as exc:
        if exc.hint is not None:
            raise
        said = exc.message if "mlvc.lock" in exc.message else f"mlvc.lock cannot be read: {exc.message}"
        raise FormatError(said, hint="`git checkout -- mlvc.lock` brings back the committed one") from exc


def _decode_lock(data: bytes) -> Lock:
    try:
        # Git may have been told to write CRLF; a carriage return of a name stands there as %0D.
        lines = [line.removesuffix("\r") for line in data.decode().split("\n")]
    except UnicodeDecodeError:
        raise FormatError("mlvc.lock is not UTF-8 text") from None
    if any(line.startswith(_CONFLICT_MARKS) for line in lines):
        raise LockConflictError(
            "mlvc.lock holds the marks of a merge conflict",
            hint="take one side with `mlvc checkout --ours -- PATH` or `--theirs`, or put the files right and "
            "`mlvc add PATH`; then `git add mlvc.lock`",
        )
    if lines[0] != _FIRST_LINE:
        if lines[0].startswith("mlvc-lock "):
            raise VersionError(f"this mlvc does not know {lines[0][:40]!r}", hint="install a newer mlvc")
        raise FormatError("mlvc.lock does not start with `mlvc-lock 1`")
    entries: dict[bytes, TrackedPath] = {}
    environment: EnvironmentId | None = None
    for line in lines[1:]:
        if not line:
            continue
        if line.startswith(_ENVIRONMENT):
            if environment is not None:
                raise FormatError("mlvc.lock names two environments")
            environment = EnvironmentId.parse(line.removeprefix(_ENVIRONMENT))
            continue
        entry = decode_entry(line)
        if entry.path in entries:
            raise FormatError(f"mlvc.lock names {entry.name!r} twice")
        entries[entry.path] = entry
    _check_keepers(entries)
    _check_nesting(entries)
    return Lock(entries, environment)
