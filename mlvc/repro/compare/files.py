"""Two files whose bytes differ: which format they are, and what that format says about the difference."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlvc.model.ids import BlobId
from mlvc.model.objects import Difference
from mlvc.ports import ObjectReader
from mlvc.repro.compare import (
    compressed,
    csv_tables,
    json_values,
    lightgbm_text,
    npy,
    pickles,
    safetensors_files,
    tar_members,
    text_lines,
    ubjson_values,
    yaml_values,
)
from mlvc.repro.compare.apart import compare_apart
from mlvc.repro.compare.arrays import Array, compare_arrays
from mlvc.repro.compare.comparison import Comparison, Findings, UnfitError
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.nested_comparison import compare_values
from mlvc.repro.compare.policy import Policy
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


def _by_values(read: Callable[[Window], Any], rule: str) -> Callable[[Window, Window, Job], None]:
    """Returns what compares two files by the nested values that they hold; as text where they are none.

    Args:
        read: Reads one.
        rule: Covers files that hold the same.
    """

    def compare(left: Window, right: Window, job: Job) -> None:
        try:
            before, after = read(left), read(right)
        except UnfitError:
            # Lines of JSON, or what only begins like it, are text.
            if not text_lines.compare_text(left, right, job):
                raise
            return
        count = len(job.findings)
        compare_values(before, after, job.findings, root=job.place("$"))
        if len(job.findings) == count:
            job.findings.add(Difference(job.where, "container", rule=rule))

    return compare


def _apart(name: str, module: str, is_it: Callable[[bytes, str], bool]) -> _Format:
    """A format that a library reads, in a process of its own."""
    return _Format(
        name, lambda head, _, file_name: is_it(head, file_name), functools.partial(compare_apart, module)
    )


_FORMATS = (
    _Format("a zip archive", lambda head, _, __: head[:4] in ZIP_MAGIC, compare_zip),
    _Format("an npy array", lambda head, _, __: head.startswith(npy.MAGIC), _compare_npy),
    _Format(
        "a pickle",
        lambda head, window, name: pickles.is_pickle(head, window.read(window.size - 1, 1), name),
        pickles.compare_pickles,
    ),
    _Format(
        "safetensors",
        lambda head, window, _: safetensors_files.is_safetensors(head, window),
        safetensors_files.compare_safetensors,
    ),
    _Format("a tar archive", lambda head, _, __: tar_members.is_tar(head), tar_members.compare_tar),
    _Format(
        "UBJSON",
        lambda head, _, __: ubjson_values.is_ubjson(head),
        _by_values(ubjson_values.read_ubjson, "json.layout"),
    ),
    _Format(
        "a LightGBM model",
        lambda head, _, __: lightgbm_text.is_lightgbm(head),
        _by_values(lightgbm_text.read_lightgbm, "lightgbm.layout"),
    ),
    _apart("a Parquet file", "arrow_tables", lambda head, _: head[:4] == b"PAR1"),
    _apart("an Arrow file", "arrow_tables", lambda head, _: head[:6] == b"ARROW1"),
    _apart("an HDF5 file", "hdf5_files", lambda head, _: head[:8] == b"\x89HDF\r\n\x1a\n"),
    _apart("a database", "sqlite_tables", lambda head, _: head[:16] == b"SQLite format 3\0"),
    _apart("an ONNX model", "onnx_models", lambda _, name: name.endswith(".onnx")),
    _Format("a table", lambda _, __, name: csv_tables.is_csv(name), csv_tables.compare_csv),
    _Format(
        "YAML",
        lambda _, __, name: yaml_values.is_yaml(name),
        _by_values(yaml_values.read_yaml, "yaml.layout"),
    ),
    _Format(
        "JSON",
        lambda head, _, __: head.lstrip()[:1] in {b"{", b"["},
        _by_values(json_values.read_json, "json.layout"),
    ),
)
