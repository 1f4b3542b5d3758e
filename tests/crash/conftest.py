import shutil
import tempfile
from pathlib import Path

import pytest

from tests.crash.scenes import Stage
from tests.support.zygote import Zygote


@pytest.fixture(scope="module")
def zygote():
    """Runs commands in forked processes."""
    running = Zygote()
    yield running
    running.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory, zygote):
    """Where scenes are played: in memory, if it can be, because what is lost is simulated and fsync takes its time."""
    memory = Path("/dev/shm")
    folder = tmp_path_factory.mktemp("stage")
    if memory.is_dir() and shutil.disk_usage(memory).free > 256 << 20:
        folder = Path(tempfile.mkdtemp(prefix="mlvc-stage-", dir=memory))
    yield Stage(folder, zygote)
    shutil.rmtree(folder, ignore_errors=True)
