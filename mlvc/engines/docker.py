"""The engine `docker`: a container on a base image, through the Docker Engine API, which Podman's socket speaks too.

The only module that imports the `docker` package, and only when the engine is used.
API: https://docs.docker.com/reference/api/engine/
Guide: docs/reference/engines.md
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
import time
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlvc.engines.errors import BaseMissingError, EngineError, EngineUnavailableError
from mlvc.engines.ownership import lent
from mlvc.errors import MlvcError
from mlvc.model.names import encode_name
from mlvc.model.objects import Base
from mlvc.ports import EngineResult, Execution, LogSink

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.types import Mount

__all__ = ["DockerEngine"]

_SOCKET = "unix:///var/run/docker.sock"
_USER = 1000
_CONNECT_TIMEOUT_S = 120
_PIDS = 4096
_SHARED_MEMORY = "1g"
_HOSTNAME = "mlvc"
_LABEL = "org.mlvc.execution"
_STDERR = 2
"""The number of that stream in the frames of an attached container."""


class DockerEngine:
    """Runs a command in a container of its own, which is removed afterwards.

    `memory_mb` limits the container as a whole, swap included.
    """

    name = "docker"
    isolated = True

    def __init__(self, url: str | None = None) -> None:
        """Takes the engine's address, as `DOCKER_HOST` has it; None for the usual socket. Connects at first use."""
        self._url = url or _SOCKET

    def check(self) -> str | None:
        """Returns None if an engine answers; else why not, in one line."""
        try:
            client = self._client
            with _translated("ask the container engine"):
                client.ping()
        except MlvcError as exc:
            return exc.message
        return None

    def resolve_base(self, reference: str) -> Base | None:
        """Returns the image that `reference` names, pulling it if it is not local.

        Raises:
            BaseMissingError: It is not local and cannot be pulled.
            EngineUnavailableError: No engine answers.
        """
        client = self._client
        import docker.errors  # noqa: PLC0415  # only where Docker is used

        try:
            image = client.images.get(reference)
        except docker.errors.ImageNotFound:
            try:
                client.images.pull(*_repository_and_tag(reference))
                image = client.images.get(reference)
            except (docker.errors.DockerException, OSError) as exc:
                raise BaseMissingError(
                    f"the base image {reference} is not here and cannot be pulled: {_reason(exc)}",
                    hint="pull or build it, or name another one as `image.base` in mlvc.toml",
                ) from exc
        except (docker.errors.DockerException, OSError) as exc:
            raise EngineError(f"cannot look for the base image {reference}: {_reason(exc)}") from exc
        digests = image.attrs.get("RepoDigests") or [""]
        layers = (image.attrs.get("RootFS") or {}).get("Layers") or ()
        return Base(reference, str(image.id), str(digests[0]), tuple(layers))

    def run(self, execution: Execution, log: LogSink) -> EngineResult:
        """Runs the command to its end; see `ports.Engine`. A program that does not exist is exit 127.

        Raises:
            BaseMissingError: The base image is not local.
            EngineUnavailableError: No engine answers.
            EngineError: The container could not be made or started.
        """
        if execution.base is None:
            raise EngineError("a container needs a base image", hint="name one as `image.base` in mlvc.toml")
        client = self._client
        uid, gid = self._user
        writable = [mount.source for mount in execution.mounts if mount.writable]
        with contextlib.ExitStack() as stack:
            stack.enter_context(lent(writable, uid, gid))
            stack.enter_context(_translated("run the container"))
            container = self._create(client, execution)
            stack.callback(container.remove, force=True, v=True)
            return _attend(container, execution, log)

    @cached_property
    def _client(self) -> DockerClient:
        try:
            import docker  # noqa: PLC0415  # only where Docker is used
        except ModuleNotFoundError:
            raise EngineUnavailableError(
                "the Python package `docker` is not installed", hint="pip install 'mlvc[docker]'"
            ) from None
        with _translated(f"reach a container engine at {self._url}"):
            return docker.DockerClient(base_url=self._url, version="auto", timeout=_CONNECT_TIMEOUT_S)

    @cached_property
    def _user(self) -> tuple[int, int]:
        """The ids inside: the caller's own, or an ordinary user's where the caller is root.

        An engine that runs without root maps the caller to root inside; with every capability dropped, that is the
        ordinary user there, and the only one whose files the caller can remove afterwards.
        """
        with _translated("ask the container engine"):
            options = self._client.info().get("SecurityOptions") or ()
        if any("rootless" in option for option in options):
            return 0, 0
        return (os.getuid(), os.getgid()) if os.getuid() != 0 else (_USER, _USER)

    def _create(self, client: DockerClient, execution: Execution) -> Container:
        import docker.errors  # noqa: PLC0415  # only where Docker is used

        assert execution.base is not None  # noqa: S101  # `run` refused that
        uid, gid = self._user
        memory = {"/tmp": "rw,exec,nosuid,nodev,mode=1777", **dict.fromkeys(execution.hide, "ro")}  # noqa: S108
        try:
            image = client.images.get(execution.base.image_id)
            return client.containers.create(
                image,
                entrypoint="",
                command=_command(execution.argv),
                working_dir=execution.directory,
                environment=_environment(execution, image.attrs),
                mounts=_mounts(execution),
                user=f"{uid}:{gid}",
                hostname=_HOSTNAME,
                network_mode="none",
                ipc_mode="private",
                read_only=True,
                init=True,
                tmpfs=memory,
                shm_size=_SHARED_MEMORY,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                pids_limit=_PIDS,
                cpuset_cpus=None if execution.cpus is None else ",".join(map(str, execution.cpus)),
                mem_limit=None if execution.memory_mb is None else f"{execution.memory_mb}m",
                memswap_limit=None if execution.memory_mb is None else f"{execution.memory_mb}m",
                ulimits=[docker.types.Ulimit(name="core", soft=0, hard=0)],
                labels=[_LABEL],
                device_requests=[docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])]
                if execution.gpus
                else None,
                log_config=docker.types.LogConfig(type="none"),
            )
        except docker.errors.ImageNotFound as exc:
            raise BaseMissingError(
                f"the base image {execution.base.reference} ({execution.base.image_id[:19]}) is not here",
                hint=f"docker pull {execution.base.digest or execution.base.reference}",
            ) from exc


