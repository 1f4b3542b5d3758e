"""Which raw packs were found intact, and what the file system said of them then.

A pack whose file has not changed since need not be read again before it is shared with the work tree, if the user says
so. Its bytes are durable before it is noted here: power loss cannot take them and leave the stat data as it was.
The file is only a cache: without it, packs are read again.

    mlvc-verified 1
    HEX SIZE MTIME CTIME INODE   one line for each pack, sorted; both times in nanoseconds
    end DIGITS                   the BLAKE3 of everything before this line

Format page: docs/format/verified.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from blake3 import blake3

from mlvc.model.ids import DIGEST_BYTES, PackId
from mlvc.store.temporaries import Temporary

if TYPE_CHECKING:
    import os
    from collections.abc import Container, Mapping

    from mlvc.store.layout import Layout

__all__ = ["FileState", "decode_verified", "encode_verified", "note_verified", "read_verified"]

_FIRST_LINE = "mlvc-verified 1"
_MOST_DIGITS = 20
"""Of a number of 64 bits; Python refuses to read some thousand."""


class FileState(NamedTuple):
    """What tells that a file has not changed."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Returns that of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def is_same_but_for_links(self, other: FileState) -> bool:
        """Returns whether nothing differs but what also a new name, or the loss of one, changes."""
        return self._replace(ctime_ns=other.ctime_ns) == other


def encode_verified(packs: Mapping[PackId, FileState]) -> bytes:
    """Returns the file's contents."""
    lines = (" ".join((pack.hex, *map(str, packs[pack]))) for pack in sorted(packs))
    body = "".join(f"{line}\n" for line in (_FIRST_LINE, *lines))
    return f"{body}end {blake3(body.encode()).hexdigest()}\n".encode()


def decode_verified(data: bytes) -> dict[PackId, FileState]:
    """Returns what the file holds; nothing if it is damaged, or a newer mlvc wrote it."""
    packs: dict[PackId, FileState] = {}
    for line in data.decode("latin-1").split("\n"):
        digits, *numbers = line.split(" ")
        if len(numbers) == len(FileState._fields) and all(map(_is_number, numbers)):
            try:
                digest = bytes.fromhex(digits)
            except ValueError:
                return {}
            if len(digest) == DIGEST_BYTES:
                packs[PackId(digest)] = FileState(*map(int, numbers))
    return packs if encode_verified(packs) == data else {}


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def read_verified(layout: Layout) -> dict[PackId, FileState]:
    """Returns what is known; nothing where that cannot be read."""
    try:
        return decode_verified(layout.verified.read_bytes())
    except OSError:
        return {}


def note_verified(layout: Layout, pack: PackId, state: FileState, present: Container[PackId]) -> None:
    """Takes note that a pack is intact; of packs that are not present nothing is kept.

    Of two processes that do so at once one may be in vain. Raises OSError as the system does.
    """
    known = read_verified(layout)
    if known.get(pack) == state:
        return
    kept = {other: found for other, found in known.items() if other in present}
    file = Temporary.create(layout.temporaries, ".verified")
    try:
        file.write(encode_verified({**kept, pack: state}))
        file.sync()
        file.publish(layout.verified)
    finally:
        file.discard()
