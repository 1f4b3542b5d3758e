"""Makes SQL of an expression: every name and value of the user's is a bound parameter, never text of a statement.

A comparison with what a run does not have is false, and so is never NULL; `not` of it is true.
Whatever has an index is asked as "the run is one of those that …", which both engines answer from that index.
"""

from __future__ import annotations

import datetime
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name
from packaging.version import Version
from sqlalchemy import ColumnElement, Float, and_, case, false, func, literal, not_, or_, select

from mlvc.index import schema
from mlvc.index.expression import All, Any_, Comparison, Expression, ExpressionError, Field, Not, Value
from mlvc.index.rows import plain
from mlvc.index.runs import name_number
from mlvc.index.versions import matches, parse_specifier

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

__all__ = ["latest_verdict", "ordered_by", "where"]

Condition = ColumnElement[bool]
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_VALUES = {"params": schema.params, "metrics": schema.metrics}
_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "id": schema.runs.c.id,
    "plan": schema.runs.c.plan,
    "status": schema.runs.c.status,
    "exit_code": schema.runs.c.exit_code,
    "started": schema.runs.c.started,
    "duration_ms": schema.runs.c.duration_ms,
    "profile": schema.runs.c.profile,
    "threads": schema.runs.c.threads,
    "seed": schema.runs.c.seed,
    "engine": schema.runs.c.engine,
    "directory": schema.runs.c.directory,
    "author": schema.runs.c.author,
    "environment": schema.runs.c.environment,
    "code.sha": schema.runs.c.code_sha,
    "code.tree": schema.runs.c.code_tree,
    "code.dirty": schema.runs.c.dirty,
}
_DATA = {"input": schema.run_inputs, "output": schema.run_outputs}
_DIGITS = "0123456789abcdef"
_AFTER_DIGITS = "g"
"""Follows every hexadecimal digit, so that all that begins so lies before it."""
_MOST_VERSIONS = 30_000
"""SQLite takes 32,766 values in a statement."""


def where(connection: Connection, project: str, expression: Expression) -> Condition:
    """Returns the condition of a query over `schema.runs`.

    Raises:
        ExpressionError: A value is no version, time or id where one is needed.
    """
    match expression:
        case All(parts):
            return and_(*(where(connection, project, part) for part in parts))
        case Any_(parts):
            return or_(*(where(connection, project, part) for part in parts))
        case Not(part):
            return not_(where(connection, project, part))
        case Comparison():
            return _comparison(connection, project, expression)


def _comparison(connection: Connection, project: str, asked: Comparison) -> Condition:
    field, sign = asked.field, asked.operator
    if field.kind == "version":
        return _versions(connection, project, field, sign, [str(value) for value in asked.values])
    each: Callable[[Value], Condition]
    match field.kind:
        case "value":
            each = lambda value: _value(project, field, sign, value)  # noqa: E731  # one line a kind
        case "data":
            each = lambda value: _data(project, field, str(value))  # noqa: E731
        case "id":
            each = lambda value: _id(field, sign, str(value))  # noqa: E731
        case "time":
            each = lambda value: _COMPARE[sign](_COLUMNS[field.head], _moment(str(value)))  # noqa: E731
        case _ if field.head == "name":
            each = lambda value: _name(project, sign, str(value))  # noqa: E731
        case _:
            column = latest_verdict() if field.head == "verdict" else _COLUMNS[field.head]
            each = lambda value: _plain(column, sign, value)  # noqa: E731
    return or_(*(each(value) for value in asked.values))


def _plain(column: ColumnElement[Any], sign: str, value: Value) -> Condition:
    bound: ColumnElement[Any] = literal(value, Float()) if type(value) is float else literal(_clean(value))
    return and_(column.is_not(None), _COMPARE[sign](column, bound))


def _clean(value: Value) -> Value:
    return plain(value) if isinstance(value, str) else value


def _name(project: str, sign: str, value: str) -> Condition:
    column = schema.runs.c.name_number
    if sign in {"=", "!="}:
        return and_(column.is_not(None), _COMPARE[sign](column, _number_or_none(project, value)))
    names = schema.names
    fitting = select(names.c.number).where(
        names.c.project == project, _COMPARE[sign](names.c.name, plain(value))
    )
    return and_(column.is_not(None), column.in_(fitting))


def _number_or_none(project: str, text: str) -> ColumnElement[Any]:
    """Returns the number of a text; one that no row has where nothing is called so."""
    return func.coalesce(name_number(project, text), -1)


def _value(project: str, field: Field, sign: str, value: Value) -> Condition:
    table = _VALUES[field.head]
    fits: Condition
    if isinstance(value, bool):
        fits = _COMPARE[sign](table.c.value, "true" if value else "false")
    else:
        column = table.c.number if isinstance(value, float) else table.c.text
        fits = _COMPARE[sign](column, _clean(value))
        if sign == "!=":
            fits = or_(column.is_(None), fits)
        elif column is table.c.text:
            fits = and_(
                table.c.number.is_(None), fits
            )  # So that the index with the numbers leads to texts, too.
    inside = select(table.c.run_number).where(table.c.name_number == name_number(project, field.name), fits)
    return schema.runs.c.number.in_(inside)


def _data(project: str, field: Field, value: str) -> Condition:
    table = _DATA[field.head]
    if value.startswith("b3:"):
        fits = _begins(table.c.data_id, "b3:", value.removeprefix("b3:"), field)
    else:
        fits = table.c.path_number == name_number(project, value.rstrip("/"))
    return schema.runs.c.number.in_(select(table.c.run_number).where(fits))


