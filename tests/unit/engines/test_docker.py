"""The Docker engine where there is no Docker."""

import sys

import pytest

from mlvc.engines.docker import DockerEngine
from mlvc.engines.errors import EngineUnavailableError


@pytest.fixture
def no_package(monkeypatch):
    """As after `pip install mlvc` without the extra."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "docker"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "docker", None)


def test_without_the_package_the_engine_says_so(no_package):
    """`auto` goes on to the next engine, and whoever asks for this one learns what to install."""
    assert "the Python package `docker` is not installed" == DockerEngine().check()

    with pytest.raises(EngineUnavailableError) as refused:
        DockerEngine().resolve_base("python:3.11-slim")

    assert "pip install 'mlvc[docker]'" == refused.value.hint
