"""Makes a store sound again from what is intact in it: indexes anew, and good records of damaged packs saved."""

from __future__ import annotations

import contextlib
import stat
from typing import TYPE_CHECKING

from mlvc import fsio
from mlvc.errors import FormatError
from mlvc.fsio import file_lock, translate_os_errors
from mlvc.store.copying import copy_records
from mlvc.store.layout import INDEX_SUFFIX
from mlvc.store.pack_index import PackInfo, encode_index
from mlvc.store.temporaries import Temporary
from mlvc.store.unreached import decode_unreached

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlvc.model.ids import PackId
    from mlvc.ports import Reporter
    from mlvc.store.fsck import Examined, PackState
    from mlvc.store.local import LocalStore

__all__ = ["mend_packs"]


def mend_packs(store: LocalStore, examined: Examined, reporter: Reporter) -> list[Path]:
    """Mends what the examination of a store found wrong with its packs, and returns what was moved aside.

    An intact pack gets its index anew. Of a damaged pack the good records are copied into a new one, which is durable
    before the damaged one is moved into `damaged/`. What a newer mlvc wrote, and what cannot be read, is left alone.

    Raises:
        FileUnreadableError: The store cannot be written.
        DiskFullError: There is no room for copies.
    """
    moved: list[Path] = []
    with translate_os_errors(f"write to the store {store.layout.directory}"):
        for pack, state in sorted(examined.packs.items()):
            if state.is_foreign:
                continue
            if state.is_intact and not state.bad:
                _write_index(store, pack, state)
                continue
            if state.good and state.is_data is not None:
                size_bytes = store.layout.pack(pack).stat().st_size
                with reporter.task("saving what is good", total=size_bytes, unit="bytes") as task:
                    copy_records(store, [(pack, state.good)], task, is_data=state.is_data)
            moved += _move_aside(store, pack)
        for path in _damaged_notes(store):
            # It counts as empty already.
            path.unlink()
    store.records.catalog.refresh()
    return moved


def _write_index(store: LocalStore, pack: PackId, state: PackState) -> None:
    layout = store.layout
    size_bytes = layout.pack(pack).stat().st_size
    file = Temporary.create(layout.temporaries, INDEX_SUFFIX)
    try:
        info = PackInfo(pack, bool(state.is_data), size_bytes, len(state.good), state.is_raw)
        file.write(encode_index(info, state.good))
        file.sync()
        with file_lock(layout.lock):
            file.publish(layout.index(pack))
    finally:
        file.discard()


def _move_aside(store: LocalStore, pack: PackId) -> Iterator[Path]:
    """Takes the index first: a pack without one does not count."""
    layout = store.layout
    layout.damaged.mkdir(exist_ok=True)
    # Whoever may delete a pack may move one there. If it is another user's, it has been given them already.
    with contextlib.suppress(PermissionError):
        layout.damaged.chmod(stat.S_IMODE(layout.packs.stat().st_mode))
    fsio.sync_directory(layout.directory)
    with file_lock(layout.lock):
        for path in (layout.index(pack), layout.pack(pack)):
            if path.exists():
                fsio.rename(path, layout.damaged / path.name)
                yield layout.damaged / path.name
        fsio.sync_directory(layout.damaged)
        fsio.sync_directory(layout.packs)


def _damaged_notes(store: LocalStore) -> Iterator[Path]:
    path = store.layout.unreached
    if path.exists():
        try:
            decode_unreached(path.read_bytes())
        except FormatError:
            yield path
