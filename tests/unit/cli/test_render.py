"""Text and reports, without a repository."""

from xml.etree import ElementTree

import pytest

from mlvc.cli.render import plural, size, table
from mlvc.cli.report import check_report_name, write_report
from mlvc.errors import UsageError

ANSWER = {
    "verdict": "different",
    "runs": [
        {
            "id": "b3:00",
            "name": "train",
            "outputs": [
                {"path": "a", "verdict": "identical", "detail": ""},
                {"path": "b <&>", "verdict": "different", "detail": "3 of 5 lines"},
            ],
            "diagnosis": [{"cause": "unseeded", "detail": "two runs disagree"}],
        }
    ],
}


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
    assert [] == list(table(("a", "b"), []))


def test_junit_report_has_a_case_for_each_output(tmp_path):
    """A failure for each that is not identical, with detail and causes."""
    write_report(tmp_path / "v.xml", ANSWER)

    (suite,) = ElementTree.parse(tmp_path / "v.xml").getroot()

    assert ("train", "2", "1") == (suite.get("name"), suite.get("tests"), suite.get("failures"))
    same, other = suite
    assert ("a", []) == (same.get("name"), list(same))
    assert ("b <&>", "different") == (other.get("name"), other[0].get("message"))
    assert "3 of 5 lines\nunseeded: two runs disagree" == other[0].text


def test_report_of_an_unknown_kind_is_refused_before_anything_runs(tmp_path):
    """The extension tells the format."""
    with pytest.raises(UsageError, match=r"v\.pdf"):
        check_report_name(tmp_path / "v.pdf")
