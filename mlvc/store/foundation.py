"""How the directory of a store comes to be, and what tells that there is one."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from mlvc import fsio
from mlvc.fsio import translate_os_errors
from mlvc.store.errors import DamagedFileError, NotAStoreError, UnknownFormatError
from mlvc.store.temporaries import Temporary

if TYPE_CHECKING:
    from pathlib import Path

    from mlvc.store.layout import Layout

__all__ = ["check_format", "found"]

_FORMAT_NAME = b"mlvc-store "
_FORMAT = _FORMAT_NAME + b"1\n"
_SHARED_DIRECTORY, _SHARED_FILE = 0o2070, 0o060
"""What the group is given besides what the umask allows; what is made in such a directory belongs to its group."""


def found(layout: Layout, *, shared: bool) -> None:
    """Makes a store where there is none; completes one that a killed process began. Returns after it is durable.

    Args:
        layout: Where.
        shared: Whether whoever is in the directory's group may write to a new store, under any umask.

    Raises:
        DiskFullError: There is no room for it.
        FileUnreadableError: The directory cannot be made.
    """
    directory = layout.directory
    with translate_os_errors(f"make a store in {directory}"):
        is_new = not layout.format.exists()
        new = [path for path in (directory, *directory.parents) if not path.exists()]
        for path in (directory, layout.packs, layout.temporaries, layout.repositories):
            path.mkdir(parents=True, exist_ok=True)
            if is_new and shared:
                _give(path, _SHARED_DIRECTORY)
        if is_new:
            # Who may only read can then still keep gc from deleting what is being read.
            layout.use.touch()
            for path in (layout.lock, layout.use, layout.gc) if shared else ():
                path.touch()
                _give(path, _SHARED_FILE)
        # A process that was killed while it made the store had no time to fill it.
        if is_new and not os.listdir(layout.packs):
            for path in (directory, *new):
                fsio.sync_directory(path.parent)
            # It comes last: a directory with this file is a whole store.
            file = Temporary.create(layout.temporaries, ".format")
            file.write(_FORMAT)
            file.sync()
            file.publish(layout.format)


def check_format(layout: Layout) -> None:
    """Returns if there is a store that this mlvc knows.

    Raises:
        NotAStoreError: There is none.
        UnknownFormatError: It was made by a newer mlvc.
        DamagedFileError: Its format file says something else.
    """
    path = layout.format
    with translate_os_errors(f"read {path}"):
        content = fsio.read_if_there(path)
    if content is None:
        raise NotAStoreError(layout.directory)
    if content == _FORMAT:
        return
    version = content.removeprefix(_FORMAT_NAME).removesuffix(b"\n")
    if content == _FORMAT_NAME + version + b"\n" and version.isdigit():
        raise UnknownFormatError(path, f"version {version.decode()}")
    raise DamagedFileError(
        path,
        "it does not say `mlvc-store` and a version",
        hint=f"if the store was made by this version of mlvc: echo mlvc-store 1 > {path}",
    )


def _give(path: Path, bits: int) -> None:
    """Sets bits of a file's mode; an administrator may have set them, and made it theirs."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & bits != bits:
        path.chmod(mode | bits)
