"""Tables for other programs: CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mlvc.errors import MlvcError, UsageError

if TYPE_CHECKING:
    from mlvc.cli.session import Session
    from mlvc.verbs.runs import Cell, Table

__all__ = ["FormatMissingError", "TableFormat", "write_table"]

TableFormat = Literal["csv", "json", "parquet"]


class FormatMissingError(MlvcError):
    """The library that writes the format is not installed."""

    code = "format-missing"


def write_table(session: Session, table: Table, form: TableFormat) -> None:
    """Writes a table to stdout.

    Raises:
        UsageError: Parquet, which is no text, would go to a terminal.
        FormatMissingError: Parquet needs pyarrow, which is not installed.
    """
    match form:
        case "csv":
            session.bytes_out.write(_csv(table))
        case "json":
            rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            session.bytes_out.write(json.dumps(rows, ensure_ascii=False, indent=2).encode() + b"\n")
        case "parquet":
            if session.stdout.isatty():
                raise UsageError(
                    "Parquet is no text for a terminal", hint="write it into a file: … > runs.parquet"
                )
            session.bytes_out.write(_parquet(table))


def _csv(table: Table) -> bytes:
    """Returns lines as RFC 4180 has them, in UTF-8; what a run does not have is empty, and an empty text is quoted."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n")
    writer.writerow(table.columns)
    writer.writerows([_spelt(cell) for cell in row] for row in table.rows)
    return out.getvalue().encode("utf-8", "replace")


def _spelt(cell: Cell) -> Cell:
    return str(cell).lower() if isinstance(cell, bool) else cell


def _parquet(table: Table) -> bytes:
    try:
        import pyarrow as pa  # noqa: PLC0415  # an extra, and a tenth of a second
        import pyarrow.parquet  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise FormatMissingError(
            "writing Parquet needs pyarrow, which is not installed", hint="pip install 'mlvc[formats]'"
        ) from exc
    columns: Mapping[str, Any] = {
        name: _column([row[index] for row in table.rows]) for index, name in enumerate(table.columns)
    }
    out = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(dict(columns)), out)
    return out.getvalue()


def _column(cells: Sequence[Cell]) -> list[Cell]:
    """Returns cells of one type: whole numbers, numbers, truths, or texts where they differ."""
    types = {type(cell) for cell in cells if cell is not None}
    if types <= {int, float} and len(types) > 1:
        return [None if cell is None else float(cell) for cell in cells]
    if len(types) == 1 and (
        types != {int} or all(cell is None or abs(int(cell)) < 1 << 63 for cell in cells)
    ):
        return list(cells)
    return [None if cell is None else str(_spelt(cell)) for cell in cells]
