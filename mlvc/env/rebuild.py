"""Rebuilds an environment from the store inside an engine, as `/env`.

    DIRECTORY/KEY/env               what is mounted at /env
    DIRECTORY/KEY/editable/N        editable installs from outside the repository
    DIRECTORY/interpreters/TREE     interpreters from outside /usr

A directory appears under its key when it is complete. uv installs the wheels; it sees no network and no registry.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlvc import fsio
from mlvc.env.files import lay_out
from mlvc.env.host import (
    INSTALL_OPTIONS,
    MESSAGE_LINES,
    UV_OPTIONS,
    VENV_OPTIONS,
    EnvironmentBuildError,
    InterpreterMismatchError,
    sync,
    system_candidates,
)
from mlvc.env.libraries import glibc_version, parse_version
from mlvc.env.probe import find_uv
from mlvc.env.wheelhouse import (
    REQUIREMENTS,
    check_wheels,
    editable_directory,
    finish_environment,
    interpreter_path,
    lay_interpreter,
    lay_wheels,
    remove_tree,
)
from mlvc.model.canonical import encode_canonical
from mlvc.model.ids import ObjectId
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Base, Environment
from mlvc.ports import Engine, Execution, Mount, ObjectReader, Reporter

__all__ = [
    "BuiltEnvironment",
    "EnvironmentBuildError",
    "InterpreterMismatchError",
    "build",
    "environment_key",
    "missing_system_libraries",
    "sync",
]

_ENV = "/env"
_TOOLS = "/mlvc-build"
_VARIABLES = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8"}  # noqa: S108  # inside
# $1 uv, $2 the interpreter, $3 the wheels. The umask of whoever runs mlvc must not decide who can read the result.
_BUILD_SCRIPT = (
    f'umask 022 && "$1" {" ".join(UV_OPTIONS)} venv {" ".join(VENV_OPTIONS)} --python "$2" {_ENV}'
    f' && if [ -s "$3/{REQUIREMENTS}" ]; then "$1" {" ".join(UV_OPTIONS)} pip install'
    f' {" ".join(INSTALL_OPTIONS)} --python {_ENV}/bin/python --find-links "$3" -r "$3/{REQUIREMENTS}"; fi'
)
# $1 the interpreter, $2 the directory. Every import would otherwise be compiled again at each execution: 3.6 s of a
# scikit-learn training that takes 1.9 s. What does not compile is no module; nobody imports the tests.
_COMPILE_SCRIPT = (
    """umask 022; "$1" -I -m compileall -q -q -j 0 -x '/(tests?|idlelib|lib2to3|turtledemo)/' "$2"; true"""
)
# Prints what the dynamic linker finds, what stands in its usual directories, and the version of glibc.
_LIBRARIES_SCRIPT = (
    "PATH=$PATH:/sbin:/usr/sbin; ldconfig -p 2>/dev/null;"
    " ls /lib /usr/lib /lib64 /usr/lib64 /usr/local/lib /lib/*-linux-* /usr/lib/*-linux-* 2>/dev/null;"
    " echo; getconf GNU_LIBC_VERSION 2>/dev/null; true"
)
_VERSION_SCRIPT = "import platform, sys; print(platform.python_version() + '|' + repr(sys.version))"


@dataclass(frozen=True, slots=True)
class BuiltEnvironment:
    """A rebuilt environment, ready for use.

    Attributes:
        path: The virtual environment on this machine.
        python: Its interpreter, as a command inside names it.
        mounts: Everything that an execution must mount to use it, all read-only; empty where nothing is isolated.
    """

    path: Path
    python: str
    mounts: tuple[Mount, ...] = ()


@dataclass(slots=True)
class _Output:
    """Keeps what a command prints."""

    data: bytes = b""

    def __call__(self, data: bytes, *, is_error: bool) -> None:  # noqa: ARG002  # the contract's name
        """Takes it, whichever stream it comes from."""
        self.data += data

    @property
    def last_lines(self) -> str:
        """The end of it, for a message."""
        return "\n".join(self.data.decode(errors="replace").strip().splitlines()[-MESSAGE_LINES:])


def environment_key(environment: Environment, base: Base | None, *, project: str) -> str:
    """Returns what determines a rebuilt environment, as hexadecimal digits.

    Args:
        environment: What is rebuilt.
        base: The image it is built in; None for the system directories of this machine.
        project: Where the work tree stands inside: editable installs in it point there.
    """
    interpreter = environment.interpreter
    has_inner = any(
        item.editable is not None and item.editable_tree is None for item in environment.distributions
    )
    return ObjectId.of(
        encode_canonical(
            {
                "base": None if base is None else base.image_id,
                "editable": [
                    [item.name, item.editable, str(item.editable_tree), *item.editable_paths]
                    for item in environment.distributions
                    if item.editable is not None
                ],
                "interpreter": interpreter.build if interpreter.tree is None else str(interpreter.tree),
                "prefix": interpreter.base_prefix,
                "project": encode_name(os.fsencode(project)) if has_inner else None,
                "unowned": None if environment.unowned is None else str(environment.unowned),
                "uv": _uv_version(),
                "wheels": [[item.wheel_name, item.wheel_sha256] for item in environment.distributions],
            }
        )
    ).hex


def _uv_version() -> str:
    # It takes 30 ms to load, which a run on this machine must not pay.
    from importlib import metadata  # noqa: PLC0415

    return metadata.version("uv")


def build(
    environment: Environment,
    *,
    reader: ObjectReader,
    engine: Engine,
    base: Base | None,
    directory: Path,
    project: str,
    reporter: Reporter,
    is_compiled: bool = True,
) -> BuiltEnvironment:
    """Returns the environment, rebuilt inside `engine` where that was not done before.

    An engine that isolates nothing gets a virtual environment on this machine instead of one at `/env`.
    Safe in several processes: one builds, the others wait. A build that is killed is begun again.

    Args:
        environment: What to rebuild.
        reader: Has its wheels and trees.
        engine: Where it will be used.
        base: The image that the engine will run on; None where it has none.
        directory: The cache of built environments.
        project: Where the work tree will stand inside.
        reporter: Told of progress.
        is_compiled: Whether its modules are compiled; for a few executions that costs more than it saves.

    Raises:
        WheelMissingError: A wheel or tree is not in the store.
        InterpreterMismatchError: The interpreter is the base's, and the base has another.
        EnvironmentBuildError: uv refused something.
    """
    check_wheels(environment, reader)
    key = environment_key(environment, base, project=project)
    if not engine.isolated:
        key = ObjectId.of(f"{key} on the host".encode()).hex
    with fsio.translate_os_errors(f"write {encode_name(os.fsencode(directory))}"):
        directory.mkdir(parents=True, exist_ok=True)
        with fsio.file_lock(
            directory / f"{key[:16]}.lock",
            on_wait=lambda: reporter.note("waiting for another mlvc that rebuilds this environment"),
        ):
            work = _Build(
                environment, reader, engine, base, directory, project, reporter, _Output(), is_compiled
            )
            return work.run(directory / key)


@dataclass(frozen=True, slots=True)
class _Build:
    """One call of `build`, with the lock held."""

    environment: Environment
    reader: ObjectReader
    engine: Engine
    base: Base | None
    directory: Path
    project: str
    reporter: Reporter
    output: _Output
    is_compiled: bool

    def run(self, target: Path) -> BuiltEnvironment:
        if not self.engine.isolated:
            return self._on_host(target)
        python, interpreter = self._interpreter()
        if not target.exists():
            temporary = target.with_name(f".{target.name}.tmp")
            remove_tree(temporary)
            self._make(temporary, python, interpreter)
            fsio.rename(temporary, target)
        mounts = (*interpreter, Mount(target / "env", _ENV), *self._editable_mounts(target))
        return BuiltEnvironment(target / "env", f"{_ENV}/bin/python", mounts)

    def _on_host(self, target: Path) -> BuiltEnvironment:
        # Scripts in it name its path, so it cannot be built elsewhere and renamed: a mark beside it says complete.
        mark = target.with_name(f"{target.name}.complete")
        if not mark.exists():
            remove_tree(target)
            sync(
                self.environment,
                target,
                reader=self.reader,
                project=Path(self.project),
                reporter=self.reporter,
            )
            if self.is_compiled:
                for top in ("lib", "interpreter"):
                    # By its name alone: which modules are tests must not depend on where the project stands.
                    self._compile(str(target / "bin" / "python"), top, (), within=str(target))
            mark.touch()
        return BuiltEnvironment(target, str(target / "bin" / "python"))

    def _interpreter(self) -> tuple[str, tuple[Mount, ...]]:
        """Returns the interpreter's path inside, and what must be mounted for it."""
        tree = self.environment.interpreter.tree
        if tree is None:
            return self._system_interpreter(), ()
        files = lay_interpreter(tree, self.reader, self.directory / "interpreters", self.reporter)
        prefix = os.fsdecode(decode_name(self.environment.interpreter.base_prefix))
        python = os.path.join(prefix, interpreter_path(self.environment))
        compiled = files.with_name(f"{files.name}.compiled")
        if self.is_compiled and not compiled.exists():
            self._compile(python, os.path.join(prefix, "lib"), (Mount(files, prefix, writable=True),))
            compiled.touch()
        return python, (Mount(files, prefix),)

    def _system_interpreter(self) -> str:
        recorded = self.environment.interpreter
        seen: list[str] = []
        for path in system_candidates(self.environment):
            output = _Output()
            execution = Execution(
                (os.fsencode(path), b"-I", b"-c", _VERSION_SCRIPT.encode()), "/", _VARIABLES, base=self.base
            )
            if self.engine.run(execution, output).exit_code != 0:
                continue
            version = output.data.decode(errors="replace").strip().partition("|")[0]
            if version == recorded.version:
                return path
            seen.append(f"{path} is Python {version}")
        where = "this machine" if self.base is None else self.base.reference
        found = "; ".join(seen) or f"none of {', '.join(system_candidates(self.environment))}"
        raise InterpreterMismatchError(
            f"the environment was recorded with the system's Python {recorded.version}, and {where} has {found}",
            hint="name a base image that has it with `image.base` in mlvc.toml",
        )

    def _make(self, directory: Path, python: str, interpreter: Sequence[Mount]) -> None:
        for path in (directory, directory / "env"):
            path.mkdir()
            path.chmod(0o755)
        wheels = directory / "wheels"
        lay_wheels(self.environment, self.reader, wheels, self.reporter)
        arguments = (f"{_TOOLS}/uv", python, f"{_TOOLS}/wheels")
        execution = Execution(
            tuple(map(os.fsencode, ("/bin/sh", "-c", _BUILD_SCRIPT, "mlvc", *arguments))),
            "/",
            _VARIABLES,
            (
                *interpreter,
                Mount(find_uv(), f"{_TOOLS}/uv"),
                Mount(wheels, f"{_TOOLS}/wheels"),
                Mount(directory / "env", _ENV, writable=True),
            ),
            base=self.base,
        )
        with self.reporter.task("rebuilding the environment", unit="steps"):
            result = self.engine.run(execution, self.output)
        if result.exit_code != 0:
            raise EnvironmentBuildError(
                f"the environment could not be rebuilt (exit {result.exit_code}):\n{self.output.last_lines}"
            )
        remove_tree(wheels)
        finish_environment(self.environment, self.reader, directory / "env", self.project)
        if self.is_compiled:
            mounts = (*interpreter, Mount(directory / "env", _ENV, writable=True))
            self._compile(f"{_ENV}/bin/python", f"{_ENV}/lib", mounts)
        for index, item in enumerate(self.environment.distributions):
            if item.editable_tree is not None:
                lay_out(item.editable_tree, self.reader, directory / "editable" / str(index))

    def _compile(self, python: str, directory: str, mounts: Sequence[Mount], *, within: str = "/") -> None:
        arguments = ("/bin/sh", "-c", _COMPILE_SCRIPT, "mlvc", python, directory)
        execution = Execution(
            tuple(map(os.fsencode, arguments)), within, _VARIABLES, tuple(mounts), base=self.base
        )
        with self.reporter.task("compiling its modules", unit="steps"):
            self.engine.run(execution, _Output())

    def _editable_mounts(self, target: Path) -> list[Mount]:
        return [
            Mount(target / "editable" / str(index), editable_directory(item, self.project))
            for index, item in enumerate(self.environment.distributions)
            if item.editable_tree is not None
        ]


