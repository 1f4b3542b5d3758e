"""Alembic's environment and the revisions of the schema, the oldest first."""
