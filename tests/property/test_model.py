"""Laws of the encodings: round trips, one encoding for each value, and no other error than ours for any bytes."""

import contextlib
import dataclasses
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.errors import FormatError, MlvcError, VersionError
from mlvc.model.canonical import decode_canonical, encode_canonical
from mlvc.model.ids import BlobId, EnvironmentId, PlanId, RunId, TreeId
from mlvc.model.lock import Lock, TrackedPath, check_path, decode_lock, encode_lock
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Code, Commit, Run, decode_object
from mlvc.model.series import Series, decode_series, encode_series
from mlvc.model.tree import (
    Kind,
    TreeEntry,
    amend_tree,
    check_name,
    check_names,
    compare_trees,
    decode_tree,
    encode_tree,
    ids_below,
)

digests = st.binary(min_size=32, max_size=32)
counts = st.integers(0, (1 << 63) - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
kinds = st.sampled_from(list(Kind))


def is_allowed(check, name):
    try:
        check(name)
    except FormatError:
        return False
    return True


@given(st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([b".git", b"a\0b", b"Git~1", b"plain"]))))
def test_names_together_are_allowed_as_each_of_them_is(together):
    """Looking at all of them at once refuses what looking at each does."""
    assert is_allowed(check_names, together) is all(is_allowed(check_name, name) for name in together)


names = st.one_of(
    st.binary(min_size=1, max_size=12),
    texts.map(str.encode),
    st.sampled_from([b".gitx", b"git", b"...", b" "]),
).filter(lambda name: is_allowed(check_name, name))
paths = (
    st.lists(names, min_size=1, max_size=3).map(b"/".join).filter(lambda path: is_allowed(check_path, path))
)


@st.composite
def tree_entries(draw):
    kind = draw(kinds)
    digest = draw(digests)
    return TreeEntry(
        draw(names), kind, TreeId(digest) if kind is Kind.DIRECTORY else BlobId(digest), draw(counts)
    )


@st.composite
def tracked_paths(draw):
    entry = draw(tree_entries())
    run = draw(st.none() | digests.map(RunId))
    return TrackedPath(draw(paths), entry.kind, entry.id, draw(counts), entry.size_bytes, run)


@given(st.binary())
def test_any_name_has_a_text_that_leads_back(name):
    """Every byte string has a text form without control characters, and it decodes to the same bytes."""
    text = encode_name(name)
    assert name == decode_name(text)
    assert not {char for char in text if ord(char) < 0x20 or ord(char) == 0x7F}
    text.encode()


@given(st.text())
def test_a_text_is_a_name_or_refused(text):
    """No two texts stand for one name."""
    with contextlib.suppress(FormatError):
        assert text == encode_name(decode_name(text))


@given(st.lists(tree_entries(), max_size=8, unique_by=lambda entry: entry.name))
def test_trees_round_trip_in_any_order(entries):
    """The order of the entries does not matter, and decoding sorts them."""
    data = encode_tree(entries)
    assert data == encode_tree(reversed(entries))
    assert sorted(entries, key=lambda entry: entry.name) == list(decode_tree(data))
    directories, others = ids_below(data)
    named = {True: [], False: []}
    for entry in decode_tree(data):
        named[entry.kind is Kind.DIRECTORY].append(entry.id.digest)
    assert (named[True], named[False]) == (directories, others)


@given(st.lists(tree_entries(), max_size=3, unique_by=lambda entry: entry.name), st.data())
def test_a_changed_tree_is_another_tree_or_refused(entries, data):
    """Whatever bytes decode are the one encoding of what they decode to."""
    encoded = bytearray(encode_tree(entries))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MlvcError):
        assert bytes(encoded) == encode_tree(decode_tree(bytes(encoded)))


def decoded(decode, *data):
    """What decoding gives; None where it is refused."""
    try:
        return decode(*data)
    except MlvcError:
        return None


