"""What the files held that a command read and nobody declared, within limits: so that a change can be told later.

The bytes themselves are not stored: nobody asked for that, and they may be anything of the person's own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from mlvc.code.snapshot import looks_secret
from mlvc.model.ids import BlobId
from mlvc.model.names import decode_name

__all__ = ["digest_undeclared"]

_MOST_FILES = 200
_LARGEST_BYTES = 16 << 20
_MOST_BYTES = 64 << 20
"""Together; a tenth of a second."""


def digest_undeclared(names: Iterable[str], project: Path) -> dict[str, str]:
    """Returns the ids of the files as they are now, by name, as far as the limits go.

    Left out: what is no file or cannot be read, what is called as a secret is (a short one could be guessed from its
    digest), files over 16 MiB, and those that do not fit into 64 MiB or 200 files together.

    Args:
        names: In text form; relative ones are below `project`.
        project: The work tree.
    """
    found: dict[str, str] = {}
    left_bytes = _MOST_BYTES
    for name in names:
        path = decode_name(name)
        if len(found) >= _MOST_FILES or looks_secret(path):
            continue
        data = _read(os.path.join(os.fsencode(project), path), min(_LARGEST_BYTES, left_bytes))
        if data is not None:
            left_bytes -= len(data)
            found[name] = str(BlobId.of(data))
    return found


def _read(path: bytes, most_bytes: int) -> bytes | None:
    try:
        # Should a pipe stand there by now, nobody waits for its other end.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
                return None
            data = file.read(most_bytes + 1)
    except OSError:
        return None
    return data if len(data) <= most_bytes else None
