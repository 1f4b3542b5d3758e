"""A remote in a directory: what goes there, what comes back, and what is refused."""

import contextlib
import os
import random
import threading

import pytest

from mlvc.fsio import DiskFullError
from mlvc.model.ids import PackId
from mlvc.model.tree import Kind, TreeEntry
from mlvc.store.errors import DamagedFileError, ObjectDamagedError, ObjectMissingError
from mlvc.store.fetch import fetch_records
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore, RecordKey
from mlvc.store.push import push as push_packs
from mlvc.store.remote import Remote, RemoteUrlError, RemoteVersionError, check_url
from mlvc.store.remote_files import (
    DirectoryFiles,
    RemoteDamagedError,
    RemoteMissingError,
    RemoteUnreachableError,
)
from mlvc.store.remote_indexes import RemoteIndexes
from mlvc.store.temporaries import Temporary
from tests.support.reporter import RecordingReporter

PACKS = 3


def fill(store, seed):
    """Adds one blob in several chunks and the tree that holds it; one data pack and one metadata pack."""
    with store.writer() as writer:
        data = random.Random(seed).randbytes(400_000)
        blob = writer.add_blob(data)
        writer.add_tree([TreeEntry(b"name", Kind.FILE, blob, len(data))])
    return blob, data


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


@pytest.fixture
def other(tmp_path):
    return LocalStore.create(tmp_path / "other")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "far" / "remote"


@pytest.fixture
def remote(folder):
    return Remote.open(str(folder))


@pytest.fixture
def blobs(store):
    return dict(fill(store, seed) for seed in range(PACKS))


def cache_of(store):
    return store.layout.directory.with_name(store.layout.directory.name + "-cache")


def push(store, remote, reporter):
    return push_packs(store, remote, cache_of(store), reporter)


def bring(store, remote, wanted=None, reporter=None):
    """Brings some records, or all there are."""
    listed = remote.list_packs()
    indexes = RemoteIndexes(store, remote, listed, cache_of(store))
    wanted = indexes.records(listed) if wanted is None else wanted
    moved = fetch_records(store, remote, listed, indexes, wanted, reporter or RecordingReporter())
    if indexes.damaged:
        raise RemoteDamagedError(*indexes.damaged)
    return moved


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in {".pack", ".idx"})


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


class Counting:
    """The files of a remote, with the questions counted; every call after `fail_after` writes fails."""

    def __init__(self, folder, fail_after=None):
        self._files = DirectoryFiles(folder)
        self._left = fail_after
        self._lock = threading.Lock()
        self.calls = []

    def __getattr__(self, name):
        def call(*arguments):
            with self._lock:
                self.calls.append((name, *arguments[:1]))
                if name in {"write", "upload"} and self._left is not None:
                    if self._left == 0:
                        raise RemoteUnreachableError("the cable was pulled")
                    self._left -= 1
            return getattr(self._files, name)(*arguments)

        return call


def test_everything_comes_back(store, other, remote, blobs):
    """Every blob and tree, byte for byte, and the other store has nothing to complain of."""
    assert 2 * PACKS == push(store, remote, RecordingReporter()).packs
    assert 2 * PACKS == bring(other, remote).packs

    assert blobs == {blob: other.read_blob(blob) for blob in blobs}
    assert store.packs() == other.packs()
    assert () == check(other, RecordingReporter())


class Steps(RecordingReporter):
    """Also keeps how much each step of the last operation was."""

    @contextlib.contextmanager
    def task(self, label, **described):
        self.steps = []
        with super().task(label, **described) as task:
            advance = task.advance

            def note(amount=1):
                self.steps.append(amount)
                advance(amount)

            task.advance = note
            yield task


def test_what_moves_is_told_piece_by_piece(store, other, remote):
    """A pack that takes minutes shows that it moves; in the end it is as much as was said at the beginning."""
    with store.writer() as writer:
        writer.add_blob(random.Random(5).randbytes(10 << 20))

    for move in (lambda told: push(store, remote, told), lambda told: bring(other, remote, reporter=told)):
        told = Steps()
        move(told)

        assert max(told.steps) <= 4 << 20
        assert told.tasks[-1].total == sum(told.steps) > 10 << 20


def test_second_push_is_one_question(store, folder, remote, blobs):
    """It lists, and neither reads nor writes."""
    push(store, remote, RecordingReporter())
    files = Counting(folder)

    assert (0, 0) == push(store, Remote(remote.url, files), RecordingReporter())
    assert [("list",)] == files.calls


def test_a_fetched_pack_is_not_sent_again(store, other, remote, blobs):
    """Packs keep their names wherever they go."""
    push(store, remote, RecordingReporter())
    bring(other, remote)

    assert 0 == push(other, remote, RecordingReporter()).packs


