"""Which data commits git commits have, asked without SQLAlchemy, because git waits for the hooks that ask.

The answer is the one that an index that was caught up would give: the rows of the file, and the objects that came since
it was. Nothing is written: the next command that asks a question takes those in.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlvc import fsio
from mlvc.errors import FormatError
from mlvc.index.version import SCHEMA_VERSION, VERSION_TABLE
from mlvc.model.ids import CommitId, PackId
from mlvc.model.objects import Commit

if TYPE_CHECKING:
    from mlvc.ports import ObjectCatalog

__all__ = ["find_recorded"]

_BUSY_TIMEOUT_S = 1.0
_MOST_NEW_PACKS = 64
_MOST_NEW_COMMITS = 256
"""Of more than so many it is quicker to ask the index, which then has them for the next time."""

_VERSION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608  # a constant of ours
_PACKS = "SELECT id FROM packs WHERE project = ?"
# The last one counts: of a git commit that was recorded twice, the first by id, as for who asks the index itself.
_COMMITS = """
SELECT code_sha, id FROM commits
WHERE project = ? AND code_sha IN (SELECT value FROM json_each(?)) ORDER BY id DESC
"""


def find_recorded(
    path: Path, store: ObjectCatalog, project: str, shas: Collection[str]
) -> Mapping[str, CommitId] | None:
    """Returns the data commits that are here of some git commits; None where only the index itself can tell.

    Args:
        path: The file of the index.
        store: Where the objects are.
        project: Whose rows to read.
        shas: The git commits.

    Raises:
        IntegrityError: An object is damaged.
    """
    read = _read_rows(path, project, shas)
    if read is None:
        return None
    known, found = read
    new = list(itertools.islice(store.iter_new_objects(known), _MOST_NEW_PACKS + 1))
    commits = [each for _, ids in new for each in ids if isinstance(each, CommitId)]
    if len(new) > _MOST_NEW_PACKS or len(commits) > _MOST_NEW_COMMITS:
        return None
    for commit_id in commits:
        value = store.read_object(commit_id)
        if isinstance(value, Commit) and value.code_sha in shas:
            found[value.code_sha] = min(commit_id, found.get(value.code_sha, commit_id))
    return found


def _read_rows(
    path: Path, project: str, shas: Collection[str]
) -> tuple[set[PackId], dict[str, CommitId]] | None:
    """Returns which packs the file has taken in, and what it says; None where it cannot be understood."""
    if not path.exists():
        return set(), {}
    # Held by all who use the file: it may be replaced only meanwhile.
    with (
        fsio.translate_os_errors(f"open {path}"),
        fsio.file_lock(path.with_name(path.name + ".lock"), shared=True),
        contextlib.suppress(sqlite3.Error, FormatError),
        contextlib.closing(
            sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        ) as connection,
    ):
        connection.execute("BEGIN")
        if connection.execute(_VERSION).fetchone() != (SCHEMA_VERSION,):
            return None
        known = {PackId.parse(text) for (text,) in connection.execute(_PACKS, (project,))}
        rows = connection.execute(_COMMITS, (project, json.dumps(list(shas))))
        found = {sha: CommitId.parse(text) for sha, text in rows}
        return known, found
    return None
