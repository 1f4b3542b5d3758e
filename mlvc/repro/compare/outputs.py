"""Compares one output of a run with its reproduction: files by content, directories entry by entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.objects import VERDICTS, Difference, OutputVerdict
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import ObjectReader
from mlvc.repro.compare.comparison import Comparison, worst
from mlvc.repro.compare.files import compare_blobs
from mlvc.repro.compare.policy import Policy

__all__ = ["compare"]

_MOST_COMPARED = 1000
"""How many differing files of a directory are looked into."""
_MOST_NAMED = 5
_MOST_KEPT = 200
_MOST_KEPT_OF_A_FILE = 20


def compare(
    recorded: TrackedPath,
    reproduced: TrackedPath | None,
    reader: ObjectReader,
    *,
    scratch: Path,
    policy: Policy | None = None,
) -> OutputVerdict:
    """Returns how an output compares; reads contents only where the ids differ.

    Args:
        recorded: The output as the run recorded it.
        reproduced: The output as it is now; None if there is none.
        reader: Has the contents of both.
        scratch: A directory for temporary files.
        policy: What does not count, and what counts as rounding.

    Raises:
        ObjectMissingError: The recorded contents are needed and not here.
        IntegrityError: Stored bytes are damaged.
    """
    if reproduced is None:
        return OutputVerdict(recorded.name, "missing", str(recorded.id), None, "the command did not write it")
    told = _Comparer(reader, scratch, policy or Policy()).compare(
        recorded.name, (recorded.kind, recorded.id), (reproduced.kind, reproduced.id)
    )
    return OutputVerdict(
        recorded.name, told.verdict, str(recorded.id), str(reproduced.id), told.detail, told.differences
    )


_Content = tuple[Kind, BlobId | TreeId]


@dataclass(frozen=True, slots=True)
class _Comparer:
    """What comparing needs."""

    reader: ObjectReader
    scratch: Path
    policy: Policy

    def compare(self, name: str, recorded: _Content, reproduced: _Content) -> Comparison:
        """Compares what stands at a path."""
        (kind, before), (new_kind, after) = recorded, reproduced
        if kind is not new_kind:
            told = Difference("", "structure", _article(kind), _article(new_kind))
            return Comparison("different", f"it is {_article(new_kind)} instead of {_article(kind)}", (told,))
        if before == after:
            return Comparison("identical")
        if isinstance(before, TreeId) and isinstance(after, TreeId):
            return self._compare_trees(name, before, after)
        if kind is Kind.SYMLINK:
            return Comparison("different", "the link leads elsewhere", (Difference("", "value"),))
        return compare_blobs(
            BlobId(before.digest),
            BlobId(after.digest),
            self.reader,
            self.scratch,
            name=name,
            policy=self.policy,
        )

    def _compare_trees(self, top: str, recorded: TreeId, reproduced: TreeId) -> Comparison:
        verdicts: list[str] = []
        details: list[str] = []
        kept: list[tuple[str, Difference]] = []
        for path, before, after in _iter_differences(recorded, reproduced, self.reader):
            name = encode_name(path)
            if before is None or after is None:
                sides = ("", _article(after.kind)) if after is not None else (_article(before.kind), "")  # type: ignore[union-attr]  # one side is there
                told = Comparison(
                    "different",
                    "is new" if before is None else "is missing",
                    (Difference("", "structure", *sides),),
                )
            elif len(verdicts) >= _MOST_COMPARED:
                told = Comparison("different", "differs", (Difference("", "value"),))
            else:
                told = self.compare(f"{top}/{name}", (before.kind, before.id), (after.kind, after.id))
            verdicts.append(told.verdict)
            kept += [(told.verdict, _below(name, item)) for item in told.differences[:_MOST_KEPT_OF_A_FILE]]
            if len(details) < _MOST_NAMED:
                details.append(f"{name}: {told.detail}")
        more = f"; and {len(verdicts) - _MOST_NAMED} more" if len(verdicts) > _MOST_NAMED else ""
        kept.sort(key=lambda pair: VERDICTS.index(pair[0]), reverse=True)
        differences = tuple(item for _, item in kept[:_MOST_KEPT])
        return Comparison(worst(verdicts), "; ".join(details) + more, differences)


def _below(name: str, difference: Difference) -> Difference:
    return dataclasses.replace(difference, where=f"{name}: {difference.where}" if difference.where else name)


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
