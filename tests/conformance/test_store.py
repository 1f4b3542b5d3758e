"""What every `ports.Store` does, run over each implementation."""

import io
import random
import threading

import pytest
from blake3 import blake3

from mlvc.errors import MlvcError, NotFoundError
from mlvc.model.ids import BlobId, CommitId, RunId, TreeId
from mlvc.model.objects import Commit, Verdict
from mlvc.model.tree import Kind, TreeEntry, encode_tree
from mlvc.ports import RecordKind
from mlvc.store.errors import ObjectMissingError
from mlvc.store.local import LocalStore
from tests.support.memory_store import MemoryStore

LARGE = random.Random(1).randbytes(3_000_000)


@pytest.fixture(params=["memory", "local"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else LocalStore.create(tmp_path / "store")


def commit(message: str) -> Commit:
    return Commit(code_sha="0" * 40, code_tree=None, paths=(), message=message)


def entry(name: bytes, blob: BlobId) -> TreeEntry:
    return TreeEntry(name, Kind.FILE, blob, 1)


@pytest.mark.parametrize(
    "data", [b"", b"x", b"text " * 9_999, LARGE[:65_536], LARGE[:65_537], LARGE], ids=len
)
def test_a_blob_reads_back(store, data):
    """A blob of any size has the BLAKE3 of its bytes as id, and reads back whole, in pieces and by its size."""
    with store.writer() as writer:
        blob = writer.add_blob(data)
    assert BlobId(blake3(data).digest()) == blob
    assert store.has_blob(blob)
    assert len(data) == store.blob_size(blob)
    assert data == store.read_blob(blob)
    assert data == b"".join(store.iter_blob(blob))


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 300_000, 3_000_000])
def test_a_stream_is_stored_as_the_same_blob(store, size):
    """`add_stream` and `add_blob` agree on the id, and the length is that of the bytes that were read."""
    with store.writer() as writer:
        assert (BlobId.of(LARGE[:size]), size) == writer.add_stream(io.BytesIO(LARGE[:size]))
    assert LARGE[:size] == store.read_blob(BlobId.of(LARGE[:size]))