@given(
    st.lists(tree_entries(), max_size=8, unique_by=lambda entry: entry.name),
    st.lists(tree_entries(), max_size=3, unique_by=lambda entry: entry.name),
    st.data(),
)
def test_comparing_trees_is_decoding_both(common, others, data):
    """The difference is that of the decoded entries, and whatever the second is, it is refused by both or neither."""
    before = encode_tree(common)
    kept = data.draw(st.lists(st.sampled_from(common), unique=True) if common else st.just([]))
    after = {entry.name: entry for entry in [*kept, *others]}
    raw = [encode_tree([entry])[14:] for _, entry in sorted(after.items())]
    second = encode_tree(after.values())
    hostile = data.draw(st.sampled_from(["no", "order", "twice", "count", "byte", "cut"]))
    if hostile == "order":
        second = second[:14] + b"".join(data.draw(st.permutations(raw)))
    elif hostile == "twice" and raw:
        raw.insert(data.draw(st.integers(0, len(raw))), data.draw(st.sampled_from(raw)))
        second = second[:10] + len(raw).to_bytes(4, "little") + b"".join(raw)
    elif hostile == "count":
        second = second[:10] + data.draw(st.binary(min_size=4, max_size=4)) + second[14:]
    elif hostile == "byte":
        position = data.draw(st.integers(0, len(second) - 1))
        second = second[:position] + data.draw(st.binary(min_size=1, max_size=1)) + second[position + 1 :]
    elif hostile == "cut":
        second = second[: data.draw(st.integers(0, len(second)))]
    entries, difference = decoded(decode_tree, second), decoded(compare_trees, before, second)
    assert (entries is None) == (difference is None)
    if entries is not None and difference is not None:
        assert [entry for entry in entries if entry not in common] == difference.after
        assert [entry for entry in decode_tree(before) if entry not in entries] == difference.before
        assert len(entries) - len(difference.after) == difference.equal


@given(
    st.lists(tree_entries(), max_size=8, unique_by=lambda entry: entry.name),
    st.lists(tree_entries(), max_size=4, unique_by=lambda entry: entry.name),
    st.data(),
)
def test_amending_a_tree_is_encoding_it_anew(entries, others, data):
    """Replaced, new and removed entries, and names that are not there, give the encoding of what then is."""
    gone = data.draw(st.lists(st.sampled_from([*entries, *others]), unique=True) if entries else st.just([]))
    changes = {entry.name: (entry.kind, entry.id.digest, entry.size_bytes) for entry in others}
    changes |= {entry.name: None for entry in gone}
    after = {entry.name: entry for entry in (*entries, *others) if changes.get(entry.name, ()) is not None}
    assert encode_tree(after.values()) == amend_tree(encode_tree(entries), changes)


@pytest.mark.parametrize("lengths", [(7,), (7, 8), (3, 300), (7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 263)])
@pytest.mark.parametrize("seed", range(8))
def test_many_names_of_few_lengths(lengths, seed):
    """Names of one length, which are passed together, and others between them are told apart."""
    rng = random.Random(seed)
    names = sorted({rng.randbytes(400).hex()[: rng.choice(lengths)].encode() for _ in range(300)})
    before = [TreeEntry(name, Kind.FILE, BlobId(rng.randbytes(32)), 7) for name in names]
    gone = rng.sample(before, 3)
    other = [entry._replace(size_bytes=8) for entry in rng.sample(before, 3) if entry not in gone]
    new = [
        TreeEntry(b"g%d" % number + rng.choice(names)[2:], Kind.FILE, BlobId(bytes(32)), 9)
        for number in range(2)
    ]
    changes = {entry.name: (entry.kind, entry.id.digest, entry.size_bytes) for entry in (*other, *new)}
    changes |= {entry.name: None for entry in gone}
    kept = [entry for entry in before if entry.name not in changes]
    first, second = encode_tree(before), encode_tree([*kept, *other, *new])

    assert second == amend_tree(first, changes)
    difference = compare_trees(first, second)
    assert sorted([*other, *new]) == difference.after
    assert [entry for entry in before if entry.name in changes] == difference.before
    assert len(kept) == difference.equal


def test_amending_refuses_what_encoding_refuses():
    """A name that could reach outside, a size that does not fit, a tree that is cut short or of another version."""
    tree = encode_tree([TreeEntry(b"a", Kind.FILE, BlobId(bytes(32)), 1)])
    for name, size in ((b"..", 1), (b"x/y", 1), (b".git", 1), (b"b", -1), (b"b", 1 << 63)):
        with pytest.raises(FormatError):
            amend_tree(tree, {name: (Kind.FILE, bytes(32), size)})
    with pytest.raises(FormatError):
        amend_tree(tree[:13], {})
    with pytest.raises(VersionError):
        amend_tree(tree[:8] + b"\x02" + tree[9:], {})


