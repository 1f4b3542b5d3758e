"""Lays what an environment is made of out on disk, for uv to install without a network."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from mlvc import fsio
from mlvc.env.files import lay_out
from mlvc.errors import MlvcError
from mlvc.model.ids import TreeId
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Distribution, Environment
from mlvc.ports import ObjectReader, Reporter

__all__ = [
    "REQUIREMENTS",
    "WheelMissingError",
    "check_wheels",
    "editable_directory",
    "finish_environment",
    "interpreter_path",
    "lay_interpreter",
    "lay_wheels",
    "remove_tree",
]

REQUIREMENTS = "requirements.txt"
_PATHS_FILE = "_mlvc_editable.pth"
# uv's own way of keeping an old installer from writing outside the environment; nothing that was captured.
_UV_FILES = ("_virtualenv.py", "_virtualenv.pth")
# What may stand in the name of a file that a stranger's object states.
_WHEEL_NAME = re.compile(r"[\w.+!-]+\.whl")
_DIGITS = re.compile(r"[0-9a-f]{64}")


class WheelMissingError(MlvcError):
    """A part of an environment is not in the store, so it cannot be rebuilt."""

    code = "wheel-missing"


def check_wheels(environment: Environment, reader: ObjectReader) -> None:
    """Makes sure that everything an environment is made of is here, before anything is started.

    Raises:
        WheelMissingError: Names what is not.
    """
    missing: list[str] = []
    for item in environment.distributions:
        is_here = item.wheel is not None and reader.has_blob(item.wheel)
        if not is_here or (item.editable_tree is not None and not reader.has_tree(item.editable_tree)):
            missing.append(f"{item.name} {item.version}")
    if environment.unowned is not None and not reader.has_tree(environment.unowned):
        missing.append("the files that no distribution owns")
    tree = environment.interpreter.tree
    if tree is not None and not reader.has_tree(tree):
        missing.append(f"Python {environment.interpreter.version}")
    if missing:
        raise WheelMissingError(
            f"the store lacks parts of the environment: {', '.join(missing)}",
            hint="get them from where the environment was captured, or capture it again with `mlvc env lock`",
        )


def lay_wheels(environment: Environment, reader: ObjectReader, directory: Path, reporter: Reporter) -> None:
    """Writes the wheels into a new directory, and `requirements.txt` with their hashes beside them.

    Raises:
        WheelMissingError: A recorded name or hash is none.
        IntegrityError: A stored wheel is damaged.
        DiskFullError: There is no room.
    """
    lines: list[str] = []
    with (
        fsio.translate_os_errors(f"write {encode_name(os.fsencode(directory))}"),
        reporter.task("unpacking wheels", total=len(environment.distributions)) as progress,
    ):
        directory.mkdir()
        directory.chmod(0o755)
        for item in environment.distributions:
            _check_names(item)
            if item.wheel is not None:
                path = directory / item.wheel_name
                with path.open("xb") as file:
                    file.writelines(reader.iter_blob(item.wheel))
                path.chmod(0o644)
                lines.append(f"{item.name}=={item.version} --hash=sha256:{item.wheel_sha256}\n")
            progress.advance()
        requirements = directory / REQUIREMENTS
        requirements.write_text("".join(lines))
        requirements.chmod(0o644)


def _check_names(item: Distribution) -> None:
    # Each becomes part of a path or of a line that uv interprets.
    is_plain = re.fullmatch(r"[\w.-]+", item.name) and re.fullmatch(r"[\w.+!-]+", item.version)
    if not (is_plain and _WHEEL_NAME.fullmatch(item.wheel_name) and _DIGITS.fullmatch(item.wheel_sha256)):
        raise WheelMissingError(
            f"the record of the wheel of {item.name[:80]!r} {item.version[:40]!r} makes no sense"
        )


def lay_interpreter(tree: TreeId, reader: ObjectReader, directory: Path, reporter: Reporter) -> Path:
    """Returns the directory that holds the files of an interpreter, below `directory`; written at the first call.

    Safe in several processes: one writes, the others wait.

    Raises:
        ObjectMissingError: A part of it is not in the store.
        DiskFullError: There is no room.
    """
    target = directory / tree.hex
    with fsio.translate_os_errors(f"write {encode_name(os.fsencode(directory))}"):
        directory.mkdir(parents=True, exist_ok=True)
        with fsio.file_lock(directory / f"{tree.short}.lock"):
            if not target.exists():
                temporary = directory / f".{tree.hex}.tmp"
                remove_tree(temporary)
                with reporter.task("unpacking the interpreter"):
                    lay_out(tree, reader, temporary)
                fsio.rename(temporary, target)
    return target


def interpreter_path(environment: Environment) -> str:
    """Returns the interpreter's binary relative to its `base_prefix`."""
    real = os.fsdecode(decode_name(environment.interpreter.real_executable))
    prefix = os.fsdecode(decode_name(environment.interpreter.base_prefix)).rstrip("/") + "/"
    # A prefix may itself be reached through a link, which `real_executable` has resolved.
    return real.removeprefix(prefix) if real.startswith(prefix) else f"bin/{os.path.basename(real)}"


def finish_environment(environment: Environment, reader: ObjectReader, directory: Path, project: str) -> None:
    """Puts what no wheel holds into a rebuilt virtual environment: files without an owner, paths of editable installs.

    Args:
        environment: Which one.
        reader: Has the files.
        directory: The virtual environment on this machine.
        project: Where the work tree will stand for the commands that use the environment.
    """
    with fsio.translate_os_errors(f"write {encode_name(os.fsencode(directory))}"):
        (site,) = directory.glob("lib/python*/site-packages")
        for name in _UV_FILES:
            (site / name).unlink(missing_ok=True)
        if environment.unowned is not None:
            lay_out(environment.unowned, reader, site)
        paths = [
            os.path.normpath(os.path.join(editable_directory(item, project), os.fsdecode(decode_name(path))))
            for item in environment.distributions
            if item.editable is not None
            for path in item.editable_paths
        ]
        if paths:
            target = site / _PATHS_FILE
            target.write_bytes(b"".join(os.fsencode(path) + b"\n" for path in paths))
            target.chmod(0o644)


def editable_directory(item: Distribution, project: str) -> str:
    """Returns the absolute directory that an editable install points to."""
    return os.path.normpath(os.path.join(project, os.fsdecode(decode_name(item.editable or "."))))


def remove_tree(path: Path) -> None:
    """Removes a directory of ours with all below it, if it is there."""
    if path.exists():
        shutil.rmtree(path)
