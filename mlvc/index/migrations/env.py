"""What Alembic executes: runs the migrations on the connection that `mlvc.index.migrate` hands in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
