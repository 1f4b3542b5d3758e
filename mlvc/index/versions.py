"""Versions of distributions, as PEP 440 compares them."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from sqlalchemy import select

from mlvc.errors import UsageError
from mlvc.index import schema
from mlvc.index.answers import DistributionRow
from mlvc.index.runs import name_number
from mlvc.model.ids import EnvironmentId

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["environments_with", "matches", "parse_specifier"]

_TOO_LONG = re.compile(r"\d{641}")
"""A number that Python may refuse to read; how many digits it reads is a setting, of 640 at least."""


def parse_specifier(text: str) -> SpecifierSet:
    """Returns the versions that a text names.

    Raises:
        UsageError: It is no specifier.
    """
    with contextlib.suppress(InvalidSpecifier):
        if not _TOO_LONG.search(text):
            return SpecifierSet(text)
    raise UsageError(f"{text[:80]!r} is no version specifier", hint="write it as in `<1.1` or `>=2,!=2.3`")


def matches(version: str, versions: SpecifierSet) -> bool:
    """Returns whether a version is one of `versions`, which pre-releases may be too."""
    try:
        return versions.contains(version, prereleases=True)
    except ValueError:
        return False  # Not every installed distribution has a version that PEP 440 knows, or that Python can read.


def environments_with(
    connection: Connection, project: str, package: str, versions: SpecifierSet
) -> list[DistributionRow]:
    """Returns the environments in which a distribution has one of the versions, sorted by environment."""
    table, name = schema.distributions, canonicalize_name(package)
    query = (
        select(table)
        .where(table.c.name_number == name_number(project, name))
        .order_by(table.c.environment, table.c.position)
    )
    return [
        DistributionRow(EnvironmentId.parse(row.environment), name, row.version)
        for row in connection.execute(query)
        if matches(row.version, versions)
    ]
