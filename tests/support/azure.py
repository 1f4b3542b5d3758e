"""A server on this machine that speaks to clients of Azure Blob Storage: Azurite, Microsoft's own, from npm."""

import base64
import contextlib
import datetime
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ports import free_ports
from tests.support.waiting import why_silent

__all__ = ["AZURE_ACCOUNT", "AZURE_KEY", "AzureError", "AzureServer", "serve_azure"]

AZURE_ACCOUNT = "mlvctests"
AZURE_KEY = base64.b64encode(b"no secret of anybody").decode()
_START_S = 60


class AzureError(Exception):
    """The server cannot be started here; the message says why."""


@dataclass(frozen=True)
class AzureServer:
    """A server that answers.

    Attributes:
        endpoint: Its URL, without an account.
    """

    endpoint: str

    def connection_string(self, endpoint: str | None = None, key: str = AZURE_KEY) -> str:
        """Returns what leads a client to it, through another endpoint such as a proxy's, or with a wrong key."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={key};"
            f"BlobEndpoint={endpoint or self.endpoint}/{AZURE_ACCOUNT}"
        )

    def signed_string(self, expires_in: datetime.timedelta) -> str:
        """Returns what leads a client to it with a signature instead of the key."""
        # Every test process imports this module, and most need no server.
        from azure.storage.blob import (  # noqa: PLC0415
            AccountSasPermissions,
            ResourceTypes,
            generate_account_sas,
        )

        now = datetime.datetime.now(datetime.UTC)
        signature = generate_account_sas(
            AZURE_ACCOUNT,
            AZURE_KEY,
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True),
            now + expires_in,
            start=now - datetime.timedelta(days=1),
        )
        return f"BlobEndpoint={self.endpoint}/{AZURE_ACCOUNT};SharedAccessSignature={signature}"

    def container(self, name: str) -> Any:
        """Returns a new container, by a client of its own, to look at what is in it and to hurt it."""
        from azure.storage.blob import ContainerClient  # noqa: PLC0415  # as above

        made = ContainerClient.from_connection_string(self.connection_string(), name)
        made.create_container()
        return made


@contextlib.contextmanager
def serve_azure(directory: Path) -> Iterator[AzureServer]:
    """Runs the program that MLVC_TESTS_AZURITE names until the context is left, with its files in `directory`.

    Raises:
        AzureError: the program is missing, or does not answer in time.
    """
    program = shutil.which(os.environ.get("MLVC_TESTS_AZURITE") or "azurite-blob")
    if program is None:
        raise AzureError("azurite-blob is not installed; tests/run.sh does it where there are node and npm")
    (port,) = free_ports(1)
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(directory)]
    # The client is younger than the server, and asks by a version of the API that it does not know.
    command += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{AZURE_KEY}"}
    log = directory / "azurite.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, cwd=directory, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        made = AzureServer(f"http://127.0.0.1:{port}")
        if reason := why_silent(
            server, f"{made.endpoint}/{AZURE_ACCOUNT}?comp=list", log, timeout_s=_START_S
        ):
            raise AzureError(f"azurite-blob {reason}")
        yield made
    finally:
        # Nothing of it is kept.
        server.kill()
        server.wait()
