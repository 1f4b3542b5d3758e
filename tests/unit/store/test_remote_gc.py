"""Promise 6 for a remote: gc deletes nothing that commits, runs and verdicts there need, whoever pushes meanwhile."""

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlvc.errors import MlvcError, VersionError
from mlvc.model.ids import BlobId, ChunkId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Commit
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import RecordKind
from mlvc.store import push as pushing
from mlvc.store.fetch import fetch_records
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore
from mlvc.store.pack import Base, NewRecord, encode_records
from mlvc.store.pack_writer import PackWriter
from mlvc.store.push import push
from mlvc.store.remote import Remote
from mlvc.store.remote_condemned import GRACE_S, RemoteBusyError, announce, encode_condemned, read_lists
from mlvc.store.remote_files import DirectoryFiles, RemoteDamagedError, RemoteFile, RemoteUnreachableError
from mlvc.store.remote_gc import collect_remote
from mlvc.store.remote_indexes import RemoteIndexes
from mlvc.store.remote_needs import RemoteIncompleteError
from tests.support.reporter import RecordingReporter

ROOT = Path(__file__).resolve().parent.parent.parent.parent
DAY_S = 86_400
KEEP_S = 30 * DAY_S
SHA = "a" * 40


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "far"


@pytest.fixture
def remote(folder):
    return Remote.open(str(folder))


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


@pytest.fixture
def other(tmp_path):
    return LocalStore.create(tmp_path / "other")


def cache_of(store):
    return store.layout.directory.with_name(store.layout.directory.name + "-cache")


def some_bytes(seed, size=50_000):
    return random.Random(seed).randbytes(size)


def commit(store, *seeds, message="x"):
    """Stores some blobs, the tree of them, and a commit that needs it."""
    with store.writer() as writer:
        entries = [
            TreeEntry(b"%d" % seed, Kind.FILE, writer.add_blob(some_bytes(seed)), 50_000) for seed in seeds
        ]
        tree = writer.add_tree(entries)
        line = TrackedPath(b"data", Kind.DIRECTORY, tree, len(seeds), 50_000 * len(seeds))
        return writer.add_object(Commit(code_sha=SHA, code_tree=None, paths=(line,), message=message))


def add(store, *seeds):
    """Stores blobs that nothing needs."""
    with store.writer() as writer:
        for seed in seeds:
            writer.add_blob(some_bytes(seed))


def send(store, remote):
    return push(store, remote, cache_of(store), RecordingReporter())


def age(folder, days, suffix=""):
    """Makes files older by the remote's clock."""
    for path in folder.rglob(f"*{suffix}"):
        if path.is_file():
            status = path.stat()
            os.utime(path, (status.st_atime - days * DAY_S, status.st_mtime - days * DAY_S))


def gc(store, remote, roots=(), **changes):
    return collect_remote(
        LocalStore(store.layout.directory),
        remote,
        roots,
        cache_of(store),
        RecordingReporter(),
        **{"keep_s": KEEP_S, **changes},
    )


def gc_wholly(store, remote, folder):
    """Both phases, with the time between them."""
    age(folder, 31)
    first = gc(store, remote)
    age(folder, 8, ".list")
    return first, gc(store, remote)


_FRESH = iter(range(1_000_000))


def arrived(tmp_path, remote):
    """Returns what somebody has who fetches everything."""
    fresh = LocalStore.create(tmp_path / f"fresh{next(_FRESH)}")
    listed = remote.list_packs()
    indexes = RemoteIndexes(fresh, remote, listed, cache_of(fresh))
    fetch_records(fresh, remote, listed, indexes, indexes.records(listed), RecordingReporter())
    return fresh


def has(store, *seeds):
    return [store.has_blob(BlobId.of(some_bytes(seed))) for seed in seeds]


def assert_whole(store, *seeds):
    for seed in seeds:
        assert some_bytes(seed) == store.read_blob(BlobId.of(some_bytes(seed)))


def assert_commits_are_whole(store):
    """Everything that a commit needs can be read."""
    for found in store.iter_object_ids(RecordKind.COMMIT):
        for line in store.read_object(found).paths:
            for entry in store.read_tree(line.id):
                assert BlobId.of(store.read_blob(entry.id)) == entry.id


