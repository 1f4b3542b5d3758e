"""Tables of comma- or tab-separated values: by column and row."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator

from mlvc.model.objects import Difference
from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.tables import Table, compare_tables
from mlvc.repro.compare.windows import Window

__all__ = ["compare_csv", "is_csv"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_MOST_COLUMNS = 10_000
_MOST_LINE = 16 << 20


def is_csv(name: str) -> bool:
    """Whether a file's name says so; nothing in it does."""
    return name.endswith(tuple(_DELIMITERS))


def compare_csv(left: Window, right: Window, job: Job) -> None:
    """Compares two tables; the first row names the columns unless it holds numbers.

    Raises:
        UnfitError: One is no table in UTF-8.
    """
    count = len(job.findings)
    delimiter = _DELIMITERS[job.name[-4:]]
    try:
        before, after = _iter_rows(left, delimiter), _iter_rows(right, delimiter)
        heads = next(before, []), next(after, [])
        named = _are_names(heads[0]) and _are_names(heads[1])
        tables = [
            Table(head, rows) if named else Table([str(i + 1) for i in range(len(head))], _again(head, rows))
            for head, rows in zip(heads, (before, after), strict=True)
        ]
        compare_tables(tables[0], tables[1], job)
    except (csv.Error, UnicodeDecodeError) as exc:
        raise UnfitError(f"the table cannot be read: {exc}") from exc
    if len(job.findings) == count:
        job.findings.add(Difference(job.where, "container", rule="csv.quoting"))


def _iter_rows(window: Window, delimiter: str) -> Iterator[list[str]]:
    for row in csv.reader(_iter_lines(window), delimiter=delimiter, strict=True):
        if len(row) > _MOST_COLUMNS:
            raise UnfitError("the table has too many columns")
        yield row


def _iter_lines(window: Window) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest = ""
    for piece in window.pieces():
        *lines, rest = (rest + decoder.decode(piece)).split("\n")
        yield from (f"{line}\n" for line in lines)
        if len(rest) > _MOST_LINE:
            raise UnfitError("the table has a line that is too long")
    rest += decoder.decode(b"", final=True)
    if rest:
        yield rest


def _again(first: list[str], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    if first:
        yield first
    yield from rows


def _are_names(row: list[str]) -> bool:
    """Whether a row holds names: none twice, and none that is a number."""
    return len(set(row)) == len(row) and not any(_is_number(cell) for cell in row)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
