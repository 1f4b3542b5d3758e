"""The lists of files that a gc of a remote is going to delete, and who is deleting just now.

gc/HEX.list        files that are to go; HEX is the BLAKE3 of the list
gc/HEX.deleting    somebody deletes what lists name; empty, HEX is random
gc/HEX.clock       made and deleted to learn the remote's time; HEX is random

A list is a text of

    mlvc-remote-condemned 1
    FILE                 the name of a file below the remote, sorted
    end HEX              the BLAKE3 of everything before this line

All ages are told by the remote's own clock: the difference between the times of two of its files.
Format page: docs/format/remote.md; why nothing is lost: `remote_gc`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from mlvc.errors import MlvcError, VersionError
from mlvc.store.remote_files import REMOVED_AT_ONCE, RemoteDamagedError, RemoteUnreachableError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mlvc.model.ids import PackId
    from mlvc.store.remote import Listing, Remote, RemotePack
    from mlvc.store.remote_files import RemoteFile

__all__ = [
    "GRACE_S",
    "LEASE_S",
    "MOST_CONDEMNED",
    "CondemnedFiles",
    "RemoteBusyError",
    "announce",
    "decode_condemned",
    "encode_condemned",
    "gc_names",
    "has_announcement",
    "is_being_deleted",
    "not_shown",
    "publish_list",
    "read_lists",
    "remote_now",
    "remove_old",
    "standing_packs",
    "time_of",
]

GRACE_S = 7 * 86_400
"""For so long a list must have been there before what it names is deleted.

Longer than any push passes between its last look and the metadata, by far: in between only metadata is sent.
"""
LEASE_S = 3_600
"""For so long an announcement counts. Who made it deletes nothing any more after half of that."""
MOST_CONDEMNED = 200_000
"""A list names no more: those of five terabytes. What else is to go is for the next gc."""
_MOST_LISTS_BYTES = 32 << 20
"""Two such lists; all are read into memory, and take eight times as much there."""
_FIRST_LINE = "mlvc-remote-condemned 1"
_LIST, _DELETING, _CLOCK = ".list", ".deleting", ".clock"
_NAME = re.compile(r"gc/[0-9a-f]{64}\.list")
_FILE = re.compile(r"(data|metadata)/[0-9a-f]{64}\.(pack|idx)")


class RemoteBusyError(MlvcError):
    """A gc deletes files of the remote just now, and what is sent there could be among them."""

    code = "remote-busy"

    def __init__(self, url: str) -> None:
        super().__init__(
            f"a gc of the remote {url} was begun and has not ended",
            hint="repeat when it has; one that was killed is believed for an hour, and then no more",
        )


class CondemnedFiles(NamedTuple):
    """A list that is on a remote.

    Attributes:
        name: Of the file that holds it.
        time_s: When it was written.
        files: What it names.
    """

    name: str
    time_s: float
    files: frozenset[str]

    def dooms(self, file: str, files: Mapping[str, RemoteFile]) -> bool:
        """Returns whether a file is to go: one that was sent again since is not."""
        return file in self.files and file in files and files[file].time_s < self.time_s


def encode_condemned(files: Collection[str]) -> bytes:
    """Returns the text of a list."""
    body = "".join(f"{line}\n" for line in (_FIRST_LINE, *sorted(files)))
    return f"{body}end {blake3(body.encode()).hexdigest()}\n".encode()


def decode_condemned(data: bytes) -> frozenset[str] | None:
    """Returns the files that a list names; None where it is damaged. No file of another kind is ever named.

    Raises:
        VersionError: A newer mlvc wrote it.
    """
    first, *lines = data.decode("latin-1").split("\n")
    if first != _FIRST_LINE and first.startswith("mlvc-remote-condemned "):
        raise VersionError("a newer mlvc wrote the list of a gc of the remote", hint="install a newer mlvc")
    files = frozenset(line for line in lines if _FILE.fullmatch(line))
    return files if encode_condemned(files) == data else None


def publish_list(remote: Remote, files: Collection[str]) -> str:
    """Puts a list on a remote, and returns its name."""
    data = encode_condemned(files)
    name = f"gc/{blake3(data).hexdigest()}{_LIST}"
    remote.write_whole(name, data)
    return name


def gc_names(looked: Listing) -> frozenset[str]:
    """Returns the names of all that gcs have written and that says something."""
    return frozenset(name for name in looked.files if name.startswith("gc/") and not name.endswith(_CLOCK))


def read_lists(remote: Remote, looked: Listing) -> list[CondemnedFiles]:
    """Returns the lists on a remote; one request for each.

    Raises:
        RemoteDamagedError: One of them is damaged: what is going to be deleted is then not known.
        VersionError: A newer mlvc wrote one.
    """
    names = sorted(name for name in looked.files if _NAME.fullmatch(name))
    size_bytes = sum(looked.files[name].size_bytes for name in names)
    if size_bytes > _MOST_LISTS_BYTES:
        largest = max(names, key=lambda name: looked.files[name].size_bytes)
        what = f"it is no list of files: together they have {size_bytes:,} bytes there; delete it"
        raise RemoteDamagedError((f"{remote.url}/{largest}", what))
    lists = []
    for name in names:
        described = looked.files[name]
        files = decode_condemned(remote.read_whole(name, described.size_bytes))
        if files is None:
            raise RemoteDamagedError((f"{remote.url}/{name}", "it is no list of files; delete it"))
        lists.append(CondemnedFiles(name, described.time_s, files))
    return lists


def standing_packs(
    remote: Remote, looked: Listing, lists: Iterable[CondemnedFiles]
) -> dict[PackId, RemotePack]:
    """Returns the packs of which no file is going to be deleted."""
    lists = list(lists)
    return {
        pack: found
        for pack, found in looked.packs.items()
        if not any(each.dooms(file, looked.files) for each in lists for file in remote.names_of(pack, found))
    }


def remote_now(remote: Remote) -> float:
    """Returns the time by the remote's clock, told by a file that is made for it."""
    name = f"gc/{os.urandom(32).hex()}{_CLOCK}"
    remote.write_whole(name, b"")
    try:
        return time_of(remote, remote.look(), name)
    finally:
        remote.remove([name])


