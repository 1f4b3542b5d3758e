"""Promise 6 for the store: gc deletes nothing that is needed, in no order of events, and what it may it does delete."""

import contextlib
import io
import os
import random
import shutil

import pytest
from xxhash import xxh3_64_intdigest

from mlvc import fsio
from mlvc.errors import IntegrityError, MlvcError
from mlvc.model.ids import BlobId, PlanId, RunId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Code, Commit, Run, Verdict
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import RecordKind
from mlvc.store.condemned import condemn, execute, read_condemned
from mlvc.store.errors import DamagedFileError, ObjectMissingError
from mlvc.store.fsck import check
from mlvc.store.gc import Roots, collect
from mlvc.store.local import LocalStore
from mlvc.store.pack import Base, NewRecord, encode_records
from mlvc.store.pack_writer import PackWriter
from mlvc.store.temporaries import Temporary
from tests.support.reporter import RecordingReporter

DAY_S = 86_400
KEEP_S = 30 * DAY_S
NOW_S = 3_000_000_000
"""Later than any file that a test writes."""
LARGE = random.Random(3).randbytes(600_000)
SHA = "a" * 40


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


def reopened(store):
    return LocalStore(store.layout.directory)


def gc(store, roots=(), shas=(), *, now_s=NOW_S, keep_s=0, dry_run=False):
    """Runs gc as a process of its own would: with nothing remembered."""
    digests = [getattr(item, "digest", item) for item in roots]
    return collect(
        reopened(store),
        lambda: Roots(digests, shas),
        RecordingReporter(),
        now_s=now_s,
        keep_s=keep_s,
        dry_run=dry_run,
    )


def add_blob(store, data):
    with store.writer() as writer:
        return writer.add_blob(data)


def add_tree(store, **blobs):
    with store.writer() as writer:
        return writer.add_tree(
            TreeEntry(name.encode(), Kind.FILE, writer.add_blob(data), len(data))
            for name, data in blobs.items()
        )


def has(store, object_id):
    fresh = reopened(store)
    return fresh.has_blob(object_id) if isinstance(object_id, BlobId) else fresh.has_tree(object_id)


def assert_sound(store):
    assert list(check(reopened(store), RecordingReporter())) == []


def some_run(**changes):
    code = Code(sha=None, dirty=False, tree=TreeId.of(b"nowhere"))
    return Run(plan=PlanId.of(b""), argv=("x",), directory="", project="/p", code=code, **changes)


# ------------------------------------------------------------------------------------------- what is deleted


def test_what_nothing_needs_goes_after_the_keep_period(store):
    """Promise 6, two phases: noted first, deleted by a gc that comes after the keep period, and not a second before."""
    needed, not_needed = add_blob(store, b"needed"), add_blob(store, LARGE)

    first = gc(store, [needed], keep_s=KEEP_S)
    early = gc(store, [needed], now_s=NOW_S + KEEP_S - 1, keep_s=KEEP_S)

    assert (0, NOW_S + KEEP_S) == (first.freed_bytes, first.kept_until_s)
    assert first.kept_bytes == early.kept_bytes > len(LARGE)
    assert LARGE == reopened(store).read_blob(not_needed)

    late = gc(store, [needed], now_s=NOW_S + KEEP_S, keep_s=KEEP_S)

    assert first.kept_bytes == late.freed_bytes
    assert not has(store, not_needed)
    assert b"needed" == reopened(store).read_blob(needed)
    assert_sound(store)


def test_what_an_interrupted_fetch_left_of_a_large_pack_goes_with_gc(store):
    """A writer leaves it, for the next fetch to go on with; what one is writing just now stays in any case."""
    names = [f"{digit * 64}.part" for digit in "ab"]
    left, taken = (Temporary.take_up(store.layout.temporaries, name) for name in names)
    left.write(b"half")
    left.leave()
    add_blob(store, b"other")
    assert names == sorted(os.listdir(store.layout.temporaries))

    gc(store)

    assert names[1:] == os.listdir(store.layout.temporaries)
    assert None is Temporary.take_up(store.layout.temporaries, names[1])
    taken.discard()


