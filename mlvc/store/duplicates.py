"""Records that several packs of a store hold: gc keeps one good copy, where rewriting the packs of the others pays.

Forked writers, pulls of whole packs, and pushes that crossed each other make them. None is dropped before the copy that
stays was read and has passed its checksum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlvc.errors import FormatError, MlvcError
from mlvc.store.marks import DUPLICATE
from mlvc.store.pack import Entry, check_record
from mlvc.store.records import PackFile

if TYPE_CHECKING:
    from mlvc.store.layout import Layout
    from mlvc.store.local import LocalStore
    from mlvc.store.marks import Marks
    from mlvc.store.pack_index import PackIndex

__all__ = ["mark_duplicates"]

_Copy = tuple["PackIndex", int, Entry]


def mark_duplicates(store: LocalStore, marks: Marks) -> None:
    """Marks every copy but one of what is needed or kept as a duplicate.

    A whole copy stays rather than a delta, and one in a large pack rather than one in a small pack, so that few packs
    have to be written again.

    Raises:
        DamagedFileError: An index cannot be read.
    """
    for copies in store.records.catalog.iter_copies():
        marked = [copy for copy in copies if marks.of(copy[0])[copy[1]]]
        if len(marked) < 2:
            continue
        marked.sort(key=lambda copy: (bool(copy[2].base), -copy[0].info.size_bytes, copy[0].info.id))
        good = next((copy for copy in marked if _is_good(store.layout, copy)), None)
        if good is None:
            continue
        for copy in marked:
            # What a raw pack holds twice is no other copy: it is where the blob has it.
            if copy[0].info.id != good[0].info.id:
                marks.of(copy[0])[copy[1]] = DUPLICATE


def _is_good(layout: Layout, copy: _Copy) -> bool:
    index, _, entry = copy
    try:
        file = PackFile(layout.pack(index.info.id))
        check_record(file.read(entry.offset, entry.size_bytes), entry)
    except (FormatError, MlvcError):
        return False
    return True
