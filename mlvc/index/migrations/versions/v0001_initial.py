"""The first schema."""

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes all tables."""
    op.create_table(
        "commit_parents",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("commit_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("parent", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("project", "commit_id", "position", name=op.f("pk_commit_parents")),
    )
    op.create_index(op.f("ix_commit_parents_parent"), "commit_parents", ["parent"], unique=False)
    op.create_table(
        "commit_paths",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("commit_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data_id", sa.String(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("project", "commit_id", "path", name=op.f("pk_commit_paths")),
    )
    op.create_index(op.f("ix_commit_paths_data_id"), "commit_paths", ["data_id"], unique=False)
    op.create_table(
        "commits",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("code_sha", sa.String(), nullable=False),
        sa.Column("code_tree", sa.String(), nullable=True),
        sa.Column("environment", sa.String(), nullable=True),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("time", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_commits")),
    )
    op.create_index(op.f("ix_commits_code_sha"), "commits", ["code_sha"], unique=False)
    op.create_table(
        "distributions",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("wheel", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("project", "environment", "position", name=op.f("pk_distributions")),
    )
    op.create_index(op.f("ix_distributions_name"), "distributions", ["name"], unique=False)
    op.create_table(
        "environments",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("python", sa.String(), nullable=False),
        sa.Column("implementation", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_environments")),
    )
    op.create_table(
        "metrics",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("project", "run_id", "name", name=op.f("pk_metrics")),
    )
    op.create_table(
        "packs",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_packs")),
    )
    op.create_table(
        "params",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("project", "run_id", "name", name=op.f("pk_params")),
    )
    op.create_table(
        "run_inputs",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data_id", sa.String(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "run_id", "path", name=op.f("pk_run_inputs")),
    )
    op.create_index(op.f("ix_run_inputs_data_id"), "run_inputs", ["data_id"], unique=False)
    op.create_table(
        "run_outputs",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data_id", sa.String(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "run_id", "path", name=op.f("pk_run_outputs")),
    )
    op.create_index(op.f("ix_run_outputs_data_id"), "run_outputs", ["data_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("plan", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("argv", sa.String(), nullable=False),
        sa.Column("directory", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("exit_code", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.String(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("threads", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("code_sha", sa.String(), nullable=True),
        sa.Column("code_tree", sa.String(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("environment", sa.String(), nullable=True),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_code_sha"), "runs", ["code_sha"], unique=False)
    op.create_index(op.f("ix_runs_environment"), "runs", ["environment"], unique=False)
    op.create_index(op.f("ix_runs_name"), "runs", ["name"], unique=False)
    op.create_index(op.f("ix_runs_plan"), "runs", ["plan"], unique=False)
    op.create_index(op.f("ix_runs_started"), "runs", ["started"], unique=False)
    op.create_table(
        "verdict_outputs",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("verdict_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("recorded", sa.String(), nullable=False),
        sa.Column("reproduced", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("project", "verdict_id", "path", name=op.f("pk_verdict_outputs")),
    )
    op.create_table(
        "verdicts",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("isolated", sa.Boolean(), nullable=False),
        sa.Column("exit_code", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.String(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_verdicts")),
    )
    op.create_index(op.f("ix_verdicts_run_id"), "verdicts", ["run_id"], unique=False)