# --------------------------------------------------------------------------------------------- what goes


def test_what_no_commit_needs_goes_in_two_phases(tmp_path, store, remote, folder):
    """Promise 6: listed when older than the keep period, deleted when the list is older than the grace period."""
    commit(store, 1)
    add(store, 2)
    send(store, remote)
    assert "nothing" == gc(store, remote).step
    age(folder, 31)

    first = gc(store, remote)
    assert ("condemned", 2) == (first.step, len(first.files))
    assert 50_000 < first.freed_bytes < 60_000
    waiting = gc(store, remote)
    assert ("waiting", first.files) == (waiting.step, waiting.files)
    assert [True, True] == has(arrived(tmp_path, remote), 1, 2)
    age(folder, 6.99, ".list")
    assert "waiting" == gc(store, remote).step
    age(folder, 0.02, ".list")

    last = gc(store, remote)

    assert ("deleted", first.files, first.freed_bytes) == (last.step, last.files, last.freed_bytes)
    fresh = arrived(tmp_path, remote)
    assert [True, False] == has(fresh, 1, 2)
    assert_commits_are_whole(fresh)
    assert [] == list((folder / "gc").iterdir())
    assert "nothing" == gc(store, remote).step


def test_a_dry_run_changes_nothing_there(store, remote, folder):
    """It tells the same, by the clock here."""
    commit(store, 1)
    add(store, 2)
    send(store, remote)
    age(folder, 31)
    before = sorted(folder.rglob("*"))

    told = gc(store, remote, now_s=time.time())

    assert before == sorted(folder.rglob("*"))
    assert gc(store, remote).files == told.files


def test_what_the_caller_needs_stays(store, remote, folder):
    """A lock that was committed by git alone has no commit object."""
    add(store, 2)
    send(store, remote)
    age(folder, 31)

    assert "nothing" == gc(store, remote, [BlobId.of(some_bytes(2)).digest]).step
    assert "condemned" == gc(store, remote).step


def test_what_is_needed_in_a_pack_that_goes_is_sent_in_another(tmp_path, store, remote, folder):
    """Where a quarter of it can go; the rest has the same bytes."""
    with store.writer() as writer:
        writer.add_blob(some_bytes(2))
        blob = writer.add_blob(some_bytes(1))
        tree = writer.add_tree([TreeEntry(b"1", Kind.FILE, blob, 50_000)])
        line = TrackedPath(b"data", Kind.DIRECTORY, tree, 1, 50_000)
        writer.add_object(Commit(code_sha=SHA, code_tree=None, paths=(line,), message="x"))
    send(store, remote)

    first, last = gc_wholly(store, remote, folder)

    assert ("deleted", first.files) == (last.step, last.files), (first, last)
    assert 40_000 < first.freed_bytes < 60_000
    fresh = arrived(tmp_path, remote)
    assert [True, False] == has(fresh, 1, 2)
    assert_commits_are_whole(fresh)
    assert not (cache_of(store) / "remote-gc").exists()


def test_of_several_copies_one_stays(tmp_path, store, other, remote, folder):
    """As two clones leave them that pushed the same at the same time."""
    commit(store, 1, 2)
    commit(other, 2, 1, 3)
    send(store, remote)
    # It has not seen the other's push.
    listed = remote.list_packs()
    for info in other.packs():
        pushing._send(other.layout, remote, info, 1, lambda _: None)
    assert len(remote.list_packs()) > len(listed)

    _, last = gc_wholly(store, remote, folder)

    assert last.freed_bytes > 100_000
    fresh = arrived(tmp_path, remote)
    assert_whole(fresh, 1, 2, 3)
    assert_commits_are_whole(fresh)


def test_halves_of_packs_go(store, remote, folder):
    """A pack without an index and an index without a pack, as killed pushes leave them; other files are left alone."""
    commit(store, 1)
    send(store, remote)
    (folder / "data" / ("0" * 64 + ".pack")).write_bytes(b"half")
    (folder / "metadata" / ("1" * 64 + ".idx")).write_bytes(b"half")
    (folder / "data" / "readme").write_bytes(b"of a person")

    _, last = gc_wholly(store, remote, folder)

    assert (f"data/{'0' * 64}.pack", f"metadata/{'1' * 64}.idx") == last.files
    assert (folder / "data" / "readme").exists()