class Trickle:
    """A source that returns less than it is asked for, as a pipe does."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, 10_007))


def test_a_source_may_return_less_than_asked(store):
    """Short reads end nothing; only an empty one does."""
    with store.writer() as writer:
        blob, size = writer.add_stream(Trickle(LARGE))
    assert (BlobId.of(LARGE), len(LARGE)) == (blob, size)
    assert store.read_blob(blob) == LARGE


def test_a_source_that_fails_adds_nothing_and_breaks_nothing(store):
    """The error of a source reaches the caller as it is, and the store stays usable."""

    class Failing:
        def read(self, size: int) -> bytes:
            raise OSError("the disk is on fire")

    with pytest.raises(OSError, match="on fire"), store.writer() as writer:
        writer.add_stream(Failing())
    with store.writer() as writer:
        writer.add_blob(b"after")
    assert store.read_blob(BlobId.of(b"after")) == b"after"


@pytest.mark.parametrize("count", [0, 1, 50, 5_000])
def test_a_tree_reads_back(store, count):
    """A directory of any size has the BLAKE3 of its encoding as id, and reads back sorted."""
    entries = [entry(b"%05d" % number, BlobId.of(b"%d" % number)) for number in range(count)]
    with store.writer() as writer:
        tree = writer.add_tree(reversed(entries))
    assert TreeId.of(encode_tree(entries)) == tree
    assert store.has_tree(tree)
    assert entries == list(store.read_tree(tree))
    assert encode_tree(entries) == store.read_encoded_tree(tree)


def test_an_encoded_tree_is_the_same_tree(store):
    """Adding the encoding of a directory is adding the directory."""
    entries = [entry(b"%05d" % number, BlobId.of(b"%d" % number)) for number in range(50)]
    with store.writer() as writer:
        tree = writer.add_encoded_tree(encode_tree(entries))
    assert TreeId.of(encode_tree(entries)) == tree
    assert entries == list(store.read_tree(tree))


def test_many_blobs_are_asked_for_at_once(store):
    """The answer is yes only if all are here, small and large ones."""
    with store.writer() as writer:
        blobs = [writer.add_blob(b"%d" % number * size) for number in range(20) for size in (1, 200_000)]
    digests = [blob.digest for blob in blobs]
    assert store.has_blobs(digests)
    assert store.has_blobs([])
    assert not store.has_blobs([*digests, BlobId.of(b"absent").digest])


def test_a_blob_with_the_bytes_of_a_tree_is_another_object(store):
    """Ids are looked up by kind: the encoding of a tree can be stored as a blob too, large or small."""
    for count in (1, 5_000):
        entries = [entry(b"%05d" % number, BlobId.of(b"%d" % number)) for number in range(count)]
        data = encode_tree(entries)
        with store.writer() as writer:
            tree = writer.add_tree(entries)
        assert store.has_tree(tree)
        assert not store.has_blob(BlobId(tree.digest))
        with store.writer() as writer:
            assert tree.digest == writer.add_blob(data).digest
        assert data == store.read_blob(BlobId(tree.digest))
        assert entries == list(store.read_tree(tree))


def test_objects_read_back_and_are_listed_by_kind(store):
    """Commits, runs, environments and verdicts are found by id, by kind and by prefix, each once."""
    commits = [commit(f"number {number}") for number in range(20)]
    verdict = Verdict(run=RunId.of(b"run"), verdict="identical")
    for _ in range(2):
        with store.writer() as writer:
            ids = [writer.add_object(value) for value in commits]
            writer.add_object(verdict)
    assert [value.id for value in commits] == ids
    assert commits == [store.read_object(object_id) for object_id in ids]
    assert sorted(ids) == sorted(store.iter_object_ids(RecordKind.COMMIT))
    assert [verdict.id] == list(store.iter_object_ids(RecordKind.VERDICT))
    assert list(store.iter_object_ids(RecordKind.RUN)) == []
    assert all(type(object_id) is CommitId for object_id in store.iter_object_ids(RecordKind.COMMIT))


def test_a_prefix_finds_what_starts_with_it(store):
    """An even or odd number of digits selects; other kinds and other digits do not match."""
    with store.writer() as writer:
        first = writer.add_object(commit("first"))
        writer.add_object(commit("second"))
    for digits in (4, 5, 63, 64):
        assert [first] == list(store.find_by_prefix(RecordKind.COMMIT, first.hex[:digits]))
    assert list(store.find_by_prefix(RecordKind.RUN, first.hex[:8])) == []
    assert list(store.find_by_prefix(RecordKind.COMMIT, "nothex")) == []
    assert list(store.find_by_prefix(RecordKind.COMMIT, first.hex + "0")) == []


def test_what_is_missing_is_called_missing(store):
    """Every question about an object that is not there says so, naming the id."""
    blob, tree, object_id = BlobId.of(b"no"), TreeId.of(b"no"), CommitId.of(b"no")
    assert not store.has_blob(blob)
    assert not store.has_tree(tree)
    assert not store.has_object(object_id)
    for ask in (store.read_blob, store.blob_size, lambda it: list(store.iter_blob(it))):
        with pytest.raises(ObjectMissingError, match=str(blob)):
            ask(blob)
    with pytest.raises(ObjectMissingError, match=str(tree)):
        store.read_tree(tree)
    with pytest.raises(NotFoundError, match=str(object_id)):
        store.read_object(object_id)


def test_a_limit_refuses_what_is_larger(store):
    """`limit_bytes` lets through a blob of exactly that size, and names a larger one."""
    with store.writer() as writer:
        blob = writer.add_blob(b"12345")
    assert store.read_blob(blob, limit_bytes=5) == b"12345"
    with pytest.raises(MlvcError, match="5 bytes"):
        store.read_blob(blob, limit_bytes=4)


def test_nothing_is_visible_before_the_flush(store):
    """What was added can be read after `flush`, and what an exception cut off is dropped."""
    with pytest.raises(KeyError), store.writer() as writer:  # noqa: PT012  # the steps belong together
        kept = writer.add_blob(b"kept")
        assert not store.has_blob(kept)
        writer.flush()
        assert store.has_blob(kept)
        dropped = writer.add_blob(b"dropped")
        raise KeyError
    assert store.read_blob(kept) == b"kept"
    assert not store.has_blob(dropped)


def test_what_is_stored_is_not_written_again(store):
    """A second writer, and a second time in one writer, write no bytes for what is there."""
    with store.writer() as writer:
        writer.add_blob(b"a" * 1000)
        once = writer.stored_bytes
        writer.add_blob(b"a" * 1000)
        assert once == writer.stored_bytes > 0
    with store.writer() as writer:
        writer.add_blob(b"a" * 1000)
        assert writer.stored_bytes == 0


def test_two_writers_at_once(store):
    """Writers that are open at the same time lose nothing, also when both add the same."""
    with store.writer() as first, store.writer() as second:
        blobs = [writer.add_blob(b"shared %d" % n) for n in range(100) for writer in (first, second)]
        blobs.append(first.add_blob(b"only first"))
        blobs.append(second.add_blob(b"only second"))
    assert all(store.has_blob(blob) for blob in blobs)
    assert store.read_blob(BlobId.of(b"only first")) == b"only first"


def test_reading_from_several_threads(store):
    """Threads that read at the same time each get the right bytes."""
    contents = [b"%d " % number * 500 for number in range(200)]
    with store.writer() as writer:
        blobs = [writer.add_blob(content) for content in contents]
        large = writer.add_blob(LARGE)
    wrong = []

    def read() -> None:
        wrong.extend(
            blob for blob, content in zip(blobs, contents, strict=True) if store.read_blob(blob) != content
        )
        if store.read_blob(large) != LARGE:
            wrong.append(large)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