def test_data_goes_before_metadata_and_a_pack_before_its_index(store, folder, blobs):
    """Whoever sees a name on the remote can have what it names."""
    files = Counting(folder)
    push(store, Remote("file:///x", files), RecordingReporter())

    sent = [call[1] for call in files.calls if call[0] in {"write", "upload"}][1:]
    assert ["data"] * 2 * PACKS + ["metadata"] * 2 * PACKS == [name.partition("/")[0] for name in sent]
    for name in sent:
        if name.endswith(".idx"):
            assert sent.index(name.replace(".idx", ".pack")) < sent.index(name)


@pytest.mark.parametrize("writes", range(1, 4 * PACKS))
def test_interrupted_push_goes_on_where_it_stopped(store, other, folder, remote, blobs, writes):
    """What arrived counts, what did not is not visible, and nothing complete is sent twice."""
    with pytest.raises(RemoteUnreachableError):
        push(store, Remote(remote.url, Counting(folder, fail_after=writes)), RecordingReporter())
    arrived = remote.list_packs()
    again = Counting(folder)

    sent = push(store, Remote(remote.url, again), RecordingReporter())

    assert 2 * PACKS - len(arrived) == sent.packs
    assert not [
        call for call in again.calls if call[0] == "upload" and any(p.hex in call[1] for p in arrived)
    ]
    bring(other, remote)
    assert blobs == {blob: other.read_blob(blob) for blob in blobs}


PLACES = {
    ".pack": {"magic": 0, "class": 10, "checksum": 16, "kind": 24, "encoding": 25, "part": 26, "zero": 27}
    | {"stored length": 28, "length": 32, "id": 36, "first byte": 68, "last byte": -1},
    ".idx": {"magic": 0, "version": 8, "class": 10, "pack": 16, "size": 48, "entries": 56, "bases": 60}
    | {"id": 64, "offset": 96, "lengths": 100, "kind": 112, "checksum": -1},
}
CASES = [(suffix, place) for suffix, places in PLACES.items() for place in places]


@pytest.mark.parametrize("is_data", [True, False], ids=["data", "metadata"])
@pytest.mark.parametrize(("suffix", "place"), CASES)
def test_one_flipped_bit_is_found_named_and_not_stored(store, other, folder, remote, suffix, place, is_data):
    """In any file and any field: nothing of a damaged record or index is stored, and all else arrives."""
    blob, _ = fill(store, 1)
    push(store, remote, RecordingReporter())
    (path,) = (folder / ("data" if is_data else "metadata")).glob(f"*{suffix}")
    flip(path, PLACES[suffix][place] % path.stat().st_size)
    reporter = RecordingReporter()

    if suffix == ".pack" and place in {"magic", "class"}:
        # No record is hurt, so nothing is lost, and the damage is only told.
        bring(other, remote, reporter=reporter)
        (told,) = reporter.warnings
        assert path.name in told
        assert set() == other.lacking(records_in(store))
    else:
        with pytest.raises((RemoteDamagedError, RemoteVersionError)) as caught:
            bring(other, remote)
        assert f"{remote.url}/{path.relative_to(folder)}" in caught.value.message
        lost = other.lacking(records_in(store))
        if suffix == ".pack":
            assert 1 == len(lost)
        elif place == "version":
            assert records_in(store) == lost  # A newer mlvc may have written more of it.
        else:
            assert records_in(store, is_data=is_data) == lost
        if is_data:
            with pytest.raises((ObjectMissingError, ObjectDamagedError)):
                other.read_blob(blob)
    assert () == tuple(d for d in check(other, RecordingReporter()) if d.kind != "missing-chunk")
    assert all(info.id == PackId.of(other.layout.pack(info.id).read_bytes()) for info in other.packs())
    assert [] == os.listdir(other.layout.temporaries)


def records_in(store, *, is_data=None):
    return {
        RecordKey(entry.kind, entry.part, entry.digest)
        for info in store.packs()
        if is_data in {None, info.is_data}
        for entry in store.entries_of(info.id)
    }


def test_all_that_is_damaged_is_named_and_the_rest_arrives(store, other, folder, remote, blobs):
    """One round tells everything."""
    push(store, remote, RecordingReporter())
    hurt = [path for path in files_of(folder / "data") if path.suffix == ".pack"][:2]
    for path in hurt:
        flip(path, 100)

    with pytest.raises(RemoteDamagedError) as caught:
        bring(other, remote)

    assert {path.name for path in hurt} == {name.rpartition("/")[2] for name in caught.value.names}
    assert caught.value.records == other.lacking(records_in(store))
    assert 2 == len(caught.value.records)


