"""Two files whose bytes differ: which format they are, and what that format says about the difference."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mlvc import fsio
from mlvc.model.ids import BlobId
from mlvc.ports import ObjectReader
from mlvc.repro.compare import json_values, text_lines
from mlvc.repro.compare.comparison import Comparison, iter_pieces
from mlvc.repro.compare.zipfile_members import MAGIC as ZIP_MAGIC
from mlvc.repro.compare.zipfile_members import compare_zip

__all__ = ["compare_blobs"]

_JSON_STARTS = (b"{", b"[")


def compare_blobs(recorded: BlobId, reproduced: BlobId, reader: ObjectReader, scratch: Path) -> Comparison:
    """Compares the contents of two blobs that are not the same.

    Args:
        recorded: The recorded one.
        reproduced: The other.
        reader: Has both.
        scratch: A directory for temporary files.

    Raises:
        ObjectMissingError: One is not here.
        IntegrityError: Stored bytes are damaged.
    """
    with _opened(recorded, reader, scratch) as before, _opened(reproduced, reader, scratch) as after:
        magics = before.read(4), after.read(4)
        before.seek(0)
        after.seek(0)
        if all(magic in ZIP_MAGIC for magic in magics):
            return compare_zip(before, after)
        small = max(before.seek(0, 2), after.seek(0, 2)) <= max(json_values.MOST_BYTES, text_lines.MOST_BYTES)
        before.seek(0)
        after.seek(0)
        if small:
            told = _compare_small(before.read(), after.read())
            if told is not None:
                return told
            before.seek(0)
            after.seek(0)
        return _compare_bytes(before, after)


@contextlib.contextmanager
def _opened(blob: BlobId, reader: ObjectReader, scratch: Path) -> Iterator[BinaryIO]:
    """A blob as a file that can be sought in, without a name."""
    with fsio.translate_os_errors(f"unpack {blob}"), tempfile.TemporaryFile(dir=scratch) as file:
        for piece in reader.iter_blob(blob):
            file.write(piece)
        file.seek(0)
        yield file


def _compare_small(recorded: bytes, reproduced: bytes) -> Comparison | None:
    if all(data.lstrip()[:1] in _JSON_STARTS for data in (recorded, reproduced)):
        told = json_values.compare_json(recorded, reproduced)
        if told is not None:
            return told
    if max(len(recorded), len(reproduced)) <= text_lines.MOST_BYTES:
        return text_lines.compare_text(recorded, reproduced)
    return None


def _compare_bytes(recorded: BinaryIO, reproduced: BinaryIO) -> Comparison:
    """Names the first byte that differs."""
    sizes = recorded.seek(0, 2), reproduced.seek(0, 2)
    recorded.seek(0)
    reproduced.seek(0)
    position = 0
    for left, right in zip(iter_pieces(recorded), iter_pieces(reproduced), strict=False):
        if left != right:
            position += next(
                (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
                min(len(left), len(right)),
            )
            break
        position += len(left)
    size = f", and {sizes[1]} bytes instead of {sizes[0]}" if sizes[0] != sizes[1] else ""
    return Comparison("different", f"the first difference is at byte {position}{size}")
