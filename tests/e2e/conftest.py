"""An S3 server that every command of a test is led to."""

import pytest


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