def missing_system_libraries(
    environment: Environment, engine: Engine, base: Base | None, *, cache_dir: Path
) -> tuple[str, ...]:
    """Returns the libraries that the environment takes from the system and that are not there, inside `engine`.

    A glibc that is too old is among them, as `glibc 2.38 (there is 2.36)`. Runs one short command, for an image once:
    a container of its own would take longer than anything else that a reproduction adds.
    """
    if not environment.system_libraries and not environment.glibc:
        return ()
    text = _system_libraries(engine, base, cache_dir)
    names = {line.split()[0] for line in text.splitlines() if line.split()}
    missing = [name for name in environment.system_libraries if name not in names]
    present = next((found for line in text.splitlines() if (found := glibc_version(line))), "")
    if environment.glibc and present and parse_version(present) < parse_version(environment.glibc):
        missing.append(f"glibc {environment.glibc} (there is {present})")
    return tuple(missing)


def _system_libraries(engine: Engine, base: Base | None, cache_dir: Path) -> str:
    """Returns what `_LIBRARIES_SCRIPT` prints; of an image, which never changes under its id, what it printed once."""
    path = None
    if base is not None:
        path = cache_dir / f"libraries-{ObjectId.of((base.image_id + _LIBRARIES_SCRIPT).encode()).short}"
        known = fsio.read_if_there(path)
        if known is not None:
            return known.decode(errors="replace")
    output = _Output()
    execution = Execution((b"/bin/sh", b"-c", _LIBRARIES_SCRIPT.encode()), "/", _VARIABLES, base=base)
    result = engine.run(execution, output)
    if path is not None and result.exit_code == 0:
        with fsio.translate_os_errors(f"write {encode_name(os.fsencode(path))}"):
            cache_dir.mkdir(parents=True, exist_ok=True)
            fsio.atomic_write(path, output.data)
    return output.data.decode(errors="replace")