# ----------------------------------------------------------------------------------------- who pushes then


def test_metadata_that_comes_after_the_list_spares_what_it_needs(tmp_path, store, other, remote, folder):
    """The deleting gc looks anew: data that was skipped before it was condemned is needed now."""
    commit(store, 1)
    add(store, 2)
    send(store, remote)
    age(folder, 31)
    gc(store, remote)
    commit(other, 2)
    for info in other.packs():
        if not info.is_data:
            pushing._send(other.layout, remote, info, 1, lambda _: None)
    age(folder, 8, ".list")

    last = gc(store, remote)

    assert () == last.files
    assert 2 == len(last.spared)
    assert_commits_are_whole(arrived(tmp_path, remote))


def test_a_push_after_the_list_sends_again_what_is_condemned(tmp_path, store, other, remote, folder):
    """Although it is there; and then it is younger than the list, and stays."""
    commit(store, 1)
    add(store, 2)
    send(store, remote)
    age(folder, 31)
    condemned = gc(store, remote).files
    commit(other, 2)

    send(other, remote)

    age(folder, 0.01, ".list")
    assert not read_lists(remote, remote.look())[0].dooms(condemned[0], remote.look().files) or [True] == has(
        arrived(tmp_path, remote), 2
    )
    age(folder, 8)
    gc(store, remote)
    fresh = arrived(tmp_path, remote)
    assert_whole(fresh, 1, 2)
    assert_commits_are_whole(fresh)


