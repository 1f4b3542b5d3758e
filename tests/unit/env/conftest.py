import pytest

from mlvc.env.distributions import read_files, read_installed
from mlvc.env.wheel import pack_wheel, plan_wheel
from tests.support.memory_store import MemoryStore


@pytest.fixture
def prefix(tmp_path):
    """The prefix of a made-up environment."""
    return tmp_path / "venv"


@pytest.fixture
def site(prefix):
    """An empty site-packages directory."""
    directory = prefix / "lib" / "python3.11" / "site-packages"
    directory.mkdir(parents=True)
    (prefix / "bin").mkdir()
    return directory


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def repack(site, prefix, store):
    """Repacks what is installed under a name; returns the plan, the packed wheel, and its bytes."""

    def repack(name, *, only_metadata=False):
        installed = read_installed([str(site)])[name]
        plan = plan_wheel(
            installed,
            read_files(installed),
            default_prefix=str(prefix),
            fallback_tag="cp311-cp311-linux_x86_64",
            only_metadata=only_metadata,
        )
        with store.writer() as writer:
            packed = pack_wheel(plan, writer)
        return plan, packed, store.read_blob(packed.blob)

    return repack