def time_of(remote: Remote, looked: Listing, name: str) -> float:
    """Returns when a file was written that was written just now.

    Raises:
        RemoteUnreachableError: It is not listed.
    """
    if name not in looked.files:
        raise not_shown(remote, name)
    return looked.files[name].time_s


def not_shown(remote: Remote, name: str) -> RemoteUnreachableError:
    """Returns the error for a remote that does not list what was written to it, on which all safety rests."""
    return RemoteUnreachableError(
        f"the remote {remote.url} does not list {name}, which was written to it",
        hint="mlvc needs a server that lists what was written at once, as S3 does; repeat, or use another one",
    )


def has_announcement(looked: Listing) -> bool:
    """Returns whether somebody announced to delete, however long ago."""
    return any(name.endswith(_DELETING) for name in looked.files)


def is_being_deleted(looked: Listing, now: float, own: str = "") -> bool:
    """Returns whether somebody was deleting when the remote was looked at.

    Args:
        looked: What the remote had. An announcement that ended since counts: so may have what it announced.
        now: The time by the remote's clock.
        own: An announcement that does not count.
    """
    return any(
        name.endswith(_DELETING) and name != own and now - described.time_s < LEASE_S
        for name, described in looked.files.items()
    )


def announce(remote: Remote) -> str:
    """Tells everybody that something is being deleted from now on, and returns the name of the announcement."""
    name = f"gc/{os.urandom(32).hex()}{_DELETING}"
    remote.write_whole(name, b"")
    return name


def remove_old(remote: Remote, looked: Listing, now: float) -> None:
    """Removes what killed processes left: announcements and clocks that nobody believes any more."""
    old = [
        name
        for name, described in looked.files.items()
        if name.startswith("gc/")
        and name.endswith((_DELETING, _CLOCK))
        and now - described.time_s >= 2 * LEASE_S
    ]
    if old:
        remote.remove(old[:REMOVED_AT_ONCE])
