"""A real SSH server on this machine, OpenSSH's, that lets in whoever runs the tests by a key of its own."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_ports

__all__ = ["SshError", "SshServer", "serve_ssh"]

_START_S = 30


class SshError(Exception):
    """The server cannot be started here; the message says why."""


@dataclass(frozen=True)
class SshServer:
    """A server that answers on this machine.

    Attributes:
        directory: Where its keys are.
        port: Where it listens.
    """

    directory: Path
    port: int

    def introduce(self, home: Path, *, knows_host: bool = True, has_key: bool = True) -> None:
        """Makes the configuration of a user who calls the server `far`."""
        folder = home / ".ssh"
        folder.mkdir(mode=0o700)
        lines = ["Host far", "  HostName 127.0.0.1", f"  Port {self.port}", f"  User {getpass.getuser()}"]
        if has_key:
            lines.append(f"  IdentityFile {self.directory / 'user'}")
        (folder / "config").write_text("\n".join(lines) + "\n")
        host_key = (self.directory / "host.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}" if knows_host else "")


@contextlib.contextmanager
def serve_ssh(directory: Path) -> Iterator[SshServer]:
    """Runs a server until the context is left.

    Raises:
        SshError: OpenSSH's server is missing, or does not answer in time.
    """
    program = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if program is None:
        raise SshError("sshd is not installed")
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True
        )
    if os.getuid() == 0:
        # It starts without the system's scripts, which make this.
        Path("/run/sshd").mkdir(exist_ok=True)
    (port,) = free_ports(1)
    settings = directory / "sshd_config"
    settings.write_text(
        f"Port {port}\n"
        "ListenAddress 127.0.0.1\n"
        f"HostKey {directory / 'host'}\n"
        f"AuthorizedKeysFile {directory / 'user.pub'}\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n"
        "Subsystem sftp internal-sftp\n"
    )
    log = directory / "log"
    with log.open("wb") as output:
        server = subprocess.Popen([program, "-D", "-e", "-f", str(settings)], stderr=output)
    try:
        _wait(server, port, log)
        yield SshServer(directory, port)
    finally:
        server.terminate()
        server.wait()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SshError(f"sshd ended: {log.read_text(errors='replace')[-1000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SshError(f"sshd did not answer in {_START_S} s")
