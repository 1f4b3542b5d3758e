"""Reads a JUnit report as a CI system would: only if its schema and its sums are right."""

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import xmlschema

__all__ = ["read_junit"]

SCHEMA = Path(__file__).with_name("junit.xsd")
OUTCOMES = {"failures": "failure", "errors": "error", "skipped": "skipped"}


@cache
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(SCHEMA))


def read_junit(path: Path) -> ElementTree.Element:
    """Returns the root of a report, once it is what the schema asks for, and each count that of what it counts."""
    schema().validate(str(path))
    root = ElementTree.parse(path).getroot()
    for suite in root:
        cases = suite.findall("testcase")
        assert str(len(cases)) == suite.get("tests")
        for attribute, tag in OUTCOMES.items():
            assert str(len(suite.findall(f"testcase/{tag}"))) == suite.get(attribute), attribute
        spent = sum(float(case.get("time", "")) for case in cases)
        assert abs(spent - float(suite.get("time", ""))) <= 0.001 * len(cases)
    for attribute in ("tests", "failures", "errors"):
        assert str(sum(int(suite.get(attribute, "")) for suite in root)) == root.get(attribute)
    return root
