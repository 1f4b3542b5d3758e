"""Packs hashed ahead, and blobs hashed as their chunks pass by."""

import io
import random

import pytest
from blake3 import blake3

from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import BlobId, ChunkId, PackId
from mlvc.ports import RecordKind
from mlvc.store import whole_hashes
from mlvc.store.local import LocalStore
from mlvc.store.recipe import Recipe, RecipeBuilder
from mlvc.store.whole_hashes import WholeBlobs, hash_ahead, in_reading_order

CHUNKS = [random.Random(number).randbytes(1000 + number) for number in range(4)]


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


class Recipes:
    """Stands for a store that holds recipes alone."""

    def __init__(self):
        self._recipes = {}

    def add(self, chunks, lengths=None, blob=None):
        builder = RecipeBuilder()
        for number, chunk in enumerate(chunks):
            builder.append(blake3(chunk).digest(), lengths[number] if lengths else len(chunk))
        blob = blob or BlobId.of(b"".join(chunks))
        self._recipes[blob] = Recipe(builder.encode())
        return blob

    def recipe_of(self, blob):
        return self._recipes.get(blob)


def passed(recipes, blobs, order):
    wholes = WholeBlobs(recipes, blobs)
    for chunk in order:
        wholes.pass_by(blake3(chunk).digest(), chunk)
    return wholes.proven


def test_what_passes_in_its_order_is_proven():
    """Also with others in between, with chunks that two blobs share, and with one that comes several times in a row."""
    a, b, c, d = CHUNKS
    recipes = Recipes()
    one, two, zeros = recipes.add([a, b, c]), recipes.add([a, c, d]), recipes.add([b, b, b, d])
    small = BlobId.of(b"one chunk")

    assert {one, two, zeros} == passed(recipes, [one, two, zeros, small], [a, b, c, d])
    assert {one} == passed(recipes, [one, two], [a, d, b, c])


def test_what_was_not_seen_whole_is_not_proven():
    """Out of order, with a chunk missing, with wrong lengths, and chunks that make another blob than the id names."""
    a, b, c, d = CHUNKS
    recipes = Recipes()
    one = recipes.add([a, b, c])
    shifted = recipes.add([b, c], lengths=[len(b) + 1, len(c) - 1])
    other = recipes.add([c, d], blob=BlobId.of(b"something else"))

    assert set() == passed(recipes, [one], [b, a, c])
    assert set() == passed(recipes, [one], [a, b])
    assert set() == passed(recipes, [shifted, other], [b, c, d])


def test_only_so_many_wait(monkeypatch):
    """Of many blobs that are stuck, the oldest are given up, and the others go on."""
    monkeypatch.setattr(whole_hashes, "_MOST_OPEN", 2)
    first = [random.Random(10 + number).randbytes(100) for number in range(3)]
    recipes = Recipes()
    blobs = [recipes.add([chunk, CHUNKS[number]]) for number, chunk in enumerate(first)]

    assert set(blobs[1:]) == passed(recipes, blobs, [*first, *CHUNKS])


def test_packs_come_in_the_order_of_the_blob_that_they_hold(store):
    """Whatever their names are; packs with nothing of it come last."""
    data = random.Random(1).randbytes(2 << 20)
    parts, packs = [data[:700_000], data[:1_400_000], data], []
    for part in parts:
        known = {index.info.id for index in store.catalog.packs()}
        with store.writer() as writer:
            blob, _ = writer.add_stream(io.BytesIO(part))
        packs.append({index.info.id for index in store.catalog.packs() if index.info.is_data} - known)
    with store.writer() as writer:
        writer.add_blob(b"elsewhere")
    every = {index.info.id for index in store.catalog.packs() if index.info.is_data}

    order = in_reading_order(store, [blob], every)

    assert [list(new) for new in packs] == [[pack] for pack in order[:3]]
    assert sorted(every) == sorted(order)
    assert sorted(every) == in_reading_order(store, [BlobId.of(b"unknown")], every)


def test_each_pack_is_hashed_and_an_unreadable_one_is_told_where_it_comes(store):
    """One that is gone costs nothing but itself, and whoever stops early waits for no other."""
    for number in range(3):
        with store.writer() as writer:
            writer.add_blob(random.Random(number).randbytes(100_000))
    packs = [index.info.id for index in store.catalog.packs()]
    gone = PackId(bytes(32))

    found = dict(hash_ahead(store.layout, [packs[0], gone, *packs[1:]]))

    assert [pack.digest for pack in packs] == [found[pack].result()[1] for pack in packs]
    with pytest.raises(FileUnreadableError):
        found[gone].result()
    for _, hashed in hash_ahead(store.layout, packs):
        assert packs[0].digest == hashed.result()[1]
        break


def test_chunks_of_a_real_store_prove_the_blob(store):
    """Each record once, in the order of its pack."""
    data = random.Random(2).randbytes(3 << 20)
    with store.writer() as writer:
        blob, _ = writer.add_stream(io.BytesIO(data))
    wholes = WholeBlobs(store, [blob])
    for index in store.catalog.packs():
        for entry in sorted(store.catalog.iter_entries(index), key=lambda entry: entry.offset):
            if entry.kind == RecordKind.CHUNK:
                wholes.pass_by(entry.digest, store.read_chunk(ChunkId(entry.digest)))

    assert {blob} == wholes.proven
