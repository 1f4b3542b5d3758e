"""What was seen on a remote counts for as long as no gc can have deleted it."""

import json

import pytest

from mlvc.model.ids import PackId
from mlvc.store.remote_condemned import GRACE_S
from mlvc.store.seen import BELIEVED_S, REMOTE_INDEXES, REMOTE_PACKS, is_on_a_remote, read_seen

NOW_S = 1_800_000_000
PACK = PackId.of(b"x")


def note(cache, seen):
    cache.mkdir(exist_ok=True)
    (cache / REMOTE_PACKS).write_text(json.dumps({"file:///far": seen}))


@pytest.mark.parametrize(
    ("age_s", "counts"), [(0, True), (BELIEVED_S - 1, True), (BELIEVED_S, False), (-1, False), (-1e9, False)]
)
def test_it_counts_for_less_than_the_grace_period(tmp_path, age_s, counts):
    """A look that is to come is one by a clock that was set back."""
    assert BELIEVED_S < GRACE_S
    note(tmp_path, {"time": NOW_S - age_s, "packs": {str(PACK): [True, 1, 1]}})
    assert counts is is_on_a_remote(tmp_path, PACK, NOW_S)
    assert counts is bool(read_seen(tmp_path, NOW_S))
    assert not is_on_a_remote(tmp_path, PackId.of(b"y"), NOW_S)


@pytest.mark.parametrize(
    "seen", [{str(PACK): [True, 1, 1]}, {"packs": {}}, {"time": "1", "packs": {}}, {"time": NOW_S}, [], None]
)
def test_what_is_written_otherwise_does_not_count(tmp_path, seen):
    """As an older mlvc wrote it, without a time, or as nobody did."""
    note(tmp_path, seen)
    assert {} == read_seen(tmp_path, NOW_S)
    assert not is_on_a_remote(tmp_path, PACK, NOW_S)


def test_an_index_says_nothing_of_today(tmp_path):
    """It is kept for ever."""
    (tmp_path / REMOTE_INDEXES).mkdir()
    (tmp_path / REMOTE_INDEXES / f"{PACK.hex}.idx").touch()
    assert not is_on_a_remote(tmp_path, PACK, NOW_S)
