"""Which packs' records each remote had when it was last looked at: a cache, so that a question costs no request.

A remote only loses packs by gc, which keeps everything that is reachable; so what was there once and is reachable is
there still, in that pack or in another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlvc import fsio
from mlvc.errors import FormatError
from mlvc.model.ids import PackId
from mlvc.repo import Repo
from mlvc.store.pack_index import PackInfo
from mlvc.store.remote import Remote, RemotePack
from mlvc.store.seen import REMOTE_PACKS, read_seen

__all__ = ["remember_packs", "remember_sent", "seen_packs"]


def seen_packs(repo: Repo, remote: Remote) -> Mapping[PackId, RemotePack]:
    """Returns the packs that were on a remote; none where it was not looked at, or the cache cannot be read."""
    try:
        return {
            PackId.parse(text): RemotePack(bool(is_data), int(size_bytes), int(index_bytes))
            for text, (is_data, size_bytes, index_bytes) in _read(repo).get(remote.url, {}).items()
        }
    except (FormatError, AttributeError, TypeError, ValueError):
        return {}


def remember_packs(repo: Repo, remote: Remote, packs: Mapping[PackId, RemotePack]) -> None:
    """Keeps what a remote has, in the place of what it had before."""
    path = _path(repo)
    document = {**_read(repo), remote.url: {str(pack): list(found) for pack, found in sorted(packs.items())}}
    with fsio.translate_os_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        fsio.atomic_write(path, json.dumps(document).encode())


def remember_sent(repo: Repo, remote: Remote, sent: Iterable[PackInfo]) -> None:
    """Keeps that a remote has these packs of the store."""
    layout = repo.store.layout
    with fsio.translate_os_errors(f"read the indexes in {layout.packs}"):
        packs = {
            info.id: RemotePack(info.is_data, info.size_bytes, layout.index(info.id).stat().st_size)
            for info in sent
        }
    remember_packs(repo, remote, packs)


def _path(repo: Repo) -> Path:
    return repo.common_dir / "cache" / REMOTE_PACKS


def _read(repo: Repo) -> Mapping[str, Any]:
    return read_seen(repo.common_dir / "cache")
