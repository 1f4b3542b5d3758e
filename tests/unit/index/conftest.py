import pytest

from tests.support.index_project import Project


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)
