"""Comparing an environment with the public wheels of a real index, served by this machine."""

import functools
import hashlib
import http.server
import threading
import zipfile

import pytest

from mlvc.env.capture import capture
from mlvc.env.resolve import Unresolved, resolve_public
from tests.support.environments import PURE, find_system_python, install, make_venv
from tests.support.memory_store import MemoryStore
from tests.support.reporter import RecordingReporter

WHEEL = "demo-1.0-py3-none-any.whl"
FILES = {
    "demo/__init__.py": "x = 1\n",
    "demo-1.0.data/scripts/demo-tool": "#!python3\nprint(1)\n",
    "demo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n\nText.\n",
    "demo-1.0.dist-info/WHEEL": PURE,
    "demo-1.0.dist-info/RECORD": "",
}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Says nothing."""


@pytest.fixture
def index(tmp_path):
    """The URL of a package index with one wheel in it."""
    folder = tmp_path / "index"
    (folder / "demo").mkdir(parents=True)
    wheel = folder / "demo" / WHEEL
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "demo" / "index.html").write_text(f'<a href="{WHEEL}#sha256={digest}">{WHEEL}</a>')
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", digest
        server.shutdown()
        thread.join()


@pytest.fixture
def resolve(tmp_path, index):
    """Captures an environment in which `files` are installed, and resolves it."""

    def resolve(name, files):
        site = make_venv(tmp_path / "venv", find_system_python())
        install(site, name, "1.0", files)
        store, reporter = MemoryStore(), RecordingReporter()
        with store.writer() as writer:
            environment = capture(
                tmp_path / "venv" / "bin" / "python",
                project=tmp_path,
                reader=store,
                writer=writer,
                cache_dir=tmp_path / "cache",
                reporter=reporter,
            )
        return resolve_public(environment, reader=store, reporter=reporter, index=index[0])

    return resolve


def test_a_public_wheel_that_agrees_is_named(resolve, index):
    """Compression, RECORD and the first line of scripts may differ: they are not what is installed."""
    found = resolve(
        "demo", {"demo/__init__.py": "x = 1\n", "../../../bin/demo-tool": "#!/v/bin/python\nprint(1)\n"}
    )

    (demo,) = found.environment.distributions
    assert found.unresolved == ()
    assert (demo.public_url, demo.public_sha256) == (f"{index[0]}/demo/{WHEEL}", index[1])


def test_an_installed_file_that_differs_from_the_public_wheel_is_named(resolve):
    """Also one that only one of the two has."""
    found = resolve("demo", {"demo/__init__.py": "x = 2\n", "demo/more.py": ""})

    reason = (
        "these files differ from the public wheel:"
        " demo-1-0-data/scripts/demo-tool, demo/__init__.py, demo/more.py"
    )
    assert found.unresolved == (Unresolved("demo", reason),)
    assert found.environment.distributions[0].public_url == ""


def test_a_distribution_that_is_not_public_is_named(resolve):
    """A local build has no public wheel."""
    found = resolve("local", {"local.py": ""})

    assert found.unresolved == (Unresolved("local", "the index does not have this version"),)
