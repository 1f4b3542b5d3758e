"""Stores as earlier versions wrote them, whole and broken: each must be read, or refused, for ever the same way.

`tests/golden/store/` is append-only: a new format version adds a directory, and none is ever changed.
"""

import random
import shutil
from pathlib import Path

import pytest

from mlvc.model.ids import BlobId, PackId, RunId, TreeId
from mlvc.model.objects import Commit, Verdict
from mlvc.model.tree import Kind, TreeEntry, encode_tree
from mlvc.ports import RecordKind
from mlvc.store.chunking import cut, cut_stream
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore
from mlvc.store.pack import Encoding, NewRecord, encode_pack_header, encode_records
from tests.support.reporter import RecordingReporter

GOLDEN = Path(__file__).parent / "store"

SMALL = (b"", b"small", b"text that can be compressed, " * 20)
LARGE = b"".join(b"%d\n" % number for number in range(40_000))
TREE = [
    TreeEntry(b"name", Kind.FILE, BlobId.of(b"small"), 5),
    TreeEntry(b"x", Kind.EXECUTABLE, BlobId.of(b""), 0),
]
LARGE_TREE = [TreeEntry(b"%04d" % number, Kind.FILE, BlobId.of(b"small"), 5) for number in range(2_000)]
COMMIT = Commit(code_sha="0" * 40, code_tree=TreeId.of(encode_tree(TREE)), paths=(), message="golden")
VERDICT = Verdict(run=RunId.of(b"run"), verdict="identical")


NOISE = random.Random(7).randbytes(300_000)
EDITED = LARGE[:100_000] + b"an edit" + LARGE[100_000:]


@pytest.fixture
def golden(tmp_path):
    """Returns a copy of a golden store, with the empty directories that git does not keep."""

    def copy(name):
        shutil.copytree(GOLDEN / name, tmp_path / name)
        (tmp_path / name / "tmp").mkdir()
        return LocalStore(tmp_path / name)

    return copy


def test_a_store_of_version_1_is_read(golden):
    """Every kind of record and encoding that version 1 wrote reads back, and nothing is found damaged."""
    store = golden("v1")
    for data in (*SMALL, LARGE):
        assert data == store.read_blob(BlobId.of(data))
    for entries in (TREE, LARGE_TREE):
        assert entries == list(store.read_tree(TreeId.of(encode_tree(entries))))
    assert store.read_object(COMMIT.id) == COMMIT
    assert [VERDICT.id] == list(store.iter_object_ids(RecordKind.VERDICT))
    assert [info.is_data for info in sorted(store.packs(), key=lambda info: not info.is_data)] == [
        True,
        False,
    ]
    assert list(check(store, RecordingReporter())) == []


def test_deltas_of_version_1_are_read(golden):
    """Two versions of a file, the second with a chunk that is a delta of one of the first."""
    store = golden("v1-delta")
    for data in (LARGE, EDITED):
        assert data == store.read_blob(BlobId.of(data))
    assert list(check(store, RecordingReporter())) == []
    encodings = {
        entry.encoding
        for index in store.catalog.packs()
        if index.info.is_data
        for entry in store.catalog.iter_entries(index)
    }
    assert Encoding.DELTA in encodings


def test_a_raw_pack_is_read(golden):
    """A blob in a file of its own, its index of version 2, and its recipe in an ordinary pack."""
    store = golden("raw")
    assert list(check(store, RecordingReporter())) == []
    assert store.read_blob(BlobId.of(NOISE)) == NOISE
    assert store.layout.pack(PackId.of(NOISE)).read_bytes() == NOISE
    assert [info.is_raw for info in store.packs() if info.is_data] == [True]


def test_a_store_of_version_1_is_added_to(golden):
    """What version 1 stored is not stored again: ids, lookups and cuts are as they were."""
    store = golden("v1")
    with store.writer() as writer:
        for data in (*SMALL, LARGE):
            writer.add_blob(data)
        for entries in (TREE, LARGE_TREE):
            writer.add_tree(entries)
        for value in (COMMIT, VERDICT):
            writer.add_object(value)
        assert writer.stored_bytes == 0


def test_cuts_are_where_they_were():
    """Other cuts would cost the deduplication against everything stored before."""
    assert [len(chunk) for chunk in cut(LARGE)] == [
        int(line) for line in (GOLDEN / "cuts.txt").read_text().split()
    ]


@pytest.mark.parametrize("name", ["checkpoint.pt", "model.safetensors", "table.parquet"])
def test_cuts_of_known_formats_are_where_they_were(name):
    """Files that torch 2.13, safetensors 0.8 and pyarrow 26 wrote are cut at their tensors and column chunks."""
    with (GOLDEN / "cuts" / name).open("rb") as file:
        assert [len(chunk) for chunk in cut_stream(file)] == [
            int(line) for line in (GOLDEN / "cuts" / f"{name}.txt").read_text().split()
        ]


def test_raw_records_are_the_same_bytes():
    """The header of a pack and a record that is not compressed have exactly one form."""
    record = NewRecord(RecordKind.CHUNK, 0, BlobId.of(b"small").digest, b"small")
    data, _ = encode_records([record])
    assert (GOLDEN / "small.pack").read_bytes() == encode_pack_header(is_data=True) + data


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("v1-flipped-bit", ["damaged-pack", "damaged-record"]),
        ("v1-cut-short", ["damaged-pack", "damaged-record", "damaged-object"]),
        ("v1-index-missing", ["missing-index"]),
        ("v1-pack-missing", ["missing-pack", "missing-chunk"]),
        ("v1-index-damaged", ["damaged-index"]),
    ],
)
def test_a_broken_store_is_described(golden, name, kinds):
    """Each kind of damage has its name, once; the rest of the store is read, also what is behind a lost index."""
    store = golden(name)
    assert kinds == [damage.kind for damage in check(store, RecordingReporter())]
    assert list(store.read_tree(TreeId.of(encode_tree(TREE)))) == TREE
