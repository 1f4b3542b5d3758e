"""`saved.log`: what was stored before something of the user's was overwritten, so that it can be had back.

The first line is `mlvc-saved 1`; then one line for each saved path, in the order in which they were saved, of the
same fields as a line of `mlvc.lock`. Lines are only ever added at the end.
Format page: docs/format/saved.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mlvc import fsio
from mlvc.errors import FormatError, VersionError
from mlvc.model.lock import TrackedPath, decode_entry, encode_entry

__all__ = ["append_saved", "read_saved"]

_FIRST_LINE = "mlvc-saved 1"


def read_saved(path: Path) -> Sequence[TrackedPath]:
    """Returns what was saved, the oldest first; nothing where there is no journal.

    Raises:
        VersionError: The version is not known.
        FormatError: A line cannot be read.
        FileUnreadableError: The file cannot be read.
    """
    with fsio.translate_os_errors(f"read {path}"):
        data = fsio.read_if_there(path)
    if data is None:
        return ()
    try:
        first, *lines = data.decode().removesuffix("\n").split("\n")
    except ValueError:
        raise FormatError(f"{path} is no journal of saved files") from None
    if first != _FIRST_LINE:
        raise VersionError(f"{path}: this mlvc does not know {first[:40]!r}", hint="install a newer mlvc")
    try:
        return [decode_entry(line) for line in lines]
    except FormatError as exc:
        raise FormatError(
            f"{path} cannot be read: {exc.message}",
            hint="mend the line, or move the file away: what only it names is then deleted by gc some day",
        ) from exc


def append_saved(path: Path, entries: Iterable[TrackedPath]) -> None:
    """Adds entries to the journal; returns after they are durable. What the journal names already is not repeated.

    Call it after the objects are durable and before anything is overwritten.

    Raises:
        FileUnreadableError: The file cannot be written.
        DiskFullError: There is no room for it.
    """
    saved = list(read_saved(path))
    known = {(entry.path, entry.kind, entry.id) for entry in saved}
    new = [entry for entry in entries if (entry.path, entry.kind, entry.id) not in known]
    if not new:
        return
    # The whole file is replaced, so that a crash cannot leave half a line behind.
    text = "".join(f"{line}\n" for line in (_FIRST_LINE, *(encode_entry(entry) for entry in [*saved, *new])))
    with fsio.translate_os_errors(f"write {path}"):
        fsio.atomic_write(path, text.encode())
