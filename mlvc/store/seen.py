"""What remotes were seen to hold: caches in a directory, told without asking any.

remote-packs.json        {REMOTE: {"time": seconds since 1970, "packs": {ID: [is data, size, size of the index]}}}
remote-indexes/HEX.idx   the index of a pack that was on a remote and not here

Others may delete from a remote what nothing there needed when their gc looked, such as data that was pushed and is
committed only now. So what was seen counts for a while and no longer, which costs no request: a pack is noted only if
no list of a gc named it at the look, and what a later list names is deleted `GRACE_S` after that list at the earliest,
hence after the look. A day of that is left for a clock here that is slow. A time that is still to come is a clock that
was set back, and does not count either. An index alone, which is kept without a time, says nothing of today.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlvc.store.remote_condemned import GRACE_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlvc.model.ids import PackId

__all__ = ["BELIEVED_S", "REMOTE_INDEXES", "REMOTE_PACKS", "is_on_a_remote", "read_seen"]

REMOTE_PACKS = "remote-packs.json"
REMOTE_INDEXES = "remote-indexes"
BELIEVED_S = GRACE_S - 86_400
"""For so long after a look what it saw is still there."""


def read_seen(cache: Path, now_s: float) -> Mapping[str, Any]:
    """Returns what stands in the file for each remote and still counts, its packs unchecked.

    Nothing where the file cannot be read.

    Args:
        cache: The directory.
        now_s: The time, in seconds since 1970.
    """
    try:
        document = json.loads((cache / REMOTE_PACKS).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {url: seen for url, seen in document.items() if _counts(seen, now_s)}


def _counts(seen: object, now_s: float) -> bool:
    if not isinstance(seen, dict) or not isinstance(seen.get("packs"), dict):
        return False
    time_s = seen.get("time")
    return isinstance(time_s, int | float) and 0 <= now_s - time_s < BELIEVED_S


def is_on_a_remote(cache: Path, pack: PackId, now_s: float) -> bool:
    """Returns whether a pack was seen on any remote, and is still there."""
    return any(str(pack) in seen["packs"] for seen in read_seen(cache, now_s).values())