@given(
    st.binary(), st.sampled_from([b"", b"MLVCTREE\x01\x00", b"MLVCTREE\x01\x00\x01\x00\x00\x00\x01\x01\x00"])
)
def test_any_bytes_are_a_tree_or_refused(data, prefix):
    """Decoding raises nothing but our errors."""
    with contextlib.suppress(MlvcError):
        decode_tree(prefix + data)


@given(st.lists(tracked_paths(), max_size=5), st.none() | digests.map(EnvironmentId))
def test_locks_round_trip(entries, environment):
    """A lock that can be written can be read, and says the same; one with nested paths cannot be written."""
    lock = Lock({entry.path: entry for entry in entries}, environment)
    nested = any(path.startswith(other + b"/") for path in lock.entries for other in lock.entries)
    try:
        data = encode_lock(lock)
    except FormatError:
        assert nested
    else:
        assert not nested
        assert lock == decode_lock(data)
        assert data.count(b"\n") == 1 + len(lock.entries) + (environment is not None)


@given(st.text(), st.sampled_from(["", "mlvc-lock 1\n", "mlvc-lock 1\nfile b3:" + "0" * 64 + " 1 1 - "]))
def test_any_text_is_a_lock_or_refused(text, prefix):
    """Reading raises nothing but our errors."""
    with contextlib.suppress(MlvcError):
        decode_lock((prefix + text).encode(errors="surrogatepass"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(texts, json_values, max_size=4))
def test_canonical_json_round_trips(value):
    """Any value without floats has one encoding, which any JSON reader understands."""
    data = encode_canonical(value)
    assert value == decode_canonical(data) == json.loads(data)
    assert data == encode_canonical(dict(reversed(value.items())))


@given(st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_an_object_or_refused(data):
    """Decoding raises nothing but our errors."""
    with contextlib.suppress(MlvcError):
        decode_object(data)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["run", "commit", "environment", "verdict"]), "version": st.just(1)},
        optional={field.name: json_values for kind in (Run, Commit) for field in dataclasses.fields(kind)},
    )
)
def test_any_json_is_an_object_or_refused(value):
    """Fields of any type raise nothing but our errors, and what decodes is canonical."""
    data = encode_canonical(value)
    with contextlib.suppress(MlvcError):
        assert data == decode_object(data).encode()


@given(
    texts,
    st.lists(tracked_paths(), max_size=3),
    texts,
    st.dictionaries(texts, texts, max_size=3),
    st.none() | st.integers(0, 99),
)
def test_runs_and_commits_round_trip(text, entries, other, variables, seed):
    """Objects decode to equal values of equal ids."""
    paths = tuple(entries)
    run = Run(
        plan=PlanId(bytes(32)),
        argv=(text, other),
        directory=other,
        project=text,
        code=Code(None, True, TreeId(bytes(32)), (other,)),
        inputs=paths,
        variables=variables,
        seed=seed,
    ).with_plan()
    commit = Commit(text, None, paths, message=other)
    for value in (run, commit):
        assert value == decode_object(value.encode())
        assert value.id == decode_object(value.encode()).id


@given(st.sampled_from(["name", "status", "started", "author"]), texts)
def test_the_plan_depends_only_on_what_determines_a_run(field, text):
    """Two runs of one plan share its id, whoever started them and however they ended."""
    run = Run(PlanId(bytes(32)), ("a",), "", "/p", Code(None, False, TreeId(bytes(32)))).with_plan()
    assert run.plan == dataclasses.replace(run, **{field: text}).with_plan().plan
    assert run.plan != dataclasses.replace(run, argv=("a", text)).with_plan().plan


@given(
    st.dictionaries(texts, st.lists(st.tuples(st.integers(), st.floats().map(repr)), max_size=5), max_size=4)
)
def test_metrics_over_steps_round_trip(metrics):
    """Every number comes back as it was written, and any value of it as the same number."""
    series = {
        name: Series(tuple(str(step) for step, _ in points), tuple(value for _, value in points))
        for name, points in metrics.items()
        if all(len(str(step)) <= 40 for step, _ in points)
    }

    assert series == decode_series(encode_series(series))
    for each in series.values():
        assert [str(float(value)) for value in each.values] == [str(value) for _, value in each.points()]