def _attend(container: Container, execution: Execution, log: LogSink) -> EngineResult:
    """Starts a container, passes its output on, and returns how it ended."""
    timer = threading.Timer(execution.timeout_s or 0, _kill, [container])
    # Attached before it starts, so that nothing it prints is lost.
    with _attached(container) as frames:
        started = time.monotonic()
        container.start()
        if execution.timeout_s is not None:
            timer.start()
        try:
            for stream, data in frames:
                log(data, is_error=stream == _STDERR)
            exit_code = int(container.wait()["StatusCode"])
        finally:
            timer.cancel()
        duration_ms = round((time.monotonic() - started) * 1000)
    container.reload()
    return EngineResult(exit_code, duration_ms, bool(container.attrs["State"].get("OOMKilled")))


@contextlib.contextmanager
def _attached(container: Container) -> Iterator[Iterator[tuple[int, bytes]]]:
    """Yields the frames that the container prints: the stream's number, and what was printed to it."""
    from docker.utils.socket import frames_iter  # noqa: PLC0415  # only where Docker is used

    connection = container.attach_socket(params={"stdout": 1, "stderr": 1, "stream": 1})
    # The answer that the socket was taken from owns the connection, where the transport is a socket of this machine.
    owner = getattr(connection, "_response", connection)
    try:
        yield frames_iter(connection, tty=False)  # type: ignore[no-untyped-call]
    finally:
        owner.close()


def _kill(container: Container) -> None:
    # It may have ended by itself in the meantime.
    with contextlib.suppress(MlvcError), _translated("end the container"):
        container.kill()


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turns what the `docker` package raises into our own errors."""
    import docker.errors  # noqa: PLC0415  # only where Docker is used

    try:
        yield
    except docker.errors.APIError as exc:
        raise EngineError(f"cannot {doing}: {_reason(exc)}") from exc
    except (docker.errors.DockerException, OSError) as exc:
        raise EngineUnavailableError(
            f"cannot {doing}: {_reason(exc)}", hint="start the engine, or use `--engine bubblewrap`"
        ) from exc


def _reason(exc: Exception) -> str:
    """Returns the innermost cause in one line; the libraries wrap a refused connection five times."""
    explanation = getattr(exc, "explanation", None)
    if explanation:
        return " ".join(str(explanation).split())
    innermost: BaseException = exc
    while (cause := innermost.__cause__ or innermost.__context__) is not None:
        innermost = cause
    if isinstance(innermost, OSError) and innermost.strerror:
        return innermost.strerror
    return " ".join(str(innermost).split())


def _repository_and_tag(reference: str) -> tuple[str, str | None]:
    """Splits a reference; without a tag or digest, `latest` is meant, and not every tag there is."""
    if "@" in reference:
        repository, _, digest = reference.partition("@")
        return repository, digest
    repository, mark, tag = reference.rpartition(":")
    if not mark or "/" in tag:
        return reference, "latest"
    return repository, tag


def _environment(execution: Execution, image: dict[str, Any]) -> list[str]:
    """Returns the variables; one that the image or the engine would add is taken away by its bare name."""
    added = [str(item).partition("=")[0] for item in (image.get("Config") or {}).get("Env") or ()]
    removed = [name for name in ("HOSTNAME", *added) if name not in execution.variables]
    return [*removed, *(f"{name}={_text(value, name)}" for name, value in execution.variables.items())]


def _mounts(execution: Execution) -> list[Mount]:
    from docker.types import Mount  # noqa: PLC0415  # only where Docker is used

    mounts = []
    if any(mount.target.startswith("/root/") for mount in execution.mounts):
        # Images keep root's home to root; a project that was recorded below it must be reachable. An empty volume
        # is root's with mode 755, where a tmpfs would take over the image's mode. It is removed with the container.
        mounts.append(Mount("/root", None, type="volume", no_copy=True))
    mounts += [
        Mount(
            _text(mount.target, "a mount"),
            _text(str(mount.source), "a mount"),
            type="bind",
            read_only=not mount.writable,
        )
        for mount in execution.mounts
    ]
    return mounts


def _text(value: str, what: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise EngineError(
            f"the container engine takes UTF-8 only, and {what} is not: {encode_name(os.fsencode(value))[:200]}",
            hint="use `--engine bubblewrap`",
        ) from None
    return value


def _command(argv: tuple[bytes, ...]) -> list[str]:
    """Returns the command; arguments that are not UTF-8, which JSON cannot carry, are put together by a shell."""
    try:
        return [argument.decode() for argument in argv]
    except UnicodeDecodeError:
        script = ["set --"]
        for argument in argv:
            octal = "".join(f"\\{byte:03o}" for byte in argument)
            # A command substitution drops final newlines, which the last letter protects.
            script.append(f'a=$(printf {shlex.quote(octal + "x")}); set -- "$@" "${{a%x}}"')
        return ["/bin/sh", "-c", "; ".join([*script, 'unset a; exec "$@"'])]
