"""Compares one output of a run with its reproduction: files by content, directories entry by entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.objects import OutputVerdict
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import ObjectReader
from mlvc.repro.compare.comparison import Comparison, worst
from mlvc.repro.compare.files import compare_blobs

__all__ = ["compare"]

_MOST_COMPARED = 1000
"""How many differing files of a directory are looked into."""
_MOST_NAMED = 5


def compare(
    recorded: TrackedPath, reproduced: TrackedPath | None, reader: ObjectReader, *, scratch: Path
) -> OutputVerdict:
    """Returns how an output compares; reads contents only where the ids differ.

    Args:
        recorded: The output as the run recorded it.
        reproduced: The output as it is now; None if there is none.
        reader: Has the contents of both.
        scratch: A directory for temporary files.

    Raises:
        ObjectMissingError: The recorded contents are needed and not here.
        IntegrityError: Stored bytes are damaged.
    """
    if reproduced is None:
        return OutputVerdict(recorded.name, "missing", str(recorded.id), None, "the command did not write it")
    told = _compare(recorded.kind, recorded.id, reproduced.kind, reproduced.id, reader, scratch)
    return OutputVerdict(
        recorded.name, told.verdict, str(recorded.id), str(reproduced.id), told.detail, told.differences
    )


def _compare(
    kind: Kind,
    recorded: BlobId | TreeId,
    new_kind: Kind,
    reproduced: BlobId | TreeId,
    reader: ObjectReader,
    scratch: Path,
) -> Comparison:
    if kind is not new_kind:
        return Comparison("different", f"it is {_article(new_kind)} instead of {_article(kind)}")
    if recorded == reproduced:
        return Comparison("identical")
    if isinstance(recorded, TreeId) and isinstance(reproduced, TreeId):
        return _compare_trees(recorded, reproduced, reader, scratch)
    if kind is Kind.SYMLINK:
        return Comparison("different", "the link leads elsewhere")
    return compare_blobs(BlobId(recorded.digest), BlobId(reproduced.digest), reader, scratch)


def _compare_trees(recorded: TreeId, reproduced: TreeId, reader: ObjectReader, scratch: Path) -> Comparison:
    verdicts: list[str] = []
    details: list[str] = []
    for path, before, after in _iter_differences(recorded, reproduced, reader):
        name = encode_name(path)
        if before is None:
            told = Comparison("different", "is new")
        elif after is None:
            told = Comparison("different", "is missing")
        elif len(verdicts) >= _MOST_COMPARED:
            told = Comparison("different", "differs")
        else:
            told = _compare(before.kind, before.id, after.kind, after.id, reader, scratch)
        verdicts.append(told.verdict)
        if len(details) < _MOST_NAMED:
            details.append(f"{name}: {told.detail}")
    more = f"; and {len(verdicts) - _MOST_NAMED} more" if len(verdicts) > _MOST_NAMED else ""
    return Comparison(worst(iter(verdicts)), "; ".join(details) + more)


def _iter_differences(
    recorded: TreeId, reproduced: TreeId, reader: ObjectReader
) -> Iterator[tuple[bytes, TreeEntry | None, TreeEntry | None]]:
    """Yields the entries that differ, by path; directories are opened, and equal ones are skipped unread."""
    pending = [(b"", recorded, reproduced)]
    while pending:
        prefix, left_id, right_id = pending.pop()
        left = {entry.name: entry for entry in reader.read_tree(left_id)}
        right = {entry.name: entry for entry in reader.read_tree(right_id)}
        for name in sorted(left.keys() | right.keys()):
            before, after = left.get(name), right.get(name)
            if before is not None and after is not None:
                if (before.kind, before.id) == (after.kind, after.id):
                    continue
                if isinstance(before.id, TreeId) and isinstance(after.id, TreeId):
                    pending.append((prefix + name + b"/", before.id, after.id))
                    continue
            yield prefix + name, before, after


def _article(kind: Kind) -> str:
    return {
        Kind.FILE: "a file",
        Kind.EXECUTABLE: "an executable file",
        Kind.SYMLINK: "a link",
        Kind.DIRECTORY: "a directory",
    }[kind]