def test_what_is_needed_again_has_the_whole_period_again(store):
    """The period counts from the last time that it was needed."""
    blob = add_blob(store, LARGE)
    gc(store, keep_s=KEEP_S)
    gc(store, [blob], now_s=NOW_S + 29 * DAY_S, keep_s=KEEP_S)
    gc(store, now_s=NOW_S + 31 * DAY_S, keep_s=KEEP_S)
    gc(store, now_s=NOW_S + 60 * DAY_S, keep_s=KEEP_S)

    assert has(store, blob)

    gc(store, now_s=NOW_S + 61 * DAY_S, keep_s=KEEP_S)

    assert not has(store, blob)


def test_a_dry_run_tells_the_same_and_changes_nothing(store):
    """Not even the note."""
    add_blob(store, LARGE)
    before = {path: path.read_bytes() for path in store.layout.packs.iterdir()}

    told = gc(store, dry_run=True)

    assert before == {path: path.read_bytes() for path in store.layout.packs.iterdir()}
    assert not store.layout.unreached.exists()
    assert told.freed_bytes == gc(store).freed_bytes > len(LARGE)


def test_a_pack_with_much_garbage_is_rewritten_and_one_with_little_is_not(store):
    """Half of a pack goes; a hundredth of one stays, and is told."""
    with store.writer() as writer:
        half = [writer.add_blob(bytes([number]) * 7 + LARGE[:50_000]) for number in range(2)]
    with store.writer() as writer:
        most = [writer.add_blob(bytes([number + 9]) * 7 + LARGE[:50_000]) for number in range(100)]

    result = gc(store, [half[0], *most[1:]])

    assert (1, 1) == (result.packs_deleted, result.packs_written)
    assert 50_000 < result.stuck_bytes < 51_000
    assert not has(store, half[1])
    assert has(store, most[0])
    assert all(has(store, blob) for blob in (half[0], *most[1:]))
    assert_sound(store)


def test_an_empty_store_and_one_without_garbage(store):
    """Nothing to do is no error."""
    assert 0 == gc(store).freed_bytes
    blob = add_blob(store, b"x")
    assert 0 == gc(store, [blob]).packs_deleted


# ---------------------------------------------------------------------------------------------- what is kept


def test_the_whole_closure_of_a_root_stays(store):
    """Promise 6: tree → tree → blob → recipe → chunk; large trees too."""
    with store.writer() as writer:
        blobs = [writer.add_blob(LARGE), writer.add_blob(b"")]
        inner = writer.add_tree([TreeEntry(b"a", Kind.EXECUTABLE, blobs[0], len(LARGE))])
        large = [TreeEntry(b"%04d" % number, Kind.FILE, blobs[1], 0) for number in range(2_000)]
        outer = writer.add_tree([TreeEntry(b"in", Kind.DIRECTORY, inner, 0), *large])
    garbage = add_tree(store, garbage=b"garbage")

    gc(store, [outer])

    assert LARGE == reopened(store).read_blob(blobs[0])
    assert 2_001 == len(reopened(store).read_tree(outer))
    assert has(store, inner)
    assert not has(store, garbage)
    assert_sound(store)


def test_records_and_all_that_they_name_stay(store):
    """Promise 6: lock line → run → code, inputs and the runs that made them, log, verdicts; commit by its code SHA."""
    with store.writer() as writer:
        names = ("code", "input", "upstream input", "log", "output", "reproduced", "committed", "orphan log")
        blobs = {name: writer.add_blob(name.encode() * 9) for name in names}
        code = writer.add_tree([TreeEntry(b"train.py", Kind.FILE, blobs["code"], 36)])
        tracked = {name: TrackedPath(name.encode(), Kind.FILE, blob, 1, 9) for name, blob in blobs.items()}
        upstream = some_run(inputs=(tracked["upstream input"],), name="upstream")
        made = TrackedPath(b"input", Kind.FILE, blobs["input"], 1, 9, run=writer.add_object(upstream))
        run = some_run(inputs=(made,), outputs=(tracked["output"],), log=blobs["log"])
        run_id = writer.add_object(
            Run(**{**{name: getattr(run, name) for name in run.__slots__}, "code": Code(SHA, False, code)})
        )
        verdict = Verdict(run=run_id, verdict="identical")
        commit = Commit(code_sha=SHA, code_tree=None, paths=(tracked["committed"],), message="kept")
        gone = [
            some_run(log=blobs["orphan log"], name="orphan"),
            Verdict(run=RunId.of(b"?"), verdict="failed"),
        ]
        gone.append(Commit(code_sha="b" * 40, code_tree=None, paths=(), message="rebased away"))
        for value in (verdict, commit, *gone):
            writer.add_object(value)

    result = gc(store, [run_id], {SHA})

    fresh = reopened(store)
    assert [upstream, verdict, commit] == [fresh.read_object(item.id) for item in (upstream, verdict, commit)]
    assert {item.id for item in gone} == set(result.removed)
    assert ["orphan log", "reproduced"] == sorted(
        name for name, blob in blobs.items() if not has(store, blob)
    )
    assert_sound(store)


