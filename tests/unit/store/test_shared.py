"""One store for several users: whoever is in its group stores, reads and collects, under any umask."""

import os
import random

import pytest

from mlvc.model.ids import BlobId
from mlvc.store import writer
from mlvc.store.fsck import check, examine
from mlvc.store.gc import Roots, collect
from mlvc.store.local import LocalStore
from mlvc.store.registry import Registration, read_registrations
from mlvc.store.repair import mend_packs
from tests.support.reporter import RecordingReporter
from tests.support.users import GROUP, USERS, as_user, needs_users, open_way_to

LARGE = random.Random(4).randbytes(300_000)

assert writer  # Loaded now: another user may not be able to read this project.

pytestmark = needs_users


@pytest.fixture
def directory(tmp_path):
    """An empty directory of the group, made by an administrator."""
    open_way_to(tmp_path)
    path = tmp_path / "shared"
    path.mkdir()
    os.chown(path, USERS[0], GROUP)
    path.chmod(0o2770)
    return path


def test_each_reads_adds_to_and_collects_what_the_other_stored(directory, tmp_path):
    """Nothing that one user makes is closed to the other, although the umask closes everything."""

    def use(data):
        store = LocalStore.create(directory, shared=True)
        assert store.register(Registration(tmp_path, tmp_path / str(os.getuid()), tmp_path))
        with store.writer() as adding:
            adding.add_blob(data)
            adding.add_blob(LARGE)

    def look():
        store = LocalStore(directory)
        assert 2 == len(read_registrations(store.layout))
        for data in (b"of the first", b"of the second", LARGE):
            assert data == store.read_blob(BlobId.of(data))
        assert list(check(store, RecordingReporter())) == []

    def tidy():
        needed = [BlobId.of(data).digest for data in (b"of the first", LARGE)]
        store = LocalStore(directory)
        result = collect(store, lambda: Roots(needed, ()), RecordingReporter(), now_s=2_000_000_000, keep_s=0)
        assert result.packs_deleted
        assert not store.has_blob(BlobId.of(b"of the second"))

    as_user(USERS[0], lambda: use(b"of the first"))
    as_user(USERS[1], lambda: use(b"of the second"))
    for user in USERS:
        as_user(user, look)
    as_user(USERS[1], tidy)
    as_user(USERS[0], lambda: use(b"of the second"))
    for user in USERS:
        as_user(user, look)


def test_the_directory_may_be_the_administrator_s(directory):
    """Root made it for the group; whoever comes first makes the store in it, although it is not theirs."""
    os.chown(directory, 0, GROUP)

    def fill():
        with LocalStore.create(directory, shared=True).writer() as adding:
            adding.add_blob(b"x")

    for user in USERS:
        as_user(user, fill)
    assert {0o2770} == {path.stat().st_mode & 0o7777 for path in directory.iterdir() if path.is_dir()}


def test_each_repairs_after_the_other(directory):
    """What one moved aside does not keep the other from doing so."""

    def mend(data):
        store = LocalStore.create(directory, shared=True)
        with store.writer() as adding:
            adding.add_blob(data)
        (index,) = store.catalog.packs()
        path = store.layout.pack(index.info.id)
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        found = examine(store, RecordingReporter())
        assert path in [
            store.layout.packs / moved.name for moved in mend_packs(store, found, RecordingReporter())
        ]

    for user in USERS:
        as_user(user, lambda: mend(b"of %d" % os.getuid()))
    assert 4 == len(list((directory / "damaged").iterdir()))


def test_who_may_only_read_reads_and_checks(directory):
    """Also while gc is kept from deleting, for which a reader needs no permission to write."""
    directory.chmod(0o2775)

    def fill():
        os.umask(0o022)
        with LocalStore.create(directory, shared=True).writer() as adding:
            adding.add_blob(LARGE)

    def look():
        store = LocalStore(directory)
        with store.in_use():
            assert list(check(store, RecordingReporter())) == []
            assert LARGE == store.read_blob(BlobId.of(LARGE))
        assert not store.register(Registration(directory, directory, directory))

    as_user(USERS[0], fill)
    as_user(USERS[1], look, groups=())


def test_who_is_not_in_the_group_reads_no_more_than_the_directory_says(directory):
    """A directory that is closed to others stays closed; what is in it does not matter then."""
    as_user(USERS[0], lambda: LocalStore.create(directory, shared=True))

    modes = {oct(path.stat().st_mode & 0o7777) for path in (directory, *directory.iterdir()) if path.is_dir()}

    assert {"0o2770"} == modes
