"""What the stat cache knows to be stored is not looked up again, for as long as the store has lost nothing."""

import os
import random

import pytest

from mlvc import forks
from mlvc.errors import IntegrityError
from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import BlobId, PackId
from mlvc.ports import RecordKind
from mlvc.store.local import LocalStore
from mlvc.worktree import rescan
from mlvc.worktree.statcache import StatCache
from mlvc.worktree.trees import flatten
from tests.unit.worktree.conftest import Place

FILES = 40


class AskedStore(LocalStore):
    """Notes how many blobs it is asked for."""

    asked = 0

    def has_blobs(self, digests):
        digests = list(digests)
        self.asked += len(digests)
        return super().has_blobs(digests)


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch):
    monkeypatch.setattr(forks, "processors", lambda: 2)
    monkeypatch.setattr(rescan, "_WORTH_ENTRIES", 1)


@pytest.fixture
def local(tmp_path):
    """A work tree over a store on disk, with files in two directories that were added."""
    (tmp_path / "root").mkdir()
    LocalStore.create(tmp_path / "store")
    place = Place(tmp_path / "root", AskedStore(tmp_path / "store"))
    for number in range(FILES):
        place.write(f"data/{number % 2}/{number:02}", b"file %d" % number)
    place.write("data/0/large", random.Random(1).randbytes(200_000))
    place.settle()
    place.capture("data")
    return place


def asked(place, call):
    place.store.asked = 0
    call()
    return place.store.asked


def files_of(place, entry):
    """Returns the contents of all files of an entry, read by a store that was opened anew."""
    store = LocalStore(place.store.layout.directory)
    return {
        path: store.read_blob(item.id) for path, item in flatten(store, entry) if isinstance(item.id, BlobId)
    }


def on_disk(place):
    return {
        os.fsencode(path.relative_to(place.root)): path.read_bytes()
        for path in (place.root / "data").rglob("*")
        if path.is_file()
    }


def pack_of(place, data):
    """Returns the pack that holds a small file."""
    return place.store.catalog.find(BlobId.of(data).digest, RecordKind.CHUNK).pack


def reopened(place):
    place.store = AskedStore(place.store.layout.directory)
    return place


def change(place):
    """Changes, adds and deletes files, in one of the directories."""
    place.write("data/1/01", b"changed")
    place.write("data/1/new", b"new")
    (place.root / "data/1/03").unlink()
    place.settle()


def test_nothing_is_looked_up_while_nothing_was_lost(local):
    """Neither of an unchanged directory nor of a changed one, whatever was stored since."""
    assert 0 == asked(local, lambda: local.capture("data"))
    change(local)
    entry = local.capture("data")
    assert 0 == local.store.asked
    assert on_disk(local) == files_of(local, entry)
    assert 0 == asked(reopened(local), lambda: local.capture("data"))
    assert [] == local.differences(entry)


@pytest.mark.parametrize("suffix", [".pack", ".idx"])
@pytest.mark.parametrize("also_changed", [False, True])
def test_a_pack_that_went_is_made_up_for(local, suffix, also_changed):
    """Its bytes are stored again from the files, those that changed since and those that did not."""
    change(local)
    local.capture("data")
    lost = pack_of(local, b"file 0")
    assert lost != pack_of(local, b"new")
    if also_changed:
        local.write("data/0/00", b"once more")
        local.settle()
    (local.store.layout.packs / (lost.hex + suffix)).unlink()

    entry = reopened(local).capture("data")

    assert local.store.asked
    assert on_disk(local) == files_of(local, entry)
    assert 0 == asked(reopened(local), lambda: local.capture("data"))


def test_a_damaged_index_is_no_reason_to_believe(local):
    """What only a damaged index names is not taken for stored: the error says what to do."""
    change(local)
    local.capture("data")
    index = local.store.layout.index(pack_of(local, b"file 0"))
    index.chmod(0o644)
    index.write_bytes(index.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError):
        reopened(local).capture("data")


