"""Tables of rows, whatever wrote them: which columns differ, and where first. Memory does not grow with the rows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from mlvc.model.objects import Difference
from mlvc.repro.compare.arrays import SAME_VALUE
from mlvc.repro.compare.comparison import shown
from mlvc.repro.compare.jobs import Job

__all__ = ["Table", "compare_tables"]

_BITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table.

    Attributes:
        columns: Their names.
        rows: One cell for each column; a cell is compared by `==` and shown by `str`.
        dtypes: The element type of each column, where the format has types.
    """

    columns: Sequence[str]
    rows: Iterator[Sequence[Any]]
    dtypes: Sequence[str] = ()


class _Column:
    """What is known about one column so far."""

    def __init__(self) -> None:
        self.differing = 0
        self.same_values = 0
        self.first = 0
        self.values = ("", "")
        self.is_numeric = True
        self.squares = 0.0
        self.error = 0.0
        self.largest = 0.0

    def add(self, row: int, left: Any, right: Any) -> None:  # noqa: ANN401  # any cell
        number = _float(left)
        if number is not None and math.isfinite(number):
            self.squares += _square(number)
        if left == right and type(left) is type(right):
            return
        other = _float(right)
        if number is not None and other is not None:
            if number == other or (math.isnan(number) and math.isnan(other)):
                # The same number in other digits, or with another sign of zero; of NaN it is not known.
                self.same_values += not math.isnan(number)
                return
            delta = other - number
            self.error += _square(delta)
            self.largest = max(self.largest, abs(delta)) if not math.isnan(delta) else math.nan
        else:
            self.is_numeric = False
        if not self.differing:
            self.first, self.values = row, (_text(left), _text(right))
        self.differing += 1


def compare_tables(left: Table, right: Table, job: Job) -> None:
    """Adds how two tables differ: columns by name, rows by their order."""
    shared = _compare_columns(left, right, job)
    columns = {name: _Column() for name in shared}
    places = [(columns[name], left.columns.index(name), right.columns.index(name)) for name in shared]
    counts, sums = [0, 0], [0, 0]
    for number, (one, other) in enumerate(zip_longest(left.rows, right.rows), 1):
        for side, row in enumerate((one, other)):
            if row is not None:
                counts[side] += 1
                sums[side] = (sums[side] + _hash(row)) & _BITS
        if one is None or other is None:
            continue
        for column, at, other_at in places:
            column.add(number, _cell(one, at), _cell(other, other_at))
    if counts[0] != counts[1]:
        told = f"{counts[0]} rows", f"{counts[1]} rows"
        job.findings.add(Difference(job.place("rows"), "structure", *told))
    elif sums[0] == sums[1] and any(column.differing for column in columns.values()):
        differing = max(column.differing for column in columns.values())
        job.findings.add(Difference(job.place("rows"), "order", differing=differing, total=counts[0]))
        return
    dtypes = dict(zip(left.columns, left.dtypes, strict=False))
    for name, column in columns.items():
        _add(column, name, dtypes.get(name, ""), min(counts), job)


def _compare_columns(left: Table, right: Table, job: Job) -> list[str]:
    """Adds the columns that only one table has; returns the others."""
    for name in left.columns:
        if name not in right.columns:
            job.findings.add(Difference(job.place(f"column {shown(name)}"), "structure", "a column"))
    for name in right.columns:
        if name not in left.columns:
            job.findings.add(Difference(job.place(f"column {shown(name)}"), "structure", "", "a column"))
    shared = list(dict.fromkeys(name for name in left.columns if name in right.columns))
    if shared != list(dict.fromkeys(name for name in right.columns if name in left.columns)):
        job.findings.add(Difference(job.place("columns"), "order", total=len(shared)))
    types = dict(zip(right.columns, right.dtypes, strict=False))
    for name, dtype in zip(left.columns, left.dtypes, strict=False):
        if types.get(name, dtype) != dtype:
            told = shown(dtype), shown(types[name])
            job.findings.add(Difference(job.place(f"column {shown(name)}"), "structure", *told))
            shared.remove(name)
    return shared


def _add(column: _Column, name: str, dtype: str, total: int, job: Job) -> None:
    where = job.place(f"column {shown(name)}")
    if column.differing and column.is_numeric:
        norm = math.sqrt(column.error / column.squares) if column.squares else math.inf
        job.findings.add(
            Difference(
                where,
                "numeric",
                *column.values,
                dtype=dtype or "float64",
                differing=column.differing,
                total=total,
                norm=f"{norm:.3g}",
                largest=f"{column.largest:.3g}",
            )
        )
    elif column.differing:
        where = f"{where} row {column.first}"
        job.findings.add(
            Difference(where, "value", *column.values, dtype=dtype, differing=column.differing, total=total)
        )
    elif column.same_values:
        difference = Difference(
            where, "numeric", dtype=dtype or "float64", norm="0", largest="0", rule=SAME_VALUE
        )
        job.findings.add(difference)


def _cell(row: Sequence[Any], at: int) -> Any:  # noqa: ANN401  # any cell
    return row[at] if at < len(row) else None


def _float(cell: Any) -> float | None:  # noqa: ANN401  # any cell
    """Returns a number with a fraction; None for an integer, which is exact, and for anything else."""
    if isinstance(cell, float):
        return cell
    if not isinstance(cell, str) or len(cell) > 40 or cell.lstrip("+-").isdigit() or "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _square(value: float) -> float:
    return value * value


def _hash(row: Sequence[Any]) -> int:
    text = "\x1f".join(map(repr, row)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _text(cell: Any) -> str:  # noqa: ANN401  # any cell
    return "nothing" if cell is None else shown(str(cell))
