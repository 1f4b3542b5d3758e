"""JSON and text outputs: what differs is named; the same values in another layout are equivalent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.model.objects import VERDICTS
from mlvc.repro.compare.json_values import compare_json
from mlvc.repro.compare.text_lines import compare_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_layout_and_order_are_not_content(value):
    """The same value, spaced and sorted in another way, is equivalent."""
    told = compare_json(json.dumps(value).encode(), json.dumps(value, indent=3, sort_keys=True).encode())

    assert told.verdict == "equivalent"


@pytest.mark.parametrize(
    ("before", "after", "detail"),
    [
        ('{"a": {"b": [1, 0.25]}}', '{"a": {"b": [1, 0.5]}}', "$.a.b[1]: 0.25 → 0.5"),
        ('{"a": 1}', '{"a": "1"}', '$.a: 1 → "1"'),
        ('{"a": 1}', '{"b": 1}', "$.a: 1 → nothing; $.b: nothing → 1"),
        ("[1]", "[1, 2]", "$: a list of 1 → a list of 2"),
        ("[1.0]", "[1]", "$[0]: 1.0 → 1"),
        ("[0,0,0,0]", "[1,1,1,1]", "$[0]: 0 → 1; $[1]: 0 → 1; $[2]: 0 → 1 and more"),
    ],
)
def test_what_differs_is_named(before, after, detail):
    """By its place and both values; three at most."""
    told = compare_json(before.encode(), after.encode())

    assert (told.verdict, told.detail) == ("different", detail)


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', "[" * 100_000, "{", '"\\ud800', b"\xff"])
def test_what_is_no_plain_json_is_left_to_others(text):
    """A key that stands twice, endless nesting, cut-off text: no answer, and no exception."""
    data = text if isinstance(text, bytes) else text.encode()

    assert compare_json(data, b"{}") is None


def test_text_names_the_first_line():
    """And how many more differ; control characters do not reach the terminal."""
    told = compare_text(b"a\nb\nc\n", b"a\n\x1b[1mB\nC\n")

    assert told.detail == "line 2: 'b' → '%1B[1mB', and 1 more lines"


def test_a_longer_text_is_told():
    """A line that one side lacks."""
    assert compare_text(b"a", b"a\nb").detail == "line 2: nothing → 'b'"


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_any_bytes_give_an_answer_or_none(before, after):
    """Never another exception."""
    for told in (compare_json(before, after), compare_text(before, after) if before != after else None):
        assert told is None or told.verdict in VERDICTS
