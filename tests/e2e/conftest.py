"""What is made once for many tests: an S3 server's bucket, and a repository with the frameworks' environment."""

import pytest

from tests.support.training import make_repository


@pytest.fixture(scope="session")
def frameworks_repository(frameworks_python, bubblewrap, tmp_path_factory, worker_id):
    """A repository that has captured and rebuilt the frameworks' environment; all processes of the tests share it."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    return make_repository(shared / "frameworks-repository", frameworks_python)


@pytest.fixture
def server(s3_server, monkeypatch):
    """A client of the server, for looking and hurting; and an empty bucket `models`."""
    for name, value in s3_server.environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    files = s3_server.filesystem()
    if files.exists("models"):
        files.rm("models", recursive=True)
    files.mkdir("models")
    return files