def test_what_is_only_too_young_protects_what_it_names(store):
    """A run of today that read data which nothing else has needed for months: both stay, for the run's period."""
    data = add_blob(store, LARGE)
    gc(store, keep_s=KEEP_S)
    later_s = NOW_S + KEEP_S
    with store.writer() as writer:
        run_id = writer.add_object(some_run(inputs=(TrackedPath(b"d", Kind.FILE, data, 1, 9),)))

    gc(store, now_s=later_s, keep_s=KEEP_S)

    assert LARGE == reopened(store).read_blob(data)

    gc(store, now_s=later_s + KEEP_S, keep_s=KEEP_S)

    assert not has(store, data)
    assert not reopened(store).has_object(run_id)


def test_no_object_stays_without_what_it_names(store):
    """A tree that looks stored is stored: the next `add` of the same directory counts on it."""
    blob = add_blob(store, LARGE)
    gc(store, keep_s=KEEP_S)
    tree = add_tree(store, name=LARGE)

    for day in range(0, 95, 5):
        gc(store, now_s=NOW_S + day * DAY_S, keep_s=KEEP_S)
        assert has(store, blob) or not has(store, tree)
    assert not has(store, tree)


def test_records_of_an_unknown_kind_are_never_deleted(store):
    """A newer mlvc knows what needs them."""
    records, entries = encode_records([NewRecord(RecordKind.VERDICT, 0, BlobId.of(b"?").digest, b"?")])
    foreign = bytearray(records)
    foreign[8] = 99
    foreign[:8] = xxh3_64_intdigest(bytes(foreign[8:])).to_bytes(8, "little")
    writer = PackWriter(store.layout, is_data=False)
    writer.append(bytes(foreign), [entries[0]._replace(kind=99)])
    pack = writer.publish(contextlib.nullcontext()).info.id

    gc(store)

    assert store.layout.pack(pack).exists()


# --------------------------------------------------------------------------------------------- what blocks it


def test_damage_in_what_must_be_followed_blocks_it(store):
    """Nobody knows what a damaged tree needs, so nothing is deleted."""
    tree, garbage = add_tree(store, name=b"needed"), add_blob(store, LARGE)
    path = store.layout.pack(store.records.find(tree.digest, RecordKind.TREE).pack)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)

    with pytest.raises(IntegrityError, match=path.name):
        gc(store, [tree])

    assert has(store, garbage)


def test_roots_that_cannot_be_read_block_it(store):
    """The error comes through, and nothing is deleted."""
    blob = add_blob(store, LARGE)

    def refuse():
        raise MlvcError("no")

    with pytest.raises(MlvcError, match="no"):
        collect(reopened(store), refuse, RecordingReporter(), now_s=NOW_S, keep_s=0)
    assert has(store, blob)


# -------------------------------------------------------------------------------------------- what happens at once


def test_whoever_uses_the_store_puts_the_deletion_off(store):
    """Gc neither waits nor deletes; afterwards it does delete."""
    blob = add_blob(store, LARGE)
    with reopened(store).in_use():
        result = gc(store)
        assert (True, 0, 0) == (result.is_put_off, result.freed_bytes, result.packs_deleted)
        assert LARGE == store.read_blob(blob)
    assert gc(store).packs_deleted
    assert not has(store, blob)


