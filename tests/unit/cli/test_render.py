"""Text, without a repository."""

import pytest

from mlvc.cli.render import plural, size, table


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (10**17, "100.0 PB"),
        (10**19, "10000.0 PB"),
    ],
)
def test_sizes_are_short(count, text):
    """Three digits or so, with a unit."""
    assert text == size(count)


def test_one_and_many():
    """English, as far as the commands need it."""
    assert ["0 files", "1 file", "1,000 files"] == [plural(count, "file") for count in (0, 1, 1000)]


def test_columns_are_as_wide_as_they_must_be():
    """No trailing blanks, and no heading over nothing."""
    assert ["a    b", "xxx  y"] == list(table(("a", "b"), [("xxx", "y")]))
    assert ["a         b", "x%0Ax%1B  ü y"] == list(table(("a", "b"), [("x\nx\x1b", "ü y")]))
    assert [] == list(table(("a", "b"), []))
