"""JSON and text outputs: what differs is named; the same values in another layout are equivalent."""

import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.model.objects import VERDICTS
from mlvc.repro.compare.files import compare_windows
from mlvc.repro.compare.windows import Unpacked, Window

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def compare(before, after, name=""):
    left, right = (Window.of(io.BytesIO(data)) for data in (before, after))
    with Unpacked(Path(tempfile.gettempdir())) as unpacked:
        return compare_windows(left, right, unpacked, name=name)


@given(st.dictionaries(st.text(max_size=3), VALUES))
def test_layout_and_order_are_not_content(value):
    """The same value, spaced and sorted in another way, is equivalent."""
    told = compare(json.dumps(value).encode(), json.dumps(value, indent=3, sort_keys=True).encode() + b"\n")

    assert "equivalent" == told.verdict


@pytest.mark.parametrize(
    ("before", "after", "detail"),
    [
        ('{"a": {"b": [1, 0.25]}}', '{"a": {"b": [1, 0.5]}}', "$.a.b[1]: 0.25 → 0.5"),
        ('{"a": 1}', '{"a": "1"}', '$.a: 1 → "1"'),
        ('{"a": 1}', '{"b": 1}', "$.a: 1 → nothing; $.b: nothing → 1"),
        ("[1]", "[1, 2]", "$: a list of 1 → a list of 2"),
        ("[1.0]", "[1]", "$[0]: 1.0 → 1"),
        ("[0,0,0,0]", "[1,1,1,1]", "$[0]: 0 → 1; $[1]: 0 → 1; $[2]: 0 → 1; and 1 more"),
        ("[3, 1, 2]", "[1, 2, 3]", "$: the same in another order"),
    ],
)
def test_what_differs_is_named(before, after, detail):
    """By its place and both values; three at most."""
    told = compare(before.encode(), after.encode())

    assert "different" == told.verdict
    assert told.detail.startswith(detail)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ('{"a": 0.1}', '{"a": 0.10000000000000002}', "close"),
        ('{"a": 0.1}', '{"a": 0.100001}', "different"),
        ('{"a": 1.0}', '{"a": 1.00}', "equivalent"),
        ('{"a": NaN}', '{"a": 1.0}', "different"),
        ("[1e300, 1e300]", "[1e300, 1.0000000000000002e300]", "close"),
        ("[0.1, 0.2, 1e-17]", "[0.1, 0.2, 2e-17]", "close"),
        ('{"a": 1e999}', '{"a": -1e999}', "different"),
    ],
)
def test_rounding_is_close(before, after, verdict):
    """Numbers with a fraction are measured, those of a list together."""
    assert verdict == compare(before.encode(), after.encode()).verdict


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', "[" * 100_000, "{", '{"\\ud800', '{"a"}'])
def test_what_is_no_plain_json_is_text(text):
    """A key that stands twice, endless nesting, cut-off text: the lines are compared."""
    told = compare(text.encode(), b"{}")

    assert ("different", "line 1") == (told.verdict, told.differences[0].where)


def test_text_names_the_first_line():
    """And how many more differ; control characters do not reach the terminal."""
    told = compare(b"a\nb\nc\n", b"a\n\x1b[1mB\nC\n")

    assert "line 2: 'b' → '%1B[1mB' (2 of 4 differ)" == told.detail


def test_a_longer_text_is_told():
    """A line that one side lacks."""
    assert "line 2: nothing → 'b' (1 of 2 differ)" == compare(b"a", b"a\nb").detail


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_any_bytes_give_an_answer(before, after):
    """Never an exception."""
    assert compare(before, after).verdict in VERDICTS
    assert compare(b"{" + before, b"[" + after).verdict in VERDICTS


@pytest.mark.parametrize(
    ("before", "after", "rules"),
    [
        ("2026-01-02 03:04:05,678 INFO start", "2026-11-20T23:59:59Z INFO start", ["log.time"]),
        ("[03:04:05] loss 0.5", "[13:04:06.25] loss 0.5", ["log.time"]),
        ("epoch 1 took 0.25 s, 12.1it/s", "epoch 1 took 31 seconds, 9.97it/s", ["log.duration"]),
        ("wrote '/tmp/a1b2/part': done", "wrote '/tmp/zz/part': done", ["log.temporary-path"]),
        ("03:04:05 fit 3ms\nend", "03:04:07 fit 4ms\nend", ["log.time", "log.duration"]),
    ],
)
def test_what_is_another_one_in_every_log_does_not_count(before, after, rules):
    """Each is named, and in a file that is no log all of it counts."""
    told = compare(before.encode(), after.encode(), name="train.log")

    assert ("equivalent", rules) == (told.verdict, [item.rule for item in told.differences])
    assert "different" == compare(before.encode(), after.encode(), name="train.txt").verdict


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("03:04:05 loss 0.5", "03:04:06 loss 0.6"),
        ("took 1 s", "took 1 s\nand more"),
        ("2026-01-02 is the day", "2026-01-03 is the day"),
        ("/home/a/x", "/home/b/x"),
        ("3 shards", "4 shards"),
        ("1 s 2 s", "1 s"),
    ],
)
def test_anything_else_in_a_log_counts(before, after):
    """Numbers without a unit, days, other directories, and lines that one of them lacks."""
    assert "different" == compare(before.encode(), after.encode(), name="train.log").verdict
