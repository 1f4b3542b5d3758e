"""The packs that a gc has begun to delete: from the moment the list is published, none of them counts.

Deleting several packs takes several steps, and a crash between them must not leave a tree that looks stored while
what it names is gone. The list is one step, and what follows it may be repeated by anybody.

    mlvc-condemned 1
    HEX                  one line for each pack
    end HEX              the BLAKE3 of everything before this line

Format page: docs/format/gc.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.fsio import sync_directory, translate_os_errors
from mlvc.store.errors import DamagedFileError, UnknownFormatError
from mlvc.store.layout import parse_pack_name
from mlvc.store.temporaries import Temporary

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from mlvc.model.ids import PackId
    from mlvc.store.layout import Layout

__all__ = ["condemn", "execute", "read_condemned"]

_FIRST_LINE = "mlvc-condemned 1"


def _encode(packs: Collection[PackId]) -> bytes:
    body = "".join(f"{line}\n" for line in (_FIRST_LINE, *sorted(pack.hex for pack in packs)))
    return f"{body}end {blake3(body.encode()).hexdigest()}\n".encode()


def read_condemned(path: Path) -> frozenset[PackId]:
    """Returns the packs of the list; none where there is no list, as is usual.

    Raises:
        DamagedFileError: It is no such list, or damaged: which packs count is then not known.
        UnknownFormatError: A newer mlvc wrote it.
        FileUnreadableError: It cannot be read.
    """
    with translate_os_errors(f"read {path}"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return frozenset()
    first, *lines = data.decode("latin-1").split("\n")
    if first != _FIRST_LINE and first.startswith("mlvc-condemned "):
        raise UnknownFormatError(path, first[:40])
    packs = {pack for line in lines if (pack := parse_pack_name(line + ".pack", ".pack")) is not None}
    if _encode(packs) != data:
        raise DamagedFileError(
            path,
            "it is no list of packs",
            hint="delete it and run `mlvc fsck`: at worst, what gc had begun to delete is there in part",
        )
    return frozenset(packs)


def condemn(layout: Layout, packs: Collection[PackId]) -> None:
    """Makes packs cease to count, durably and all at once; the caller holds `use` alone."""
    file = Temporary.create(layout.temporaries, ".condemned")
    try:
        file.write(_encode(packs))
        file.sync()
        file.publish(layout.condemned)
    finally:
        file.discard()


def execute(layout: Layout) -> None:
    """Deletes the condemned packs, and then the list; harmless where there is none. The caller holds `use` alone."""
    packs = read_condemned(layout.condemned)
    if not layout.condemned.exists():
        return
    for pack in sorted(packs):
        layout.index(pack).unlink(missing_ok=True)
        layout.pack(pack).unlink(missing_ok=True)
    # The list must outlive the packs: without it they would count again.
    sync_directory(layout.packs)
    layout.condemned.unlink()
    sync_directory(layout.directory)