def _id(field: Field, sign: str, value: str) -> Condition:
    column = _COLUMNS[field.head]
    prefix = "" if field.head == "code.sha" else "b3:"
    begins = _begins(column, prefix, value.removeprefix(prefix), field)
    return and_(column.is_not(None), begins if sign == "=" else not_(begins))


def _begins(column: ColumnElement[Any], prefix: str, digits: str, field: Field) -> Condition:
    digits = digits.lower().rstrip("…")
    if not digits or digits.strip(_DIGITS):
        raise ExpressionError(f"{field} is compared with the digits that an id begins with")
    return and_(column >= prefix + digits, column < prefix + digits + _AFTER_DIGITS)


def _moment(text: str) -> str:
    try:
        moment = datetime.datetime.fromisoformat(text)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
        return aware.astimezone(datetime.UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        raise ExpressionError(
            f"{text[:40]!r} is no time; write it as in '2026-01-31' or '2026-01-31T12:00'"
        ) from None


def _versions(
    connection: Connection, project: str, field: Field, sign: str, values: Sequence[str]
) -> Condition:
    """Returns the runs whose environment has a fitting version; which fit is found out here, among those there are."""
    sign = {"=": "=="}.get(sign, sign)
    wanted = [parse_specifier(f"{sign}{value}") for value in values]
    known = _known_versions(connection, project, field)
    fitting = [version for version in known if any(matches(version, each) for each in wanted)]
    if not fitting:
        return false()
    if len(fitting) > _MOST_VERSIONS:
        raise ExpressionError(f"{len(fitting):,} versions of {field} fit; ask for fewer")
    inside = _having(project, field, fitting)
    return and_(schema.runs.c.environment.is_not(None), schema.runs.c.environment.in_(inside))


def _having(project: str, field: Field, versions: Sequence[str]) -> Select[Any]:
    if field.head == "python":
        table = schema.environments
        return select(table.c.id).where(table.c.project == project, table.c.python.in_(versions))
    packages = schema.distributions
    return select(packages.c.environment).where(
        packages.c.project == project,
        packages.c.name_number == name_number(project, canonicalize_name(field.name)),
        packages.c.version.in_(versions),
    )


def _known_versions(connection: Connection, project: str, field: Field) -> list[str]:
    if field.head == "python":
        table = schema.environments
        query = select(table.c.python).where(table.c.project == project)
    else:
        packages = schema.distributions
        number = name_number(project, canonicalize_name(field.name))
        query = select(packages.c.version).where(packages.c.name_number == number)
    return list(connection.scalars(query.distinct()))


def latest_verdict() -> ColumnElement[Any]:
    """Returns the verdict of a run's latest reproduction; NULL where there was none."""
    verdicts, runs = schema.verdicts, schema.runs
    return (
        select(verdicts.c.verdict)
        .where(verdicts.c.project == runs.c.project, verdicts.c.run_id == runs.c.id)
        .order_by(verdicts.c.started.desc(), verdicts.c.id)
        .limit(1)
        .correlate(runs)
        .scalar_subquery()
    )


def ordered_by(
    connection: Connection, project: str, query: Select[Any], field: Field, *, descending: bool
) -> Select[Any]:
    """Returns the query with its runs sorted by a field; those that do not have it come last.

    Numbers come before texts, and texts before other values.

    Raises:
        ExpressionError: The field has several values.
    """

    def turned(column: ColumnElement[Any]) -> ColumnElement[Any]:
        return column.desc() if descending else column.asc()

    if field.kind == "data":
        raise ExpressionError(f"{field} has several values, so that nothing can be sorted by it")
    if field.kind == "value":
        table = _VALUES[field.head].alias("sorted")
        joined = query.outerjoin(
            table,
            and_(
                table.c.run_number == schema.runs.c.number,
                table.c.name_number == name_number(project, field.name),
            ),
        )
        return joined.order_by(
            table.c.run_number.is_(None),
            table.c.number.is_(None),
            turned(table.c.number),
            table.c.text.is_(None),
            turned(table.c.text),
            turned(table.c.value),
        )
    if field.kind == "version":
        known = _known_versions(connection, project, field)
        if not known:
            return (
                query  # No run has it; and a server could not tell the type of a column that is always NULL.
            )
        column = _rank(project, field, known)
    elif field.head == "verdict":
        column = latest_verdict()
    else:
        column = schema.names.c.name if field.head == "name" else _COLUMNS[field.head]
    return query.order_by(column.is_(None), turned(column))


def _rank(project: str, field: Field, known: Sequence[str]) -> ColumnElement[Any]:
    """Returns the place of a run's version among those there are; versions that PEP 440 does not know come first."""
    environments, packages, runs = schema.environments, schema.distributions, schema.runs
    ranks = {version: rank for rank, version in enumerate(sorted(known, key=_version_key)[:_MOST_VERSIONS])}
    if field.head == "python":
        found = select(case(ranks, value=environments.c.python)).where(
            environments.c.project == project, environments.c.id == runs.c.environment
        )
    else:
        found = (
            select(case(ranks, value=packages.c.version))
            .where(
                packages.c.project == project,
                packages.c.environment == runs.c.environment,
                packages.c.name_number == name_number(project, canonicalize_name(field.name)),
            )
            .order_by(packages.c.position)
            .limit(1)
        )
    return found.correlate(runs).scalar_subquery()


def _version_key(text: str) -> tuple[bool, Version | str, str]:
    try:
        return True, Version(text), text
    except ValueError:  # It is no version, or has more digits than Python reads.
        return False, text, text
