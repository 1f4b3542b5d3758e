"""What a pull request changed, as tables that every report for people shows: metrics, data and environment. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlvc.cli.render import size

__all__ = ["ChangeTable", "change_tables"]

_FILE_COUNTS = ("files_added", "files_changed", "files_removed")
_MOST_NUMBER = 1e100  # An integer may have any number of digits.


@dataclass(frozen=True, slots=True)
class ChangeTable:
    """One table, without any markup.

    Attributes:
        title: What changed.
        headings: Of the columns.
        rows: Of cells; at least one.
        foreign: How many of the first columns hold what whoever wrote the branch has chosen; the others are numbers.
    """

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    foreign: int


def change_tables(changes: Mapping[str, Any] | None) -> Iterator[ChangeTable]:
    """Yields the tables of `changes` of `mlvc ci`, each only where there is something to say."""
    if changes is None:
        return
    tables = (
        ChangeTable(
            "Metrics",
            ("path", "metric", "before", "after", "change"),
            [
                (item["path"], item["name"], _value(item["before"]), _value(item["after"]), _step(item))
                for item in changes["metrics"]
            ],
            foreign=4,
        ),
        ChangeTable(
            "Data",
            ("path", "files added", "changed", "removed", "size before", "after"),
            [
                (
                    item["path"],
                    *("?" if item[key] is None else f"{item[key]:,}" for key in _FILE_COUNTS),
                    size(item["bytes_before"]),
                    size(item["bytes_after"]),
                )
                for item in changes["data"]
            ],
            foreign=1,
        ),
        ChangeTable(
            "Environment", ("package", "before", "after"), list(_packages(changes["environment"])), foreign=3
        ),
    )
    yield from (table for table in tables if table.rows)


def _packages(drift: Mapping[str, Any] | None) -> Iterator[tuple[str, str, str]]:
    if drift is None:
        return
    for item in [*drift["changed"], *([drift["interpreter"]] if drift["interpreter"] else [])]:
        yield item["name"], item["before"], item["after"]
    for item in drift["added"]:
        name, _, version = item.partition("==")
        yield name, "", version
    for item in drift["removed"]:
        name, _, version = item.partition("==")
        yield name, version, ""


def _value(value: Any) -> str:  # noqa: ANN401  # any JSON value
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _step(item: Mapping[str, Any]) -> str:
    """Returns by how much a number moved; nothing for what is no number."""
    before, after = item["before"], item["after"]
    if not all(type(value) in {int, float} and abs(value) < _MOST_NUMBER for value in (before, after)):
        return ""
    return f"{after - before:+.6g}"