def test_a_damaged_record_is_found_in_another_pack(store, other, folder, remote):
    """Two stores pushed the same chunk; the damage is told, and nothing is lost."""
    blob, data = fill(store, 1)
    push(store, remote, RecordingReporter())
    with other.writer() as writer:
        writer.add_blob(b"something before it, so that the pack is another")
        writer.add_blob(data)
    push(other, remote, RecordingReporter())
    assert 2 == len(list((folder / "data").glob("*.pack")))
    wanted = records_in(store)
    pack, owner = min((info.id, each) for each in (store, other) for info in each.packs() if info.is_data)
    entry = next(e for e in owner.entries_of(pack) if RecordKey(e.kind, e.part, e.digest) in wanted)
    flip(folder / "data" / f"{pack.hex}.pack", entry.end - 1)
    reporter = RecordingReporter()
    third = LocalStore.create(folder.parent / "third")

    bring(third, remote, wanted, reporter)

    assert data == third.read_blob(blob)
    assert 1 == len(reporter.warnings)


@pytest.mark.parametrize("suffix", [".pack", ".idx"])
def test_truncated_file_is_found_and_the_next_push_mends_it(store, other, folder, remote, blobs, suffix):
    """A listing tells the sizes, so it costs no more questions."""
    push(store, remote, RecordingReporter())
    path = next(path for path in files_of(folder) if path.suffix == suffix)
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size - 7)

    with pytest.raises(RemoteDamagedError, match=path.name):
        bring(other, remote)
    assert path.stem not in {info.id.hex for info in other.packs()}

    assert 1 == push(store, remote, RecordingReporter()).packs
    bring(other, remote)
    assert blobs == {blob: other.read_blob(blob) for blob in blobs}


