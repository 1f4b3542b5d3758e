"""Files of formats that are cut at their parts, and what is in them."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["ARRAYS", "CONTENTS", "npz", "safetensors", "tar", "zipped"]

CONTENTS = {f"files/{size}": random.Random(size).randbytes(size) for size in (40_000, 90_001, 700_000)}
ARRAYS = {
    f"layer.{number}": np.random.default_rng(number).normal(size=(100, 100 * number))
    for number in range(1, 5)
}


def safetensors(
    tensors: Mapping[str, bytes], *, indent: int | None = None, is_header_reversed: bool = False
) -> bytes:
    """Returns the file that holds these tensors in this order, as the format's own description says."""
    header: dict[str, object] = {"__metadata__": {"format": 'a "data_offsets":[7,9] that is none'}}
    position = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [position, position + len(data)]}
        position += len(data)
    if is_header_reversed:
        header = dict(reversed(header.items()))
    text = json.dumps(header, indent=indent).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


def tar(members: Mapping[str, bytes], format_: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format_) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


class _Pipe(io.RawIOBase):
    """Takes bytes and cannot go back, so that a zip states the length of a member after it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def zipped(
    members: Mapping[str, bytes],
    *,
    is_streamed: bool = False,
    method: int = zipfile.ZIP_STORED,
    is_zip64: bool = False,
) -> bytes:
    file = _Pipe() if is_streamed else io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            with archive.open(name, "w", force_zip64=is_zip64) as member:
                member.write(data)
    return bytes(file.data) if isinstance(file, _Pipe) else file.getvalue()


def npz(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
