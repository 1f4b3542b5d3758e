"""Two files whose bytes differ: which format they are, and what that format says about the difference."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlvc.model.ids import BlobId
from mlvc.model.objects import Difference
from mlvc.ports import ObjectReader
from mlvc.repro.compare import compressed, json_values, npy, pickles, text_lines
from mlvc.repro.compare.arrays import Array, compare_arrays
from mlvc.repro.compare.comparison import Comparison, Findings, UnfitError
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.policy import Policy
from mlvc.repro.compare.trees import compare_values
from mlvc.repro.compare.windows import Unpacked, Window, is_same
from mlvc.repro.compare.zipfile_members import MAGIC as ZIP_MAGIC
from mlvc.repro.compare.zipfile_members import compare_zip

__all__ = ["compare_blobs", "compare_windows"]


def compare_blobs(
    recorded: BlobId,
    reproduced: BlobId,
    reader: ObjectReader,
    scratch: Path,
    *,
    name: str = "",
    policy: Policy | None = None,
) -> Comparison:
    """Compares the contents of two blobs that are not the same.

    Args:
        recorded: The recorded one.
        reproduced: The other.
        reader: Has both.
        scratch: A directory for temporary files.
        name: The file's path, whose ending tells formats that have no mark of their own.
        policy: What does not count, and what counts as rounding.

    Raises:
        ObjectMissingError: One is not here.
        IntegrityError: Stored bytes are damaged.
    """
    with Unpacked(scratch, most_bytes=sys.maxsize) as stored, Unpacked(scratch) as unpacked:
        before, after = (stored.add(reader.iter_blob(blob)) for blob in (recorded, reproduced))
        return compare_windows(before, after, unpacked, name=name, policy=policy)


def compare_windows(
    before: Window, after: Window, unpacked: Unpacked, *, name: str = "", policy: Policy | None = None
) -> Comparison:
    """Compares two pieces of bytes that are not the same; as `compare_blobs`."""
    findings = Findings(policy, name)
    try:
        _compare(before, after, Job(name, "", findings, unpacked, _compare))
    except UnfitError as exc:
        findings.add_unfit("", str(exc))
    return findings.result()


@dataclass(frozen=True, slots=True)
class _Format:
    """A format: how it is called, how it is known by its first bytes and its name, and what compares it."""

    name: str
    is_it: Callable[[bytes, Window, str], bool]
    compare: Callable[[Window, Window, Job], None]


def _compare(left: Window, right: Window, job: Job) -> None:
    """Compares by the first format that both are of; as text or as bytes where there is none."""
    heads = left.read(0, compressed.HEAD_BYTES), right.read(0, compressed.HEAD_BYTES)
    if any(compressed.find_packing(head) for head in heads):
        compressed.compare_unpacked(left, right, job)
        return
    if is_same(left, right):
        return
    found = [_find(head, window, job.name) for head, window in zip(heads, (left, right), strict=True)]
    before, after = found
    if before is not None and after is not None:
        if before is not after:
            job.findings.add(Difference(job.where, "structure", before.name, after.name))
            return
        before.compare(left, right, job)
        return
    if not text_lines.compare_text(left, right, job):
        _compare_bytes(left, right, job)


def _find(head: bytes, window: Window, name: str) -> _Format | None:
    return next((item for item in _FORMATS if item.is_it(head, window, name)), None)


def _compare_bytes(left: Window, right: Window, job: Job) -> None:
    """Names the first byte that differs.

    Raises:
        UnfitError: Always: bytes alone do not tell whether the difference matters.
    """
    position = 0
    for one, other in zip(left.pieces(), right.pieces(), strict=False):
        if one != other:
            position += next(
                (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)),
            )
            break
        position += len(one)
    told = ("", "") if left.size == right.size else (f"{left.size} bytes", f"{right.size} bytes")
    job.findings.add(Difference(job.place(f"byte {position}"), "value", *told))
    raise UnfitError(f"its format is not known; the first difference is at byte {position}")


def _compare_npy(left: Window, right: Window, job: Job) -> None:
    before, after = npy.read_npy(left), npy.read_npy(right)
    count = len(job.findings)
    if isinstance(before, Array) and isinstance(after, Array):
        compare_arrays(before, after, job.where, job.findings)
    else:
        compare_values(before, after, job.findings, root=job.place("$"))
    if len(job.findings) == count:
        job.findings.add(Difference(job.where, "container", rule="npy.header"))


def _compare_json(left: Window, right: Window, job: Job) -> None:
    if max(left.size, right.size) > json_values.MOST_BYTES:
        raise UnfitError("the JSON is too large to compare")
    try:
        before, after = (json_values.read_json(window.read(0, window.size)) for window in (left, right))
    except UnfitError:
        # Lines of JSON, or what only begins like it, are text.
        if not text_lines.compare_text(left, right, job):
            raise
        return
    count = len(job.findings)
    compare_values(before, after, job.findings, root=job.place("$"))
    if len(job.findings) == count:
        job.findings.add(Difference(job.where, "container", rule="json.layout"))


_FORMATS = (
    _Format("a zip archive", lambda head, _, __: head[:4] in ZIP_MAGIC, compare_zip),
    _Format("an npy array", lambda head, _, __: head.startswith(npy.MAGIC), _compare_npy),
    _Format(
        "a pickle",
        lambda head, window, name: pickles.is_pickle(head, window.read(window.size - 1, 1), name),
        pickles.compare_pickles,
    ),
    _Format("JSON", lambda head, _, __: head.lstrip()[:1] in {b"{", b"["}, _compare_json),
)
