"""The lines of `.gitignore` that keep git away from tracked data: one anchored line beside each tracked path.

A pattern without a final slash matches a directory, a file and a link alike, so a data directory that is replaced by
a link to another disk stays ignored. Pattern rules: https://git-scm.com/docs/gitignore
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from mlvc import fsio
from mlvc.errors import NotFoundError, UsageError
from mlvc.model.lock import check_path
from mlvc.model.names import encode_name
from mlvc.worktree.scan import lstat_at, open_parent

__all__ = ["add_ignore", "ignore_line", "ignore_lines", "remove_ignore"]

_FILE_NAME = b".gitignore"
_SPECIAL = re.compile(rb"[\\*?\[\]!#]")


def ignore_line(path: bytes) -> bytes:
    """Returns the line, without its end, that makes git ignore exactly `path` in the `.gitignore` beside it.

    Raises:
        FormatError: The path cannot be tracked; a newline, which no line could hold, is one reason.
    """
    check_path(path)
    pattern = _SPECIAL.sub(rb"\\\g<0>", path.rpartition(b"/")[2])
    bare = pattern.rstrip(b" ")
    pattern = bare + rb"\ " * (len(pattern) - len(bare))
    if pattern.endswith(b"\r"):
        # Git takes a final carriage return for half of a line end, escaped or not; as a set of one it is none.
        pattern = pattern[:-1] + b"[\r]"
    return b"/" + pattern


def ignore_lines(paths: Iterable[bytes]) -> dict[bytes, set[bytes]]:
    """Returns the lines that `add_ignore` writes for paths, by the `.gitignore` that it writes them into."""
    lines: dict[bytes, set[bytes]] = {}
    for path in paths:
        directory, slash, _ = path.rpartition(b"/")
        lines.setdefault(directory + slash + _FILE_NAME, set()).add(ignore_line(path))
    return lines


def add_ignore(root: Path, path: bytes) -> bool:
    """Makes git ignore `path`; every other line stays as it is.

    Returns:
        Whether the file had to be changed.

    Raises:
        UsageError: `.gitignore` is a link, which git does not follow, or the path leads through one.
        NotFoundError: The directory of the path does not exist.
    """
    file, text = _read(root, path)
    line = ignore_line(path)
    if line in map(_content, text.split(b"\n")):
        return False
    if text and not text.endswith(b"\n"):
        text += b"\n"
    with fsio.translate_os_errors(f"write {file}"):
        fsio.atomic_write(file, text + line + b"\n")
    return True


def remove_ignore(root: Path, path: bytes) -> bool:
    """Takes back what `add_ignore` did; a file that holds nothing else is deleted.

    Returns:
        Whether the file had to be changed.

    Raises:
        UsageError: As `add_ignore` raises it.
    """
    try:
        file, text = _read(root, path)
    except NotFoundError:
        return False
    line = ignore_line(path)
    lines = re.findall(rb"[^\n]*\n|[^\n]+", text)  # `splitlines` would also split at carriage returns.
    kept = [item for item in lines if _content(item) != line]
    if len(kept) == len(lines):
        return False
    with fsio.translate_os_errors(f"write {file}"):
        if kept:
            fsio.atomic_write(file, b"".join(kept))
        else:
            file.unlink()
    return True


def _content(line: bytes) -> bytes:
    # Git may have been told to write CRLF, and reads it; a line of ours ends in no carriage return.
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _read(root: Path, path: bytes) -> tuple[Path, bytes]:
    check_path(path)
    try:
        with open_parent(root, path) as fd:
            status = lstat_at(_FILE_NAME, fd, path.rpartition(b"/")[0] + b"/" + _FILE_NAME)
    except FileNotFoundError as exc:
        raise NotFoundError(f"the directory of {encode_name(path)} does not exist") from exc
    file = root / os.fsdecode(path.rpartition(b"/")[0]) / os.fsdecode(_FILE_NAME)
    if status is None:
        return file, b""
    if not os.path.isfile(file) or os.path.islink(file):
        raise UsageError(f"{file} is no plain file, so git does not read it", hint="replace it with one")
    with fsio.translate_os_errors(f"read {file}"):
        return file, file.read_bytes()