def test_what_is_named_after_the_marking_is_spared(store):
    """A lock that was written while gc was marking and copying is read before anything is deleted."""
    blob, other = add_blob(store, LARGE), add_blob(store, b"other")
    calls = []

    def roots():
        calls.append(None)
        return Roots([blob.digest] if len(calls) > 1 else [], ())

    collect(reopened(store), roots, RecordingReporter(), now_s=NOW_S, keep_s=0)

    assert 2 == len(calls)
    assert LARGE == reopened(store).read_blob(blob)
    assert not has(store, other)


def test_what_is_counted_on_after_the_marking_is_spared(store):
    """A tree that was stored meanwhile, by a command that was killed before it wrote its lock, stays whole."""
    blob = add_blob(store, LARGE)
    calls = []

    def roots():
        calls.append(None)
        if len(calls) > 1:
            with store.writer() as writer:
                tree = writer.add_tree([TreeEntry(b"name", Kind.FILE, writer.add_blob(LARGE), len(LARGE))])
            calls.append(tree)
        return Roots([], ())

    class Unlocked(LocalStore):
        """Lets the test play another process at a moment that `use` makes impossible for an honest one."""

        @contextlib.contextmanager
        def in_use(self):
            yield

    store = Unlocked(store.layout.directory)
    collect(reopened(store), roots, RecordingReporter(), now_s=NOW_S, keep_s=0)

    tree = calls[2]
    assert has(store, tree)
    assert LARGE == reopened(store).read_blob(blob)


def test_a_reader_goes_on_in_a_pack_that_was_deleted(store):
    """Promise 8: neither waits for the other. What is needed is found again; the rest is read from the open pack."""
    with store.writer() as writer:
        needed, garbage = writer.add_blob(LARGE), writer.add_blob(LARGE[::-1])
    reader, second = reopened(store), reopened(store)
    pieces = reader.iter_blob(garbage)
    first = next(pieces)
    assert second.has_blob(needed)

    gc(store, [needed])

    assert LARGE[::-1] == first + b"".join(pieces)
    assert LARGE == second.read_blob(needed)
    assert LARGE == reader.read_blob(needed)
    with pytest.raises(ObjectMissingError):
        reopened(store).read_blob(garbage)


def test_a_writer_that_was_open_looks_again(store):
    """A store that knew a blob before gc deleted it stores it again."""
    blob = add_blob(store, LARGE)
    assert store.has_blob(blob)

    gc(store)

    with store.in_use():
        assert not store.has_blob(blob)
    with store.writer() as writer:
        writer.add_blob(LARGE)
    assert LARGE == reopened(store).read_blob(blob)


# ----------------------------------------------------------------------------------------------- after a crash


def test_condemned_packs_do_not_count(store):
    """From the moment that the list is there, whichever of them is still there."""
    blob = add_blob(store, LARGE)
    packs = [info.id for info in store.packs()]
    condemn(store.layout, packs)

    fresh = reopened(store)
    assert not fresh.has_blob(blob)
    assert list(fresh.packs()) == []
    assert frozenset(packs) == read_condemned(store.layout.condemned)


def test_who_comes_next_finishes_a_deletion(store):
    """And stores the same bytes, whose packs have the names of the condemned ones, for good."""
    blob = add_blob(store, LARGE)
    packs = [info.id for info in store.packs()]
    condemn(store.layout, packs)
    store.layout.index(packs[0]).unlink()

    fresh = reopened(store)
    with fresh.writer() as writer:
        writer.add_blob(LARGE)

    assert packs == [info.id for info in fresh.packs()]
    assert not store.layout.condemned.exists()
    assert LARGE == reopened(store).read_blob(blob)


def test_a_damaged_list_of_condemned_packs_is_an_error(store):
    """Each flipped byte: which packs count is not known, so none is handed out, and the file is named."""
    add_blob(store, LARGE)
    condemn(store.layout, [info.id for info in store.packs()])
    good = store.layout.condemned.read_bytes()
    store.layout.condemned.chmod(0o644)
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1
        store.layout.condemned.write_bytes(bad)
        with pytest.raises(MlvcError, match="condemned"):
            reopened(store).packs()
    store.layout.condemned.write_bytes(good)
    execute(store.layout)
    assert not store.layout.condemned.exists()


