"""What remotes were seen to hold: caches in a directory, told without asking any.

remote-packs.json        {URL: {ID: [is data, size, size of the index]}}
remote-indexes/HEX.idx   the index of a pack that was on a remote and not here
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlvc.store.layout import INDEX_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlvc.model.ids import PackId

__all__ = ["REMOTE_INDEXES", "REMOTE_PACKS", "is_on_a_remote", "read_seen"]

REMOTE_PACKS = "remote-packs.json"
REMOTE_INDEXES = "remote-indexes"


def read_seen(cache: Path) -> Mapping[str, Any]:
    """Returns the packs of each remote as they stand in the file, unchecked; nothing where it cannot be read."""
    try:
        document = json.loads((cache / REMOTE_PACKS).read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def is_on_a_remote(cache: Path, pack: PackId) -> bool:
    """Returns whether a pack was seen on any remote."""
    if (cache / REMOTE_INDEXES / (pack.hex + INDEX_SUFFIX)).exists():
        return True
    return any(isinstance(packs, dict) and str(pack) in packs for packs in read_seen(cache).values())
