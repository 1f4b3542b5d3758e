"""Every parser of bytes that somebody else may have written, with bytes that it takes."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard
from xxhash import xxh3_64_intdigest

from mlvc.model.config import decode_config
from mlvc.model.ids import BlobId, ChunkId, PackId, PlanId, TreeId
from mlvc.model.lock import Lock, TrackedPath, decode_lock, encode_lock
from mlvc.model.objects import Code, Commit, Run, decode_object
from mlvc.model.series import Series, decode_series, encode_series
from mlvc.model.tree import Kind, TreeEntry, decode_tree, encode_tree
from mlvc.ports import RecordKind
from mlvc.repro.compare.files import compare_windows
from mlvc.repro.compare.windows import Unpacked, Window
from mlvc.store.contents import check_record
from mlvc.store.pack import (
    PACK_HEADER_BYTES,
    RECORD_HEADER_BYTES,
    NewRecord,
    decode_pack_header,
    decode_record_header,
    encode_pack_header,
    encode_records,
)
from mlvc.store.pack_index import PackIndex, PackInfo, RawIndexBuilder, decode_index, encode_index
from mlvc.store.recipe import Recipe, RecipeBuilder
from mlvc.store.verified import FileState, decode_verified, encode_verified
from mlvc.worktree.journal import read_saved
from mlvc.worktree.statcache import CachedDirectory, Stamp, StatCache

__all__ = ["PARSERS", "Parser"]


@dataclass(frozen=True)
class Parser:
    """One parser.

    Attributes:
        parse: Takes any bytes, and raises nothing but errors of ours.
        examples: Bytes that it takes.
        seal: Makes the checksum of changed bytes right, where there is one.
    """

    parse: Callable[[bytes], object]
    examples: Sequence[bytes]
    seal: Callable[[bytes], bytes] | None = None


_BLOB = BlobId.of(b"x")
_LINES = [
    TrackedPath(b"data", Kind.DIRECTORY, TreeId(bytes(32)), 2, 10),
    TrackedPath(b"more/\xff", Kind.FILE, _BLOB, 1, 1),
]
_RECORDS = [
    NewRecord(RecordKind.CHUNK, 0, ChunkId.of(data).digest, data) for data in (b"", b"raw", b"text " * 200)
]


def _parse_index(data: bytes) -> None:
    index = PackIndex(data)
    decode_index(data)
    for entry in index.entries_from(b""):
        index.find(entry.digest, entry.kind, entry.part)


def _parse_record(data: bytes) -> None:
    if len(data) >= RECORD_HEADER_BYTES:
        entry = decode_record_header(data, 0)
        check_record(data, entry, zstandard.ZstdDecompressor(), lambda _: b"some base")


def _parse_statcache(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statcache"
        path.write_bytes(data)
        cache = StatCache(path)
        for name, _ in list(cache.sizes_below("data")):
            cache.get(name)


def _statcache() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statcache"
        cache = StatCache(path)
        stamp = Stamp.of_directory(1, _BLOB.digest)
        cache.replace("data", {"data": CachedDirectory({"a": stamp, "b": stamp}, bytes(32), 2, 2)})
        cache.save()
        return path.read_bytes()


def _parse_journal(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saved.log"
        path.write_bytes(data)
        read_saved(path)


def _index() -> bytes:
    _, entries = encode_records(_RECORDS)
    entries = [entry._replace(offset=entry.offset + PACK_HEADER_BYTES) for entry in entries]
    return encode_index(PackInfo(PackId.of(b"pack"), True, entries[-1].end, len(entries)), entries)


def _raw_index() -> bytes:
    builder = RawIndexBuilder()
    for number in range(3):
        builder.append(bytes([2 - number]) * 32, number * 70_000, 70_000, number)
    return builder.encode(PackInfo(PackId.of(b"raw"), True, 210_000, 3, is_raw=True))


def _seal_tail(data: bytes) -> bytes:
    return data[:-8] + xxh3_64_intdigest(data[:-8]).to_bytes(8, "little")


def _seal_head(data: bytes) -> bytes:
    return xxh3_64_intdigest(data[8:]).to_bytes(8, "little") + data[8:]


def _recipe() -> bytes:
    builder = RecipeBuilder()
    for number in range(3):
        builder.append(bytes([number]) * 32, 70_000)
    return builder.encode()


def _records() -> list[bytes]:
    data, entries = encode_records(_RECORDS)
    return [data[entry.offset : entry.end] for entry in entries]


_RUN = Run(PlanId(bytes(32)), ("a",), "", "/p", Code(None, False, TreeId(bytes(32)))).with_plan()
_OBJECTS = [
    Commit(code_sha="0" * 40, code_tree=None, paths=tuple(_LINES), message="first").encode(),
    _RUN.encode(),
]

PARSERS = {
    "config": Parser(decode_config, [b'[project]\nid = "00"\n\n[remote]\nurl = "s3://a/b"\n']),
    "index": Parser(_parse_index, [_index(), _raw_index()], _seal_tail),
    "journal": Parser(
        _parse_journal, [encode_lock(Lock({line.path: line for line in _LINES})).replace(b"lock", b"saved")]
    ),
    "lock": Parser(decode_lock, [encode_lock(Lock({line.path: line for line in _LINES}))]),
    "object": Parser(decode_object, _OBJECTS),
    "pack": Parser(decode_pack_header, [encode_pack_header(is_data=True)]),
    "recipe": Parser(lambda data: list(Recipe(data).chunks()), [_recipe()]),
    "record": Parser(_parse_record, _records(), _seal_head),
    "series": Parser(decode_series, [encode_series({"loss": Series(("0", "1.5"), ("1e-05", "nan"))})]),
    "statcache": Parser(_parse_statcache, [_statcache()]),
    "verified": Parser(decode_verified, [encode_verified({PackId.of(b"a"): FileState(1, 2, 3, 4)})]),
    "tree": Parser(
        decode_tree,
        [
            encode_tree([]),
            encode_tree([TreeEntry(name, Kind.FILE, _BLOB, 1) for name in (b"a", b"b", b"\xffx")]),
        ],
    ),
}


def _comparing(name: str, *examples: bytes) -> Parser:
    """Compares any bytes with an example, in both directions."""

    def parse(data: bytes) -> None:
        with Unpacked(Path(tempfile.gettempdir()), most_bytes=1 << 20) as unpacked:
            for pair in ((examples[0], data), (data, examples[0])):
                before, after = (Window.of(io.BytesIO(item)) for item in pair)
                compare_windows(before, after, unpacked, name=name)

    return Parser(parse, examples)


def _zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", "[1.5, 2.5]")
        archive.writestr("b/c", "text\n" * 50)
    return buffer.getvalue()


def _tarred() -> bytes:
    info = tarfile.TarInfo("a.json")
    info.size = 3
    return info.tobuf() + b"[1]".ljust(512, b"\0") + bytes(1024)


_PICKLED = {"a": [1.5, -2, "text", b"bytes", None, (True, {1, 2})], "b": 1 << 70}
_HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1)}"
_TENSORS = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
PARSERS |= {
    "compare-csv": _comparing("a.csv", b"name,price\na,1.5\nb,2\n", b"price\n1\n"),
    "compare-gzip": _comparing("a.gz", gzip.compress(b"[1, 2]"), zlib.compress(b"text")),
    "compare-json": _comparing("a.json", b'{"a": [1.5, {"b": null}], "c": "d"}'),
    "compare-lightgbm": _comparing("a.txt", b"tree\nversion=v4\n\nTree=0\nleaf_value=1.5 2\n\n[a: 1]\n"),
    "compare-npy": _comparing(
        "a.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(_HEADER)) + _HEADER + bytes(16)
    ),
    "compare-pickle": _comparing(
        "a.pkl", *(pickle.dumps(_PICKLED, protocol) for protocol in (5, 4, 2, 1, 0))
    ),
    "compare-safetensors": _comparing("a", struct.pack("<Q", len(_TENSORS)) + _TENSORS + bytes(8)),
    "compare-tar": _comparing("a.tar", _tarred()),
    "compare-ubj": _comparing(
        "a.ubj", b"{L" + struct.pack(">q", 1) + b"a[$d#L" + struct.pack(">q", 2) + bytes(8) + b"}"
    ),
    "compare-yaml": _comparing("a.yaml", b"a: &x [1, 2.5]\nb: *x\n"),
    "compare-zip": _comparing("a.zip", _zipped()),
}