def test_a_push_waits_for_who_deletes(store, other, remote, monkeypatch):
    """It gives up with one error, and writes no metadata; an announcement of an hour ago is nobody's."""
    commit(store, 1)
    send(store, remote)
    name = announce(remote)
    monkeypatch.setattr(pushing, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(pushing, "_POLL_S", 0.01)
    commit(other, 2)
    before = [pack for pack, found in remote.list_packs().items() if not found.is_data]

    with pytest.raises(RemoteBusyError):
        send(other, remote)

    assert before == [pack for pack, found in remote.list_packs().items() if not found.is_data]
    folder = Path(remote.url.removeprefix("file://"))
    age(folder, 0.05, Path(name).name)
    assert send(other, remote).packs


def test_two_gcs_do_not_delete_each_others_copies(tmp_path, store, other, remote, folder):
    """Each has condemned the copy that the other counts on: both stay."""
    commit(store, 1)
    send(store, remote)
    with other.writer() as writer:
        writer.add_blob(some_bytes(1))
        writer.add_blob(b"small")
    for info in other.packs():
        pushing._send(other.layout, remote, info, 1, lambda _: None)
    age(folder, 31)
    for pack, found in remote.list_packs().items():
        if found.is_data:
            listed = encode_condemned(remote.names_of(pack, found))
            name = f"gc/{pack.hex}.list"
            remote.write_whole(name, listed)
    age(folder, 8, ".list")

    gc(store, remote)

    assert_commits_are_whole(arrived(tmp_path, remote))


def test_what_is_needed_and_not_known_stops_it(store, remote, folder):
    """A directory that is nowhere: nobody knows which data it holds."""
    add(store, 1)
    with store.writer() as writer:
        line = TrackedPath(b"data", Kind.DIRECTORY, TreeId.of(b"lost"), 1, 1)
        writer.add_object(Commit(code_sha=SHA, code_tree=None, paths=(line,), message="x"))
    send(store, remote)
    age(folder, 31)

    with pytest.raises(RemoteIncompleteError):
        gc(store, remote)


def test_every_flipped_byte_of_a_list_is_found(store, remote, folder):
    """It is named; nothing is deleted by it, and nothing is sent that counts on what it does not name."""
    add(store, 1)
    send(store, remote)
    age(folder, 31)
    gc(store, remote)
    (path,) = folder.rglob("*.list")
    good = path.read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1
        path.write_bytes(bad)
        with pytest.raises((RemoteDamagedError, VersionError)):
            read_lists(remote, remote.look())


# -------------------------------------------------------------------------------------------- killed


class Mortal(DirectoryFiles):
    """Ends like a killed process: after some changes, nothing that it is asked for happens any more."""

    def __init__(self, folder, steps):
        super().__init__(folder)
        self.steps = steps

    def _step(self):
        self.steps -= 1
        if self.steps < 0:
            raise RemoteUnreachableError("killed")

    def write(self, name, data):
        self._step()
        super().write(name, data)

    def upload(self, name, source, jobs=1):
        self._step()
        super().upload(name, source, jobs)

    def remove(self, names):
        for name in names:
            self._step()
            super().remove([name])


def garbage(store, remote, folder):
    """A remote with all kinds of garbage."""
    commit(store, 1)
    with store.writer() as writer:
        writer.add_blob(some_bytes(2))
        writer.add_blob(some_bytes(3))
    commit(store, 3, 4, message="second")
    add(store, 5)
    send(store, remote)
    (folder / "data" / ("0" * 64 + ".pack")).write_bytes(b"half")
    age(folder, 31)


@pytest.mark.parametrize("phase", ["condemning", "deleting"])
def test_killed_at_every_step(tmp_path, store, other, remote, folder, phase):
    """Promise 7: what is needed is whole, a push in between arrives, and later gcs end the work."""
    for steps in range(40):
        place = tmp_path / f"{phase}{steps}"
        here = LocalStore.create(place / "store")
        there = place / "far"
        far = Remote.open(str(there))
        garbage(here, far, there)
        if phase == "deleting":
            gc(here, far)
            age(there, 8, ".list")
        mortal = Remote(far.url, Mortal(there, steps))
        try:
            gc(here, mortal)
        except MlvcError:
            is_dead = True
        else:
            is_dead = False
        assert_commits_are_whole(arrived(place, far))
        # The announcement of the killed one is believed for an hour.
        age(there, 0.05)
        pushed = LocalStore.create(place / "other")
        commit(pushed, 5, 2, message="third")
        send(pushed, far)
        for _ in range(4):
            age(there, 40)
            gc(here, far)
            assert_commits_are_whole(arrived(place, far))
        assert_whole(arrived(place, far), 1, 2, 3, 4, 5)
        assert not (there / "data" / ("0" * 64 + ".pack")).exists()
        assert [] == [path for path in (there / "gc").iterdir() if path.suffix != ".clock"]
        if not is_dead:
            break
    assert 4 < steps < 39


CHILD = """
import os, signal, sys
from pathlib import Path
from mlvc.store.local import LocalStore
from mlvc.store.remote import Remote
from mlvc.store.remote_gc import collect_remote
from tests.support.reporter import RecordingReporter
from tests.unit.store.test_remote_gc import Mortal

class Killed(Mortal):
    def _step(self):
        self.steps -= 1
        if self.steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)

store, folder, steps = LocalStore(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
remote = Remote(folder.as_uri(), Killed(folder, steps))
collect_remote(store, remote, (), Path(sys.argv[4]), RecordingReporter(), keep_s=30 * 86_400)
"""


@pytest.mark.parametrize("steps", [4, 6])
def test_really_killed_while_deleting(tmp_path, store, remote, folder, steps):
    """SIGKILL: the announcement stays, so a push waits; in an hour it counts no more, and the next gc ends it."""
    garbage(store, remote, folder)
    gc(store, remote)
    age(folder, 8, ".list")
    arguments = [store.layout.directory, folder, str(steps), cache_of(store)]
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], cwd=ROOT, check=False)
    assert -signal.SIGKILL == done.returncode
    assert_commits_are_whole(arrived(tmp_path, remote))
    with pytest.raises(RemoteBusyError):
        gc(store, remote)
    age(folder, 0.05, ".deleting")
    assert "deleted" == gc(store, remote).step
    assert_commits_are_whole(arrived(tmp_path, remote))


# ---------------------------------------------------------------------------------------- many at once