@pytest.mark.parametrize("suffix", [".pack", ".idx"])
def test_wrong_bytes_are_never_pushed(store, folder, remote, blobs, suffix):
    """A damaged pack or index here is named, and nothing of it is on the remote."""
    path = next(path for path in files_of(store.layout.packs) if path.suffix == suffix)
    opened = LocalStore(store.layout.directory)
    opened.packs()
    flip(path, path.stat().st_size // 2)

    with pytest.raises(DamagedFileError, match=path.name):
        push(opened, remote, RecordingReporter())

    assert path.stem not in {file.stem for file in files_of(folder)}


def test_two_pushers_lose_nothing(store, other, folder, remote, tmp_path, blobs):
    """Stores with packs of their own and one in common push at the same time."""
    push(store, remote, RecordingReporter())
    bring(other, remote)
    blobs |= dict([fill(store, 100), fill(other, 200)])
    threads = [
        threading.Thread(target=push, args=(each, Remote.open(remote.url), RecordingReporter()))
        for each in (store, other, store, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    third = LocalStore.create(tmp_path / "third")
    bring(third, remote)

    assert 2 * (PACKS + 2) == len(third.packs())
    assert blobs == {blob: third.read_blob(blob) for blob in blobs}
    assert [] == os.listdir(folder / "tmp")


def test_indexes_tell_what_the_remote_has(store, other, remote, blobs, tmp_path):
    """Each record of a blob is found in a pack; what is nowhere is in none; no pack is read."""
    push(store, remote, RecordingReporter())
    listed = remote.list_packs()
    absent, _ = fill(other, 9)
    indexes = RemoteIndexes(other, remote, listed, tmp_path / "cache")
    for blob in blobs:
        records = set(store.records_of(blob))
        assert len(records) > 2
        assert records == set().union(*indexes.locate(records).values())
    assert {} == indexes.locate(other.records_of(absent))


@pytest.mark.parametrize("suffix", [".pack", ".idx"])
def test_what_was_cut_short_counts_as_gone_for_who_has_it(store, folder, remote, blobs, tmp_path, suffix):
    """A good copy here must not hide it."""
    push(store, remote, RecordingReporter())
    path = next(path for path in files_of(folder / "data") if path.suffix == suffix)
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size - 7)

    indexes = RemoteIndexes(store, remote, remote.list_packs(), tmp_path / "cache")

    ((name, _),) = indexes.damaged
    assert name.endswith(path.name)
    assert PackId(bytes.fromhex(path.stem)) not in indexes


def test_indexes_are_fetched_once(store, other, folder, remote, blobs, tmp_path):
    """They never change."""
    push(store, remote, RecordingReporter())
    RemoteIndexes(other, remote, remote.list_packs(), tmp_path / "cache")
    files = Counting(folder)

    RemoteIndexes(other, Remote(remote.url, files), remote.list_packs(), tmp_path / "cache")

    assert [] == files.calls


def test_progress_is_told_in_bytes(store, other, remote, blobs):
    """It ends at the total, both ways."""
    for reporter, move in ((RecordingReporter(), push), (RecordingReporter(), None)):
        if move is None:
            bring(other, remote, reporter=reporter)
        else:
            push(store, remote, reporter)
        (task,) = reporter.tasks
        assert (task.total, "bytes", True) == (task.done, task.unit, task.ended)
        assert task.done > PACKS * 400_000


def test_a_killed_pusher_leaves_nothing_that_stays(store, folder, remote, blobs):
    """Its temporary file is removed by the next push, and never listed."""
    push(store, remote, RecordingReporter())
    (folder / "tmp" / "0123456789abcdef.pack").write_bytes(b"half")
    fill(store, 7)

    push(store, remote, RecordingReporter())

    assert [] == os.listdir(folder / "tmp")


def test_missing_remote_is_said_when_fetching(remote):
    """A disk that is not mounted must not look like an empty remote."""
    with pytest.raises(RemoteMissingError, match="remote"):
        remote.list_packs()


def test_what_goes_while_it_is_listed_is_left_out(store, folder, remote, blobs):
    """As when a gc deletes a pack: the remote is there all the same."""
    push(store, remote, RecordingReporter())
    ended = threading.Event()

    def come_and_go():
        while not ended.is_set():
            for number in range(50):
                (folder / "gc" / str(number)).touch()
            for number in range(50):
                (folder / "gc" / str(number)).unlink()

    (folder / "gc").mkdir(exist_ok=True)
    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        found = {len(remote.list_packs()) for _ in range(300)}
    finally:
        ended.set()
        thread.join()

    assert {2 * PACKS} == found


def test_newer_remote_is_refused(store, folder, remote, blobs):
    """Before anything is read or written."""
    push(store, remote, RecordingReporter())
    (folder / "mlvc-remote-1").rename(folder / "mlvc-remote-2")

    with pytest.raises(RemoteVersionError, match="version 2"):
        push(store, remote, RecordingReporter())


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("/srv/models", "file:///srv/models"),
        ("/srv/a b", "file:///srv/a%20b"),
        ("file:///srv/models/", "file:///srv/models"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket/a/", "gs://bucket/a"),
        ("az://container", "az://container"),
        ("ssh://host/srv/models/", "ssh://host/srv/models"),
        ("ssh://me@host.example.org:2222/srv/models", "ssh://me@host.example.org:2222/srv/models"),
        ("ssh://[::1]:22/srv/models", "ssh://[::1]:22/srv/models"),
    ],
)
def test_urls_have_one_form(text, url):
    """The one that is written down."""
    assert url == check_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relative/path",
        "http://host/x",
        "ssh://host",
        "ssh://host/",
        "ssh:///x",
        "ssh://me:secret@host/x",
        "ssh://-oProxyCommand=x/x",
        "ssh://$(x)/x",
        "ssh://`x`@host/x",
        "ssh://host:99999/x",
        "gs:///x",
        "gs://token@bucket/x",
        "file://host/x",
        "s3:///x",
        "simplecache::s3://bucket/x",
        "zip://x.zip::s3://bucket/x",
        "s3://key:secret@bucket/x",
        "s3://bucket/x?versionId=1",
        "s3://bucket/\n",
        "s3://key:secret@bucket/x\n",
        "simplecache::s3://key:secret@bucket/x",
        "simplecache::https://bucket.host/x?X-Amz-Signature=secret",
        "https://bucket.host/x?X-Amz-Signature=secret",
        "https://bucket.host/x#secret\n",
        "me:secret@host:/srv/models",
        "s3:key:secret@bucket/x",
        "ssh:me:secret@host/x",
        "//key:secret@bucket",
        "s3://[bucket/x",
        "ssh://[::1/x",
        "ssh://host:/x]",
    ],
)
def test_other_urls_are_refused(text):
    """And no password is repeated."""
    with pytest.raises(RemoteUrlError) as caught:
        check_url(text)
    assert "secret" not in caught.value.message


def test_a_full_disk_is_said(store, other, remote, blobs, monkeypatch):
    """Nothing half is visible, and the next fetch completes it."""
    push(store, remote, RecordingReporter())
    write = Temporary.write

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Temporary, "write", full)
    with pytest.raises(DiskFullError):
        bring(other, remote)
    assert [] == list(other.packs())
    monkeypatch.setattr(Temporary, "write", write)
    bring(other, remote)
    assert blobs == {blob: other.read_blob(blob) for blob in blobs}
