"""Finding records among many packs, held against looking through all of them."""

import random

import pytest

from mlvc.model.ids import PackId
from mlvc.ports import RecordKind
from mlvc.store.pack import PACK_HEADER_BYTES, Encoding, Entry
from mlvc.store.pack_index import PackIndex, PackInfo, encode_index
from mlvc.store.table import Table


def an_index(number, digests, rng):
    """An index of chunks and trees; every fifth record is a delta."""
    entries, offset = [], PACK_HEADER_BYTES
    for digest in digests:
        kind = rng.choice([RecordKind.CHUNK, RecordKind.TREE])
        base = rng.randbytes(32) if rng.random() < 0.2 else b""
        encoding = Encoding.DELTA if base else Encoding.RAW
        entries.append(Entry(digest, offset, 10, 10, kind, encoding, 0, base))
        offset = entries[-1].end
    info = PackInfo(PackId(number.to_bytes(32, "big")), True, offset, len(entries))
    return PackIndex(encode_index(info, entries))


@pytest.mark.parametrize("at_once", [1, 3, 40])
@pytest.mark.parametrize("prefixes", [None, [b"same"], [b"same", b"\0\0\0\0", b"\xff\xff\xff\xff"]])
def test_whatever_is_there_is_found(at_once, prefixes):
    """Each copy in each pack, also of ids that begin alike; and nothing else."""
    rng = random.Random(5)
    digests = [
        (rng.choice(prefixes) if prefixes else rng.randbytes(4)) + rng.randbytes(28) for _ in range(200)
    ]
    indexes = [an_index(number, rng.sample(digests, rng.choice([0, 1, 30])), rng) for number in range(40)]
    table = Table()
    for start in range(0, len(indexes), at_once):
        table.add(indexes[start : start + at_once])
    absent = [digest[:4] + rng.randbytes(28) for digest in digests] + [rng.randbytes(32) for _ in range(50)]
    copies = {}
    for index in indexes:
        for number, entry in enumerate(index.entries_from(b"")):
            copies.setdefault((entry.digest, entry.kind), {})[index.info.id, number] = entry
    for kind in (RecordKind.CHUNK, RecordKind.TREE):
        for digest, place in zip(digests + absent, table.find_whole(digests + absent, kind), strict=True):
            here = copies.get((digest, kind), {})
            found = {
                (index.info.id, number)
                for index, number in table.candidates(digest)
                if index.entry_of(number, digest, kind, 0) is not None
            }
            assert here.keys() == found
            assert bool(list(table.candidates(digest))) is table.may_have(digest)
            whole = {at for at, entry in here.items() if not entry.base}
            assert bool(whole) == (place is not None)
            if place is not None:
                assert (place[0].info.id, place[1]) in whole
        asked = digests + absent
        missing = [digest for digest in asked if all(e.base for e in copies.get((digest, kind), {}).values())]
        for _ in range(3):
            assert missing == list(table.without_whole(asked, kind))
    assert {index.info.id for index in indexes} == table.names
    beginnings = {}
    for (digest, _), entries in copies.items():
        beginnings.setdefault(digest[:4], set()).update(entries)
    several = {frozenset(entries) for entries in beginnings.values() if len(entries) > 1}
    alike = [[(index.info.id, number) for index, number in group] for group in table.alike()]
    assert several == {frozenset(group) for group in alike}
    assert len(several) == len(alike)


def test_an_empty_table_has_nothing():
    """Neither a store without packs nor one of empty packs finds anything."""
    table = Table()
    table.add([])
    assert [None] == list(table.find_whole([bytes(32)], RecordKind.CHUNK))
    assert [bytes(32)] == list(table.without_whole([bytes(32)], RecordKind.CHUNK))
    assert [] == list(table.candidates(bytes(32)))
    assert not table.may_have(bytes(32))
    table.add([an_index(1, [bytes(32)], random.Random(1))])
    assert [] == list(table.without_whole([bytes(32)], RecordKind.CHUNK))