class Crowded:
    """Files in memory, whose clock goes on by one second with every question; questions come in any order."""

    def __init__(self, seed):
        self._files = {}
        self._now = 1_000_000.0
        self._lock = threading.Lock()
        self._chance = random.Random(seed)

    def _turn(self):
        time.sleep(self._chance.random() / 500)

    def list(self):
        # Not at once: what comes or goes meanwhile is seen or not.
        found = {}
        for folder in ("data", "gc", "metadata", "mlvc"):
            self._turn()
            with self._lock:
                self._now += 1
                found |= {
                    name: RemoteFile(len(data), told)
                    for name, (data, told) in self._files.items()
                    if name.startswith(folder)
                }
        return found

    def prepare(self):
        pass

    def write(self, name, data):
        self._turn()
        with self._lock:
            self._now += 1
            self._files[name] = (bytes(data), self._now)

    def upload(self, name, source, jobs=1):
        if name.startswith("data/") and self._chance.random() < 0.4:
            # A large file on a slow line: what was there when the push began may be gone when it ends.
            until, deadline = self._now + 300, time.monotonic() + 2
            while self._now < until and time.monotonic() < deadline:
                time.sleep(0.005)
        self.write(name, source.path.read_bytes())

    def read(self, name, size_bytes, offset=0):
        with self._lock:
            if name not in self._files:
                raise RemoteUnreachableError(f"{name} is gone")
            data = self._files[name][0]
        yield data[offset : offset + size_bytes]

    def remove(self, names):
        for name in names:
            self._turn()
            with self._lock:
                self._now += 1
                self._files.pop(name, None)


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.deep) for seed in range(2, 12))]
)
def test_pushes_and_gcs_at_once(tmp_path, seed, monkeypatch):
    """Promise 6: two clones push commits that share data with garbage, two gcs delete; every commit stays whole."""
    monkeypatch.setattr(pushing, "_POLL_S", 0.002)
    files = Crowded(seed)
    remote = Remote("file:///far", files)
    failures, deleted = [], []
    stop = threading.Event()

    def work(name):
        chance = random.Random(f"{seed}{name}")
        try:
            for number in range(12):
                store = LocalStore.create(tmp_path / f"{name}{number}")
                latest = number * 10 // 3
                seeds = {chance.randrange(latest - 6, latest + 1) for _ in range(3)}
                # What is garbage now is needed in a moment. A pack for each, so that some of them are skipped.
                for each in seeds:
                    add(store, each)
                (add if chance.random() < 0.7 else commit)(store, *sorted(seeds))
                _until_done(lambda store=store: send(store, remote))
        except Exception as error:  # noqa: BLE001  # told by the test
            failures.append(error)

    def tidy(name):
        store = LocalStore.create(tmp_path / name)
        while not stop.is_set():
            try:
                # A push takes some hundred seconds of this clock from its last look to its end.
                done = collect_remote(
                    store, remote, (), cache_of(store), RecordingReporter(), keep_s=20, grace_s=120
                )
                deleted.extend(done.files if done.step == "deleted" else ())
            except (RemoteBusyError, RemoteUnreachableError, RemoteDamagedError):
                # Another one deleted what this one was about to read.
                continue
            except Exception as error:  # noqa: BLE001  # told by the test
                failures.append(error)
                return

    workers = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    tidiers = [threading.Thread(target=tidy, args=(name,)) for name in ("gc1", "gc2")]
    for thread in (*workers, *tidiers):
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    for thread in tidiers:
        thread.join()
    assert [] == failures
    assert deleted

    fresh = arrived(tmp_path, remote)
    assert_commits_are_whole(fresh)
    assert any(True for _ in fresh.iter_object_ids(RecordKind.COMMIT))


def _until_done(step):
    for _ in range(20):
        try:
            return step()
        except (RemoteBusyError, RemoteUnreachableError):
            continue
    return step()


class Meanwhile(DirectoryFiles):
    """Files on which something happens once, just before the first metadata arrives."""

    def __init__(self, root, happens):
        super().__init__(root)
        self._happens = happens

    def upload(self, name, source, jobs=1):
        if name.startswith("metadata/") and self._happens is not None:
            happens, self._happens = self._happens, None
            happens()
        super().upload(name, source, jobs)


class Deciding(DirectoryFiles):
    """Files of a gc that decided what to delete before something arrived, and deletes it afterwards."""

    def __init__(self, root):
        super().__init__(root)
        self.decided, self.arrived = threading.Event(), threading.Event()

    def remove(self, names):
        if any(name.startswith("metadata/") for name in names):
            self.decided.set()
            assert self.arrived.wait(30)
        super().remove(names)