def test_a_damaged_note_begins_the_keep_period_anew(store):
    """A flipped byte of `unreached`, wherever it stands, deletes nothing earlier."""
    blob = add_blob(store, LARGE)
    gc(store, keep_s=KEEP_S)
    good = store.layout.unreached.read_bytes()
    for position in range(0, len(good), 3):
        bad = bytearray(good)
        bad[position] ^= 0x41
        store.layout.unreached.chmod(0o644)
        store.layout.unreached.write_bytes(bad)
        with contextlib.suppress(MlvcError):
            gc(store, now_s=NOW_S + KEEP_S + 9, keep_s=KEEP_S)
        assert has(store, blob), position


def test_a_clock_that_was_ahead_keeps_nothing_for_ever(store):
    """A time that is still to come counts as now."""
    blob = add_blob(store, LARGE)
    gc(store, now_s=NOW_S + 1000 * DAY_S, keep_s=KEEP_S)
    gc(store, keep_s=KEEP_S)
    gc(store, now_s=NOW_S + KEEP_S, keep_s=KEEP_S)

    assert not has(store, blob)


@pytest.mark.parametrize("wrong_s", [-5, 0, 100])
def test_a_clock_that_is_wrong_for_a_while_takes_nothing_of_the_keep_period(store, wrong_s):
    """Also one that begins in 1970 again: what was found then is not old when the clock is right."""
    blob, before = add_blob(store, LARGE), add_blob(store, LARGE[::-1])
    for path in store.layout.packs.iterdir():
        os.utime(path, (NOW_S, NOW_S))
    gc(store, [blob], now_s=NOW_S, keep_s=KEEP_S)

    gc(store, now_s=wrong_s, keep_s=KEEP_S)
    gc(store, now_s=NOW_S + KEEP_S - 1, keep_s=KEEP_S)
    assert has(store, blob)
    assert has(store, before)

    gc(store, now_s=NOW_S + 2 * KEEP_S, keep_s=KEEP_S)
    assert not has(store, blob)


def test_a_clock_that_is_centuries_ahead_is_no_crash(store):
    """What is found then is kept for the whole period after the clock is right."""
    blob = add_blob(store, LARGE)
    gc(store, now_s=1 << 40, keep_s=KEEP_S)
    gc(store, keep_s=KEEP_S)
    gc(store, now_s=NOW_S + KEEP_S - 1, keep_s=KEEP_S)

    assert has(store, blob)


def test_a_damaged_record_that_would_be_copied_blocks_it(store):
    """Wrong bytes are not copied, and the pack that holds them is not deleted."""
    with store.writer() as writer:
        needed, garbage = writer.add_blob(b"needed"), writer.add_blob(LARGE)
    path = store.layout.pack(next(info.id for info in store.packs() if info.is_data))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"needed", b"Needed"))

    with pytest.raises(DamagedFileError, match="checksum"):
        gc(store, [needed])

    assert has(store, garbage)


def test_one_gc_waits_for_another_and_says_so(store):
    """With a message."""
    reporter = RecordingReporter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(fsio.file_lock(store.layout.gc))
        reporter.note = lambda message: (reporter.notes.append(message), stack.close())
        collect(reopened(store), lambda: Roots((), ()), reporter, now_s=NOW_S, keep_s=0)
    assert ["waiting for another gc in this store"] == reporter.notes


# ----------------------------------------------------------------------------------------- several copies


def brought(store, *contents, also=b""):
    """Puts packs of another store into this one, as a pull does; each holds one of the contents and something else."""
    other = LocalStore.create(store.layout.directory.with_name("other"))
    for number, data in enumerate(contents):
        with other.writer() as writer:
            writer.add_blob(data)
            writer.add_blob(also or bytes([number]) * 50)
    for path in other.layout.packs.iterdir():
        shutil.copy(path, store.layout.packs / path.name)
    return [bytes([number]) * 50 for number in range(len(contents))]


def copies(store, blob):
    return list(reopened(store).records.catalog.find_all(blob.digest, RecordKind.CHUNK))


