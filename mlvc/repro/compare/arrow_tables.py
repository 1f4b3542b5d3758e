"""Parquet, Feather and Arrow files: schema and columns, whatever the row groups. Loaded by a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlvc.model.objects import Difference
from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.tables import Table, compare_tables
from mlvc.repro.compare.windows import Window, WindowFile

__all__ = ["compare"]

_BATCH_ROWS = 4096
_NAMES = {"double": "float64", "float": "float32", "halffloat": "float16"}


class _Reader:
    """One file: its schema, its rows in batches as often as they are asked for, and what the writer called itself."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._is_parquet = window.read(0, 4) == b"PAR1"
        opened = self._open()
        self.schema = opened.schema_arrow if self._is_parquet else opened.schema
        self.rows = opened.metadata.num_rows if self._is_parquet else None
        self.writer = opened.metadata.created_by if self._is_parquet else ""

    def _open(self) -> Any:  # noqa: ANN401  # the library has no types
        file = WindowFile(self._window)
        return pq.ParquetFile(file) if self._is_parquet else pa.ipc.open_file(pa.PythonFile(file, "r"))

    def batches(self) -> Iterator[Any]:
        """Yields batches of rows, of any length."""
        opened = self._open()
        if self._is_parquet:
            yield from opened.iter_batches(_BATCH_ROWS, use_threads=False)
            return
        for number in range(opened.num_record_batches):
            yield opened.get_batch(number)


def compare(left: Window, right: Window, job: Job) -> None:
    """Compares two tables.

    Raises:
        UnfitError: A column stands twice.
    """
    before, after = _Reader(left), _Reader(right)
    for reader in (before, after):
        if len(set(reader.schema.names)) != len(reader.schema.names):
            raise UnfitError("a column stands twice")
    differing = _find_differing(before, after)
    count = len(job.findings)
    if differing is None or differing or before.schema.names != after.schema.names:
        compare_tables(_table(before, differing), _table(after, differing), job)
    if len(job.findings) == count:
        rule = "arrow.metadata" if before.schema.metadata != after.schema.metadata else "arrow.layout"
        told = (before.writer, after.writer)
        if told[0] != told[1]:
            job.findings.add(Difference("", "container", *told, rule="parquet.created_by"))
        else:
            job.findings.add(Difference("", "container", rule=rule))


def _find_differing(before: _Reader, after: _Reader) -> set[str] | None:
    """Returns the columns that differ, quickly; None where the rows are not as many or the types not the same."""
    if [(field.name, field.type) for field in before.schema] != [
        (field.name, field.type) for field in after.schema
    ]:
        return None
    found: set[str] = set()
    rest, rows, other_rows = iter(after.batches()), 0, 0
    pending: Any = None
    for whole in before.batches():
        rows += whole.num_rows
        batch = whole
        while batch.num_rows:
            while pending is None or not pending.num_rows:
                pending = next(rest, None)
                if pending is None:
                    return None
                other_rows += pending.num_rows
            length = min(batch.num_rows, pending.num_rows)
            one, other = batch.slice(0, length), pending.slice(0, length)
            for number, name in enumerate(before.schema.names):
                if name not in found and not one.column(number).equals(other.column(number)):
                    found.add(name)
            batch, pending = batch.slice(length), pending.slice(length)
    if (pending is not None and pending.num_rows) or any(item.num_rows for item in rest):
        return None
    return found


def _table(reader: _Reader, wanted: set[str] | None) -> Table:
    """Returns the rows as Python's values; of the wanted columns alone, where they are named."""
    fields = [field for field in reader.schema if wanted is None or field.name in wanted or not wanted]
    names = [field.name for field in fields]
    return Table(names, _iter_rows(reader, names), [_type_name(field.type) for field in fields])


def _iter_rows(reader: _Reader, names: Sequence[str]) -> Iterator[Sequence[Any]]:
    for whole in reader.batches():
        for start in range(0, whole.num_rows, _BATCH_ROWS):
            batch = whole.slice(start, _BATCH_ROWS)
            columns = [_cells(batch.column(batch.schema.get_field_index(name))) for name in names]
            yield from zip(*columns, strict=True)


def _cells(column: Any) -> list[Any]:  # noqa: ANN401  # the library has no types
    if pa.types.is_temporal(column.type):
        # Nanoseconds are more than Python's own times hold.
        width = column.type.bit_width
        column = column.view(pa.int64() if width == 64 else pa.int32()) if width in {32, 64} else column
    cells: list[Any] = column.to_pylist()
    return cells


def _type_name(kind: Any) -> str:  # noqa: ANN401  # the library has no types
    return _NAMES.get(str(kind), str(kind))
