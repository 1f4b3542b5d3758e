"""Outputs are compared by their content where the format is known, and nothing in them is executed."""

import io
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.model.ids import BlobId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import VERDICTS
from mlvc.model.tree import Kind, TreeEntry
from mlvc.repro.compare.files import compare_windows
from mlvc.repro.compare.outputs import compare
from mlvc.repro.compare.windows import Unpacked, Window
from tests.support.memory_store import MemoryStore


def archive(members, *, compression=zipfile.ZIP_STORED, date=(1980, 1, 1, 0, 0, 0)):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, date)
            info.compress_type = compression
            file.writestr(info, data)
    return buffer.getvalue()


@pytest.fixture
def store():
    return MemoryStore()


def tracked(store, data, path=b"out"):
    with store.writer() as writer:
        return TrackedPath(path, Kind.FILE, writer.add_blob(data), 1, len(data))


def directory(store, files):
    with store.writer() as writer:
        entries = [
            TreeEntry(name, Kind.FILE, writer.add_blob(data), len(data)) for name, data in files.items()
        ]
        return TrackedPath(b"out", Kind.DIRECTORY, writer.add_tree(entries), len(files), 0)


def test_equal_ids_are_identical_without_a_read(store, tmp_path):
    """The bytes need not even be here."""
    entry = TrackedPath(b"m", Kind.FILE, BlobId.of(b"not stored"), 1, 10)

    assert "identical" == compare(entry, entry, store, scratch=tmp_path).verdict


def test_nothing_there_is_missing(store, tmp_path):
    """An output that the command did not write."""
    verdict = compare(tracked(store, b"x"), None, store, scratch=tmp_path)

    assert ("missing", None) == (verdict.verdict, verdict.reproduced)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"date": (2026, 1, 2, 3, 4, 6)}, id="time-stamps"),
        pytest.param({"compression": zipfile.ZIP_DEFLATED}, id="compression"),
    ],
)
def test_archives_with_the_same_members_are_equivalent(store, tmp_path, other):
    """Time stamps and compression are not content."""
    members = {"a.npy": b"1" * 1000, "b.npy": b"2"}

    verdict = compare(
        tracked(store, archive(members)), tracked(store, archive(members, **other)), store, scratch=tmp_path
    )

    assert "equivalent" == verdict.verdict


def test_member_order_is_not_content(store, tmp_path):
    """The same members in another order are equivalent."""
    first = tracked(store, archive({"a": b"1", "b": b"2"}))
    second = tracked(store, archive({"b": b"2", "a": b"1"}))

    assert "equivalent" == compare(first, second, store, scratch=tmp_path).verdict


def test_the_top_directory_of_a_checkpoint_is_not_content(store, tmp_path):
    """A torch checkpoint names it after the file it was saved to."""
    first = tracked(store, archive({"model/data.pkl": b"1", "model/version": b"3"}))
    second = tracked(store, archive({"other/data.pkl": b"1", "other/version": b"3"}))

    assert "equivalent" == compare(first, second, store, scratch=tmp_path).verdict


def test_a_changed_member_is_named(store, tmp_path):
    """Different content is different, and the detail says where."""
    first = tracked(store, archive({"a": b"1", "b": b"2"}))
    second = tracked(store, archive({"a": b"1", "b": b"3", "c": b""}))

    verdict = compare(first, second, store, scratch=tmp_path)

    assert "different" == verdict.verdict
    assert {"b: line 1": "value", "c": "structure"} == {
        item.where: item.nature for item in verdict.differences
    }
    assert "b: line 1: '2' → '3'" in verdict.detail
    assert "c: nothing → 0 bytes" in verdict.detail


def test_other_bytes_are_different(store, tmp_path):
    """A format that is not known is compared by its bytes."""
    assert "different" == compare(tracked(store, b"1"), tracked(store, b"2"), store, scratch=tmp_path).verdict


def test_a_directory_is_as_bad_as_its_worst_file(store, tmp_path):
    """An equivalent and a missing file together are different; each is named."""
    first = directory(store, {b"a.npz": archive({"x": b"1"}), b"b": b"1", b"untouched": b"1"})
    second = directory(
        store, {b"a.npz": archive({"x": b"1"}, date=(1999, 1, 1, 1, 1, 0)), b"untouched": b"1"}
    )

    verdict = compare(first, second, store, scratch=tmp_path)

    assert "different" == verdict.verdict
    assert "a.npz" in verdict.detail
    assert "b: is missing" in verdict.detail
    assert "untouched" not in verdict.detail


def test_another_kind_is_different(store, tmp_path):
    """A link in the place of a file, an executable bit that is gone."""
    first = tracked(store, b"1")

    assert (
        "different" == compare(first, first._replace(kind=Kind.EXECUTABLE), store, scratch=tmp_path).verdict
    )


def test_a_bomb_is_not_unpacked_into_memory(store, tmp_path):
    """A member is hashed in pieces."""
    members = {"zeros": b"\0" * (64 << 20)}
    first = tracked(store, archive(members, compression=zipfile.ZIP_DEFLATED))
    second = tracked(store, archive(members, compression=zipfile.ZIP_DEFLATED, date=(1999, 1, 1, 1, 1, 0)))

    assert "equivalent" == compare(first, second, store, scratch=tmp_path).verdict


@given(st.binary(max_size=200), st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_hostile_archives_give_an_answer(junk, at, patch):
    """Any bytes, and any damage to a real archive, give a comparison and no other exception."""
    real = archive({"a/b": b"123" * 50, "c": b"x"}, compression=zipfile.ZIP_DEFLATED)
    damaged = real[: at % len(real)] + patch + real[at % len(real) + len(patch) :]

    for data in (junk, b"PK\x03\x04" + junk, damaged):
        with Unpacked(Path(tempfile.gettempdir())) as unpacked:
            left, right = (Window.of(io.BytesIO(item)) for item in (real, data))

            assert compare_windows(left, right, unpacked).verdict in VERDICTS