def test_metadata_that_is_condemned_is_sent_again_before_others_name_it(
    tmp_path, store, other, remote, folder, monkeypatch
):
    """Promise 6: a gc that looked before it arrived again deletes it by its name; the push finds that, and mends it."""
    monkeypatch.setattr(pushing, "_POLL_S", 0.01)
    for each in (store, other):
        with each.writer() as writer:
            tree = writer.add_tree([TreeEntry(b"file", Kind.FILE, writer.add_blob(some_bytes(1)), 50_000)])
    send(store, remote)
    (condemned,) = [path.stem for path in (folder / "metadata").glob("*.pack")]
    age(folder, 31)
    assert "condemned" == gc(store, remote).step
    age(folder, 8, ".list")
    line = TrackedPath(b"data", Kind.DIRECTORY, tree, 1, 50_000)
    with other.writer() as writer:
        writer.add_object(Commit(code_sha=SHA, code_tree=None, paths=(line,), message="x"))
    tidying = Deciding(folder)
    ends = []
    tidier = threading.Thread(target=lambda: ends.append(gc(store, Remote(remote.url, tidying)).step))

    class Pushing(DirectoryFiles):
        def upload(self, name, source, jobs=1):
            if condemned in name and not tidying.decided.is_set():
                tidier.start()
                assert tidying.decided.wait(30)
            super().upload(name, source, jobs)

        def write(self, name, data):
            super().write(name, data)
            if name == f"metadata/{condemned}.idx":
                tidying.arrived.set()

    send(other, Remote(remote.url, Pushing(folder), jobs=1))
    tidier.join()

    assert ["deleted"] == ends
    assert_commits_are_whole(arrived(tmp_path, remote))


def metadata_of(tmp_path, remote):
    """Returns what somebody has who fetched the records and none of the data."""
    fresh = LocalStore.create(tmp_path / f"fresh{next(_FRESH)}")
    listed = remote.list_packs()
    indexes = RemoteIndexes(fresh, remote, listed, cache_of(fresh))
    metadata = [pack for pack, found in listed.items() if not found.is_data]
    fetch_records(fresh, remote, listed, indexes, indexes.records(metadata), RecordingReporter())
    return fresh


@pytest.mark.parametrize("knows_tree", [True, False])
def test_who_has_no_data_brings_what_is_condemned_before_naming_it(
    tmp_path, store, remote, folder, knows_tree
):
    """Promise 6: a clone of metadata alone commits what a colleague added; a gc deletes just before that arrives."""
    with store.writer() as writer:
        blob = writer.add_blob(some_bytes(1))
        large, size = writer.add_stream(io.BytesIO(some_bytes(2, 300_000)))
        below = writer.add_tree([TreeEntry(b"large", Kind.FILE, large, size)])
        tree = writer.add_tree(
            [TreeEntry(b"below", Kind.DIRECTORY, below, 0), TreeEntry(b"small", Kind.FILE, blob, 50_000)]
        )
    send(store, remote)
    light = metadata_of(tmp_path, remote) if knows_tree else LocalStore.create(tmp_path / "light")
    age(folder, 31)
    tidier = LocalStore.create(tmp_path / "tidier")
    assert "condemned" == gc(tidier, remote).step
    age(folder, 8, ".list")

    line = TrackedPath(b"data", Kind.DIRECTORY, tree, 2, 50_000 + size)
    with light.writer() as writer:
        writer.add_object(Commit(code_sha=SHA, code_tree=None, paths=(line,), message="x"))
    ends = []
    files = Meanwhile(folder, lambda: ends.append(gc(tidier, remote).step))
    send(light, Remote(remote.url, files))

    assert ["deleted"] == ends
    fresh = arrived(tmp_path, remote)
    assert some_bytes(1) == fresh.read_blob(blob)
    assert some_bytes(2, 300_000) == fresh.read_blob(large)


def test_the_grace_period_is_a_week():
    """As the documentation says."""
    assert 7 * DAY_S == GRACE_S


# ------------------------------------------------------------------------------------ what stays is closed


def add_in_pieces(writer, seed):
    return writer.add_stream(io.BytesIO(some_bytes(seed, 300_000)))[0]


def data_pack(store, *records):
    """Publishes a pack of exactly these records."""
    writer = PackWriter(store.layout, is_data=True)
    writer.append(*encode_records(records))
    writer.publish(contextlib.nullcontext())


