"""Who uses a store: each work tree is registered in it, so that gc knows whose references to follow.

One file for each work tree in `repositories/`, named by the BLAKE3 of its git directory as it is written here:

    mlvc-repository 1
    common PATH
    git PATH
    root PATH
    end DIGITS           the BLAKE3 of everything before this line

Paths are in text form. Where the store lies inside the git directory they are relative to the store, so that a
repository can be moved or copied with its store. Format page: docs/format/gc.md
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from mlvc.errors import FormatError
from mlvc.fsio import translate_os_errors
from mlvc.model.names import decode_name, encode_name
from mlvc.store.errors import DamagedFileError, UnknownFormatError
from mlvc.store.temporaries import Temporary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlvc.store.layout import Layout

__all__ = ["Registration", "forget", "is_registered", "read_registrations", "register"]

_FIRST_LINE = "mlvc-repository 1"
_FIELDS = ("common", "git", "root")


class Registration(NamedTuple):
    """One work tree that uses a store; absolute paths.

    Attributes:
        common: The git directory that all linked worktrees share.
        git: The git directory of this worktree.
        root: The top of the work tree.
    """

    common: Path
    git: Path
    root: Path


def _texts(layout: Layout, registration: Registration) -> list[str]:
    store = os.path.realpath(layout.directory)
    is_inside = Path(store).is_relative_to(registration.common)
    texts = []
    for path in registration:
        # A linked worktree, which may stand anywhere, does not move with the repository.
        moves_along = path.is_relative_to(registration.common) or registration.common.is_relative_to(path)
        written = os.path.relpath(path, store) if is_inside and moves_along else str(path)
        texts.append(encode_name(os.fsencode(written)))
    return texts


def _file(layout: Layout, texts: Sequence[str]) -> Path:
    return layout.repositories / blake3(texts[1].encode()).hexdigest()


def _content(texts: Sequence[str]) -> bytes:
    lines = [_FIRST_LINE, *(f"{field} {text}" for field, text in zip(_FIELDS, texts, strict=True))]
    body = "".join(line + "\n" for line in lines)
    return f"{body}end {blake3(body.encode()).hexdigest()}\n".encode()


def is_registered(layout: Layout, registration: Registration) -> bool:
    """Returns whether the store knows this work tree as it is now; reads one small file."""
    texts = _texts(layout, registration)
    try:
        return _file(layout, texts).read_bytes() == _content(texts)
    except OSError:
        return False


def register(layout: Layout, registration: Registration) -> None:
    """Makes the store know a work tree; returns after that is durable.

    Raises:
        FileUnreadableError: The store cannot be written.
        DiskFullError: There is no room.
    """
    texts = _texts(layout, registration)
    with translate_os_errors(f"register in the store {layout.directory}"):
        layout.repositories.mkdir(exist_ok=True)
        file = Temporary.create(layout.temporaries, ".repository")
        try:
            file.write(_content(texts))
            file.sync()
            file.publish(_file(layout, texts))
        finally:
            file.discard()


def read_registrations(layout: Layout) -> Sequence[Registration]:
    """Returns the work trees that use the store, sorted.

    Raises:
        DamagedFileError: A file is none that mlvc wrote.
        UnknownFormatError: A newer mlvc wrote it.
        FileUnreadableError: One cannot be read.
    """
    return sorted(found for _, found in _read(layout))


def _read(layout: Layout) -> list[tuple[Path, Registration]]:
    with translate_os_errors(f"list {layout.repositories}"):
        if not layout.repositories.is_dir():
            return []
        paths = sorted(layout.repositories.iterdir())
    return [(path, _decode(layout, path)) for path in paths]


def _decode(layout: Layout, path: Path) -> Registration:
    with translate_os_errors(f"read {path}"):
        data = path.read_bytes()
    hint = f"delete it, then run `mlvc status` in every repository that uses {layout.directory}"
    try:
        first, *lines = data.decode().removesuffix("\n").split("\n")
        if first != _FIRST_LINE and first.startswith("mlvc-repository "):
            raise UnknownFormatError(path, first[:40])
        pairs = [line.partition(" ") for line in lines[:-1]]
        texts = [text for _, _, text in pairs]
        has_fields = tuple(field for field, _, _ in pairs) == _FIELDS
        places = [os.path.join(layout.directory, os.fsdecode(decode_name(text))) for text in texts]
    except (UnicodeDecodeError, FormatError) as exc:
        raise DamagedFileError(path, "it is no text that mlvc wrote", hint=hint) from exc
    if not has_fields or _content(texts) != data or _file(layout, texts) != path:
        raise DamagedFileError(path, "it does not describe the work tree that its name stands for", hint=hint)
    return Registration(*(Path(os.path.realpath(place)) for place in places))


def forget(layout: Layout, path: Path) -> int:
    """Takes a repository or work tree out of the register; returns how many entries that were.

    Args:
        layout: The store's.
        path: Its root, or one of its git directories.
    """
    wanted = Path(os.path.realpath(path))
    found = [file for file, registration in _read(layout) if wanted in registration]
    with translate_os_errors(f"write to {layout.repositories}"):
        for file in found:
            file.unlink()
    return len(found)
