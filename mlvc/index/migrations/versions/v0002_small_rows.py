"""Rows are kept small: texts and data once, and of a commit what it changed.

Everything comes from the objects, so nothing is carried over: the next question takes all of them in again.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

__all__ = ["upgrade"]

revision = "0002"
down_revision = "0001"

_BEFORE = (
    "commit_parents",
    "commit_paths",
    "commits",
    "distributions",
    "environments",
    "metrics",
    "packs",
    "params",
    "run_inputs",
    "run_outputs",
    "runs",
    "verdict_outputs",
    "verdicts",
)
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:  # noqa: PLR0915  # one statement for each table and index
    """Makes all tables anew."""
    for table in _BEFORE:
        op.drop_table(table)
    op.create_table(
        "commit_changes",
        sa.Column("commit_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("path_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("kind", _TEXT, nullable=True),
        sa.Column("data_id", _TEXT, nullable=True),
        sa.Column("files", _INTEGER, autoincrement=False, nullable=True),
        sa.Column("size_bytes", _INTEGER, autoincrement=False, nullable=True),
        sa.Column("run", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("commit_number", "path_number", name=op.f("pk_commit_changes")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_commit_changes_data_id"), "commit_changes", ["data_id"], unique=False)
    op.create_index(op.f("ix_commit_changes_path_number"), "commit_changes", ["path_number"], unique=False)
    op.create_table(
        "commit_parents",
        sa.Column("commit_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("position", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("parent", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("commit_number", "position", name=op.f("pk_commit_parents")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_commit_parents_parent"), "commit_parents", ["parent"], unique=False)
    op.create_table(
        "commits",
        sa.Column("number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("code_sha", _TEXT, nullable=False),
        sa.Column("code_tree", _TEXT, nullable=True),
        sa.Column("environment", _TEXT, nullable=True),
        sa.Column("base", _TEXT, nullable=True),
        sa.Column("author", _TEXT, nullable=False),
        sa.Column("time", _TEXT, nullable=False),
        sa.Column("message", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_commits")),
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_commits_project_base"), "commits", ["project", "base"], unique=False)
    op.create_index(op.f("ix_commits_project_code_sha"), "commits", ["project", "code_sha"], unique=False)
    op.create_index(op.f("ix_commits_project_id"), "commits", ["project", "id"], unique=True)
    op.create_table(
        "distributions",
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("environment", _TEXT, nullable=False),
        sa.Column("position", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("name_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("version", _TEXT, nullable=False),
        sa.Column("wheel", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("project", "environment", "position", name=op.f("pk_distributions")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_distributions_name_number"), "distributions", ["name_number"], unique=False)
    op.create_table(
        "environments",
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("python", _TEXT, nullable=False),
        sa.Column("implementation", _TEXT, nullable=False),
        sa.Column("platform", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_environments")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "metrics",
        sa.Column("run_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("name_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("text", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("run_number", "name_number", name=op.f("pk_metrics")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_metrics_name_number_number_run_number"),
        "metrics",
        ["name_number", "number", "run_number"],
        unique=False,
    )
    op.create_table(
        "names",
        sa.Column("number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_names")),
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_names_project_key"), "names", ["project", "key"], unique=True)
    op.create_table(
        "packs",
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("objects", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_packs")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "params",
        sa.Column("run_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("name_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("text", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("run_number", "name_number", name=op.f("pk_params")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_params_name_number_number_run_number"),
        "params",
        ["name_number", "number", "run_number"],
        unique=False,
    )
    op.create_table(
        "run_inputs",
        sa.Column("run_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("path_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("data_id", _TEXT, nullable=False),
        sa.Column("files", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("size_bytes", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("run_number", "path_number", name=op.f("pk_run_inputs")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_run_inputs_data_id"), "run_inputs", ["data_id"], unique=False)
    op.create_index(op.f("ix_run_inputs_path_number"), "run_inputs", ["path_number"], unique=False)
    op.create_table(
        "run_outputs",
        sa.Column("run_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("path_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("data_id", _TEXT, nullable=False),
        sa.Column("files", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("size_bytes", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("run_number", "path_number", name=op.f("pk_run_outputs")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_run_outputs_data_id"), "run_outputs", ["data_id"], unique=False)
    op.create_index(op.f("ix_run_outputs_path_number"), "run_outputs", ["path_number"], unique=False)
    op.create_table(
        "runs",
        sa.Column("number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("plan", _TEXT, nullable=False),
        sa.Column("name_number", _INTEGER, autoincrement=False, nullable=True),
        sa.Column("argv", _TEXT, nullable=False),
        sa.Column("directory", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("exit_code", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("started", _TEXT, nullable=False),
        sa.Column("duration_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("profile", _TEXT, nullable=False),
        sa.Column("threads", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("seed", _INTEGER, autoincrement=False, nullable=True),
        sa.Column("engine", _TEXT, nullable=False),
        sa.Column("code_sha", _TEXT, nullable=True),
        sa.Column("code_tree", _TEXT, nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("environment", _TEXT, nullable=True),
        sa.Column("host", _TEXT, nullable=False),
        sa.Column("author", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_runs")),
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_runs_name_number"), "runs", ["name_number"], unique=False)
    op.create_index(op.f("ix_runs_project_code_sha"), "runs", ["project", "code_sha"], unique=False)
    op.create_index(op.f("ix_runs_project_environment"), "runs", ["project", "environment"], unique=False)
    op.create_index(op.f("ix_runs_project_id"), "runs", ["project", "id"], unique=True)
    op.create_index(op.f("ix_runs_project_plan"), "runs", ["project", "plan"], unique=False)
    op.create_index(op.f("ix_runs_project_started"), "runs", ["project", "started"], unique=False)
    op.create_table(
        "tree_entries",
        sa.Column("tree_number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("child", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tree_number", "name", name=op.f("pk_tree_entries")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_tree_entries_child"), "tree_entries", ["child"], unique=False)
    op.create_table(
        "trees",
        sa.Column("number", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("base", _TEXT, nullable=True),
        sa.Column("path_number", _INTEGER, autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_trees")),
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_trees_path_number"), "trees", ["path_number"], unique=False)
    op.create_index(op.f("ix_trees_project_base"), "trees", ["project", "base"], unique=False)
    op.create_index(op.f("ix_trees_project_id"), "trees", ["project", "id"], unique=True)
    op.create_table(
        "verdict_outputs",
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("verdict_id", _TEXT, nullable=False),
        sa.Column("position", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("path", _TEXT, nullable=False),
        sa.Column("verdict", _TEXT, nullable=False),
        sa.Column("recorded", _TEXT, nullable=False),
        sa.Column("reproduced", _TEXT, nullable=True),
        sa.Column("detail", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("project", "verdict_id", "position", name=op.f("pk_verdict_outputs")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "verdicts",
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("verdict", _TEXT, nullable=False),
        sa.Column("engine", _TEXT, nullable=False),
        sa.Column("isolated", sa.Boolean(), nullable=False),
        sa.Column("exit_code", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("started", _TEXT, nullable=False),
        sa.Column("duration_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("host", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_verdicts")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_verdicts_project_run_id"), "verdicts", ["project", "run_id"], unique=False)
    # ### end Alembic commands ###
