import pytest

from mlvc.index.postgres import PostgresDatabase
from tests.support.index_project import Project


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def project(request, tmp_path):
    """An empty store, with an index on the engine."""
    if request.param == "sqlite":
        return Project(tmp_path)
    url = request.getfixturevalue("postgres_url")
    return Project(tmp_path, database=PostgresDatabase(url), url=url)
