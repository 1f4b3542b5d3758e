"""Which packs' records each remote had when it was last looked at: a cache, so that a question costs no request.

What is noted stands there for longer than it is believed: see `mlvc.store.seen`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlvc import fsio
from mlvc.errors import FormatError, VersionError
from mlvc.model.ids import ObjectId, PackId
from mlvc.repo import Repo
from mlvc.store.pack_index import PackInfo
from mlvc.store.remote import Listing, Remote, RemotePack
from mlvc.store.remote_condemned import read_lists, standing_packs
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.seen import REMOTE_PACKS, read_seen

__all__ = ["remember_look", "remember_packs", "remember_sent", "seen_packs"]


def seen_packs(repo: Repo, remote: Remote) -> Mapping[PackId, RemotePack]:
    """Returns the packs that are on a remote; none where it was not looked at lately, or the cache cannot be read."""
    try:
        return {
            PackId.parse(text): RemotePack(bool(is_data), int(size_bytes), int(index_bytes))
            for text, (is_data, size_bytes, index_bytes) in _read(repo)[_key(repo, remote)]["packs"].items()
        }
    except (FormatError, KeyError, TypeError, ValueError):
        return {}


def remember_packs(
    repo: Repo, remote: Remote, packs: Mapping[PackId, RemotePack], *, looked_at_s: float
) -> None:
    """Keeps what a remote has, in the place of what it had before.

    Args:
        repo: The repository.
        remote: The remote.
        packs: Those that no list of a gc named.
        looked_at_s: When the look began that told so, in seconds since 1970.
    """
    path = _path(repo)
    seen = {
        "time": looked_at_s,
        "packs": {str(pack): list(found) for pack, found in sorted(packs.items())},
    }
    document = {**_read(repo), _key(repo, remote): seen}
    with fsio.translate_os_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        fsio.atomic_write(path, json.dumps(document).encode())


def remember_look(repo: Repo, remote: Remote, looked: Listing, *, looked_at_s: float) -> None:
    """Keeps what a look told; one request for each list of a gc, of which there is seldom one."""
    try:
        lists = read_lists(remote, looked)
    except (RemoteDamagedError, VersionError):
        # What is going to be deleted is not known, so nothing can be relied on; who deletes says so.
        lists = None
    standing = {} if lists is None else standing_packs(remote, looked, lists)
    remember_packs(repo, remote, standing, looked_at_s=looked_at_s)


def remember_sent(repo: Repo, remote: Remote, sent: Iterable[PackInfo], *, looked_at_s: float) -> None:
    """Keeps that a remote has these packs of the store; `looked_at_s` is when the push began."""
    layout = repo.store.layout
    with fsio.translate_os_errors(f"read the indexes in {layout.packs}"):
        packs = {
            info.id: RemotePack(info.is_data, info.size_bytes, layout.index(info.id).stat().st_size)
            for info in sent
        }
    remember_packs(repo, remote, packs, looked_at_s=looked_at_s)


def _key(repo: Repo, remote: Remote) -> str:
    """Returns what tells a remote from others: two servers may have a bucket of the same name.

    Of the server only a digest: a person may have written a password into the variable.
    """
    if not remote.url.startswith("s3://"):
        return remote.url
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    server = remote.endpoint or next(filter(None, map(repo.environment.get, variables)), None)
    return remote.url if server is None else f"{remote.url} {ObjectId.of(server.encode()).hex[:16]}"


def _path(repo: Repo) -> Path:
    return repo.common_dir / "cache" / REMOTE_PACKS


def _read(repo: Repo) -> Mapping[str, Any]:
    return read_seen(repo.common_dir / "cache", repo.clock.now().timestamp())
