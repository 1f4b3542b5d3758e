"""One output: identical, equivalent, different or missing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.objects import VERDICTS, OutputVerdict
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import ObjectReader
from mlvc.repro.compare.archives import compare_archives, is_archive

__all__ = ["compare_output"]

_NAMED = 5
_START_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Finding:
    path: bytes
    verdict: str
    detail: str


def compare_output(
    recorded: TrackedPath, reproduced: TrackedPath | None, reader: ObjectReader, scratch: Path
) -> OutputVerdict:
    """Returns how an output compares with its record; of a directory, the worst of its files.

    Args:
        recorded: From the run.
        reproduced: What stands at the path after the reproduction; None where nothing does.
        reader: Has both.
        scratch: A directory for temporary files as large as the outputs.

    Raises:
        ObjectMissingError: The recorded bytes are not here, and more than their id is needed.
        IntegrityError: Stored bytes are damaged.
    """
    name, before = encode_name(recorded.path), str(recorded.id)
    if reproduced is None:
        return OutputVerdict(name, "missing", before, None, "the command did not write it")
    after = str(reproduced.id)
    if recorded.kind is reproduced.kind and recorded.id == reproduced.id:
        return OutputVerdict(name, "identical", before, after)
    findings = list(_findings(b"", _entry(recorded), _entry(reproduced), reader, scratch))
    worst = max((finding.verdict for finding in findings), key=VERDICTS.index)
    return OutputVerdict(name, worst, before, after, _told(findings))


def _entry(tracked: TrackedPath) -> TreeEntry:
    return TreeEntry(tracked.path.rpartition(b"/")[2], tracked.kind, tracked.id, tracked.size_bytes)


def _findings(
    path: bytes, before: TreeEntry, after: TreeEntry, reader: ObjectReader, scratch: Path
) -> Iterator[_Finding]:
    """Yields one finding for each file that is not identical; equal subtrees are not read."""
    if before.kind is not after.kind:
        yield _Finding(path, "different", f"{after.kind.word} instead of {before.kind.word}")
    elif before.kind is Kind.DIRECTORY:
        yield from _directory_findings(path, before, after, reader, scratch)
    elif before.id != after.id:
        yield _compare_files(path, before, after, reader, scratch)


def _directory_findings(
    path: bytes, before: TreeEntry, after: TreeEntry, reader: ObjectReader, scratch: Path
) -> Iterator[_Finding]:
    old = {entry.name: entry for entry in reader.read_tree(TreeId(before.id.digest))}
    new = {entry.name: entry for entry in reader.read_tree(TreeId(after.id.digest))}
    for name in sorted(old.keys() | new.keys()):
        inner = path + b"/" + name if path else name
        if name not in new:
            yield _Finding(inner, "missing", "not written")
        elif name not in old:
            yield _Finding(inner, "different", "not in the record")
        elif old[name] != new[name]:
            yield from _findings(inner, old[name], new[name], reader, scratch)


def _compare_files(
    path: bytes, before: TreeEntry, after: TreeEntry, reader: ObjectReader, scratch: Path
) -> _Finding:
    if before.kind is Kind.SYMLINK:
        return _Finding(path, "different", "the link points elsewhere")
    if all(is_archive(_start(reader, BlobId(entry.id.digest))) for entry in (before, after)):
        with _unpacked(reader, before, scratch) as old, _unpacked(reader, after, scratch) as new:
            result = compare_archives(old, new)
        return _Finding(path, "equivalent" if result.equivalent else "different", result.detail)
    return _Finding(
        path, "different", f"{before.size_bytes:,} bytes recorded, {after.size_bytes:,} bytes now"
    )


def _start(reader: ObjectReader, blob: BlobId) -> bytes:
    return next(reader.iter_blob(blob), b"")[:_START_BYTES]


def _unpacked(reader: ObjectReader, entry: TreeEntry, scratch: Path) -> IO[bytes]:
    """Returns a temporary file with the blob's bytes; archives are read from their end."""
    file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  # the caller's `with` closes it
    for piece in reader.iter_blob(BlobId(entry.id.digest)):
        file.write(piece)
    file.seek(0)
    return file


def _told(findings: list[_Finding]) -> str:
    lines = [
        f"{encode_name(finding.path)}: {finding.detail}" if finding.path else finding.detail
        for finding in findings[:_NAMED]
    ]
    if len(findings) > _NAMED:
        lines.append(f"and {len(findings) - _NAMED} more")
    return "; ".join(lines)