def test_what_names_data_that_goes_goes_too(tmp_path, store, remote, folder):
    """However little of its pack it is: a recipe without its chunks would make every later clone look damaged."""
    with store.writer() as writer:
        unneeded = add_in_pieces(writer, 1)
        writer.flush()
        entries = [TreeEntry(b"%d" % n, Kind.FILE, writer.add_blob(b"%d" % n), 1) for n in range(500)]
        add_in_pieces(writer, 2)
        line = TrackedPath(b"data", Kind.DIRECTORY, writer.add_tree(entries), 500, 500)
        writer.add_object(Commit(code_sha=SHA, code_tree=None, paths=(line,), message="x"))
    send(store, remote)

    gc_wholly(store, remote, folder)

    fresh = arrived(tmp_path, remote)
    assert [] == list(check(fresh, RecordingReporter()))
    assert not fresh.has_blob(unneeded)
    assert_commits_are_whole(fresh)


def test_what_young_metadata_names_stays(tmp_path, store, remote, folder):
    """A tree that was pushed today and is not committed yet, of data that was there long before."""
    add(store, 1)
    send(store, remote)
    age(folder, 31)
    with store.writer() as writer:
        tree = writer.add_tree([TreeEntry(b"1", Kind.FILE, writer.add_blob(some_bytes(1)), 50_000)])
    send(store, remote)

    assert "nothing" == gc(store, remote).step

    age(folder, 31)
    age(folder, 8, ".list")
    assert "condemned" == gc(store, remote).step
    # Committed while the list waits, and pushed by who saw it.
    line = TrackedPath(b"data", Kind.DIRECTORY, tree, 1, 50_000)
    with store.writer() as writer:
        writer.add_object(Commit(code_sha=SHA, code_tree=None, paths=(line,), message="x"))
    send(store, remote)
    age(folder, 8, ".list")
    assert "deleted" == gc(store, remote).step
    assert_commits_are_whole(arrived(tmp_path, remote))


def test_chunks_that_are_deltas_of_each_other(tmp_path, store, remote, folder):
    """As clones make them that had two versions in another order: what is whole somewhere stays whole."""
    versions = [some_bytes(1) + b"%d" % number for number in range(2)]
    others = [some_bytes(number) for number in (10, 11)]
    keys = [ChunkId.of(data).digest for data in versions]
    for number, data in enumerate(versions):
        data_pack(store, NewRecord(RecordKind.CHUNK, 0, keys[number], data))
        base = Base(keys[1 - number], versions[1 - number])
        # In a pack that is larger, and needed.
        other = NewRecord(RecordKind.CHUNK, 0, ChunkId.of(others[number]).digest, others[number])
        more = NewRecord(RecordKind.CHUNK, 0, ChunkId.of(others[number] * 2).digest, others[number] * 2)
        data_pack(store, NewRecord(RecordKind.CHUNK, 0, keys[number], data, base), other, more)
    files = [*versions, *others, *(data * 2 for data in others)]
    with store.writer() as writer:
        entries = [
            TreeEntry(b"%d" % n, Kind.FILE, BlobId.of(data), len(data)) for n, data in enumerate(files)
        ]
        line = TrackedPath(
            b"data", Kind.DIRECTORY, writer.add_tree(entries), len(files), sum(map(len, files))
        )
        writer.add_object(Commit(code_sha=SHA, code_tree=None, paths=(line,), message="x"))
    send_everything(store, remote)

    for _ in range(2):
        gc_wholly(store, remote, folder)
        assert_commits_are_whole(arrived(tmp_path, remote))
    assert [] == list(check(arrived(tmp_path, remote), RecordingReporter()))
    assert "nothing" == gc_wholly(store, remote, folder)[0].step


def send_everything(store, remote):
    """Sends every pack, as pushes do that have not seen each other."""
    remote.prepare()
    pushing.send_all(store, remote, store.packs(), RecordingReporter())


def test_a_list_of_any_length_is_not_read_into_memory(store, remote, folder):
    """Of a terabyte, nothing is asked for: it is damaged, as a shorter one that is no list."""
    commit(store, 1)
    send(store, remote)
    (folder / "gc").mkdir(exist_ok=True)
    with (folder / "gc" / f"{'a' * 64}.list").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(RemoteDamagedError, match="no list of files"):
        gc(store, remote)