def test_of_several_copies_one_stays(store):
    """Whatever packs they stand in, without any keep period, and all is there as before."""
    shared = random.Random(1).randbytes(20_000)
    blob = add_blob(store, shared)
    rest = brought(store, shared)
    roots = [blob, *map(BlobId.of, rest)]
    assert 2 == len(copies(store, blob))

    told = gc(store, roots, keep_s=KEEP_S, dry_run=True)
    done = gc(store, roots, keep_s=KEEP_S)

    assert 20_000 < told.duplicate_bytes == done.duplicate_bytes
    assert (0, ()) == (done.freed_bytes, done.removed)
    assert 1 == len(copies(store, blob))
    assert [shared, *rest] == [reopened(store).read_blob(root) for root in roots]
    assert_sound(store)
    assert 0 == gc(store, roots, keep_s=KEEP_S).packs_deleted


def test_what_remains_may_be_a_pack_that_is_there(store):
    """Promise 6: of a pack that shrinks to what another pack is, that other one stays."""
    shared = random.Random(1).randbytes(20_000)
    rest = random.Random(2).randbytes(20_000)
    blob = add_blob(store, shared)
    brought(store, shared, also=rest)
    assert 2 == len(copies(store, blob))

    done = gc(store, [blob])

    assert (1, 1) == (done.packs_deleted, len(copies(store, blob)))
    assert shared == reopened(store).read_blob(blob)
    assert not has(store, BlobId.of(rest))
    assert_sound(store)
    assert 0 == gc(store, [blob]).packs_deleted


def test_the_copy_that_stays_is_a_good_one(store):
    """Promises 3 and 6: the copy that would stay is damaged, so the other one stays."""
    shared = random.Random(1).randbytes(20_000)
    blob = add_blob(store, shared)
    rest = brought(store, shared)
    index, _, entry = max(copies(store, blob), key=lambda copy: copy[0].info.size_bytes)
    path = store.layout.pack(index.info.id)
    data = bytearray(path.read_bytes())
    data[entry.end - 1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)

    gc(store, [blob, *map(BlobId.of, rest)], keep_s=KEEP_S)

    assert shared == reopened(store).read_blob(blob)


def deltas(store):
    catalog = reopened(store).records.catalog
    return [entry for index in catalog.packs() for entry in catalog.iter_entries(index) if entry.base]


def test_a_whole_copy_stays_and_a_delta_goes_with_its_base(store):
    """The bases were needed by the deltas alone, so the next gc finds them unneeded."""
    base = random.Random(1).randbytes(600_000)
    changed = b"changed".join(base[start : start + 50_000] for start in range(0, 600_000, 50_000))
    with store.writer() as writer:
        old, _ = writer.add_stream(io.BytesIO(base))
    with store.writer() as writer:
        new, _ = writer.add_stream(io.BytesIO(changed), old)
    assert deltas(store)
    brought(store, changed)

    gc(store, [new])
    gc(store, [new])

    assert [] == deltas(store)
    assert changed == reopened(store).read_blob(new)
    assert not has(store, old)
    assert_sound(store)


def data_pack(store, *chunks):
    """Publishes a pack of chunks, each the bytes and those that it is a delta of, or None."""
    records = [
        NewRecord(
            RecordKind.CHUNK,
            0,
            BlobId.of(data).digest,
            data,
            None if base is None else Base(BlobId.of(base).digest, base),
        )
        for data, base in chunks
    ]
    writer = PackWriter(store.layout, is_data=True)
    writer.append(*encode_records(records))
    writer.publish(contextlib.nullcontext())


@pytest.mark.parametrize("seed", range(6))
def test_of_deltas_of_each_other_the_whole_ones_are_copied(store, seed):
    """What only shares a pack with what is needed stays readable, although nobody needs it."""
    rng = random.Random(seed)
    shared = rng.randbytes(20_000)
    one, other = shared + b"one", shared + b"other"
    needed, *junk = (rng.randbytes(size) for size in (400_000, 30_000, 30_001, 30_002, 30_003))
    data_pack(store, (needed, None), (one + b"1", one), (other + b"1", other))
    for (data, base), rest in zip(
        ((one, None), (other, None), (one, other), (other, one)), junk, strict=True
    ):
        data_pack(store, (data, base), (rest, None))

    done = gc(store, [BlobId.of(needed)])

    assert 4 == done.packs_deleted
    assert not any(has(store, BlobId.of(rest)) for rest in junk)
    assert_sound(store)
    for data in (needed, one, other):
        assert data == reopened(store).read_blob(BlobId.of(data))
