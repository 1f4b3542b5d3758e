"""Directories that were named and not read yet have a table, so that nobody looks for them among all rows."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

__all__ = ["upgrade"]

revision = "0003"
down_revision = "0002"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_NAMED_BY = (
    ("commit_changes", "commit", "time"),
    ("run_inputs", "run", "started"),
    ("run_outputs", "run", "started"),
)


def upgrade() -> None:
    """Makes the table, and fills it with what the old one would have found."""
    unread = op.create_table(
        "unread_trees",
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("path_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("moment", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_unread_trees")),
        sqlite_with_rowid=False,
    )
    named = sa.union_all(*(_directories(*each) for each in _NAMED_BY)).subquery()
    trees = sa.table("trees", sa.column("project"), sa.column("id"))
    is_read = sa.exists().where(trees.c.project == named.c.project, trees.c.id == named.c.data_id)
    first = (named.c.project, named.c.data_id, sa.func.min(named.c.path_number), sa.func.min(named.c.moment))
    found = sa.select(*first).where(~is_read).group_by(named.c.project, named.c.data_id)
    op.execute(sa.insert(unread).from_select(["project", "id", "path_number", "moment"], found))


def _directories(table_name: str, owner_name: str, moment: str) -> sa.Select[tuple[str, str, int, str]]:
    number = f"{owner_name}_number"
    table = sa.table(table_name, *map(sa.column, (number, "kind", "data_id", "path_number")))
    owner = sa.table(f"{owner_name}s", *map(sa.column, ("number", "project", moment)))
    return (
        sa.select(owner.c.project, table.c.data_id, table.c.path_number, owner.c[moment].label("moment"))
        .join(owner, owner.c.number == table.c[number])
        .where(table.c.kind == "directory")
    )