def test_another_store_has_nothing(local, tmp_path):
    """Everything is stored there, and only there it is known to be then."""
    first = local.store.layout.directory
    change(local)
    LocalStore.create(tmp_path / "another")
    local.store = AskedStore(tmp_path / "another")
    assert on_disk(local) == files_of(local, local.capture("data"))
    assert 0 == asked(local, lambda: local.capture("data"))
    local.store = AskedStore(first)
    assert 0 < asked(local, lambda: local.capture("data"))


def test_what_status_read_is_not_stored(local):
    """A file of the same size is read to be compared; its bytes are still stored by the next add."""
    entry = local.capture("data")
    local.write("data/0/00", b"file X")
    local.settle()
    assert [(b"data/0/00", "modified")] == local.differences(entry)
    assert on_disk(local) == files_of(local, local.capture("data"))


def test_status_in_between_costs_nothing(local):
    """What it did not read it does not forget."""
    entry = local.capture("data")
    change(local)
    changes = [(b"data/1/01", "modified"), (b"data/1/03", "deleted"), (b"data/1/new", "added")]
    for _ in range(2):
        assert changes == local.differences(entry)
    assert 0 == asked(local, lambda: local.capture("data"))


def test_checkout_keeps_what_is_known(local):
    """Files that it wrote came from the store, and files that it did not touch were known; a lost pack still shows."""
    first = local.capture("data")
    change(local)
    second = local.capture("data")
    local.materialise([first], [second])
    assert [] == local.differences(first)
    assert 0 == asked(reopened(local), lambda: local.capture("data"))
    lost = pack_of(local, b"new")
    local.materialise([second], [first])
    for path in (local.store.layout.index(lost), local.store.layout.pack(lost)):
        path.unlink()
    assert on_disk(local) == files_of(local, reopened(local).capture("data"))


def test_what_could_not_be_stored_is_not_known_to_be(local, monkeypatch):
    """A failure to publish leaves nothing behind that the next add would believe."""
    change(local)

    def refuse(*_arguments, **_options):
        raise FileUnreadableError("no")

    with monkeypatch.context() as patch:
        patch.setattr("mlvc.store.writer.PackWriter.publish", refuse)
        with pytest.raises(FileUnreadableError):
            local.capture("data")
    assert on_disk(local) == files_of(local, reopened(local).capture("data"))


def test_a_tree_that_cannot_be_read_is_no_base(local):
    """The directory is encoded from its entries where the tree that it had is damaged."""
    change(local)
    pack = next(info.id for info in local.store.packs() if not info.is_data)
    path = local.store.layout.pack(pack)
    path.chmod(0o644)
    path.write_bytes(bytes(byte ^ 0x5A if at > 40 else byte for at, byte in enumerate(path.read_bytes())))
    expected = on_disk(local)

    with local.worktree.storing() as writer:
        entry = local.worktree.capture(b"data", writer)

    changed = next(item for item in local.store.read_tree(entry.id) if item.name == b"1")
    assert {
        name.rpartition(b"/")[2]: data for name, data in expected.items() if name.startswith(b"data/1/")
    } == {item.name: local.store.read_blob(item.id) for item in local.store.read_tree(changed.id)}


def test_holdings_are_the_packs_that_can_be_used(local):
    """Those of the store, and not one whose index is damaged or whose file is gone."""
    packs = {info.id for info in local.store.packs()}
    assert {pack.digest for pack in packs} == local.store.holdings()
    damaged = min(packs)
    index = local.store.layout.index(damaged)
    index.chmod(0o644)
    index.write_bytes(b"")
    assert {pack.digest for pack in packs - {damaged}} == reopened(local).store.holdings()
    assert all(PackId(digest) in packs for digest in local.store.holdings())


def test_the_cache_names_what_the_store_held(local):
    """The ids of the packs are in the file, and count for a cache that is opened anew."""
    cache = StatCache(local.state / "statcache")
    assert cache.get("data/0").is_stored
    assert cache.believe(local.store.holdings())
    assert not cache.believe(frozenset())
    assert not cache.get("data/0").is_stored
