"""A remote: a set of immutable packs at a URL, so pushers need no lock and cannot overwrite each other's work.

mlvc-remote-1           says what this is, and its version
data/HEX.pack, .idx     packs of data and their indexes
metadata/HEX.pack, .idx packs of metadata
gc/                     what a gc of the remote writes: see `remote_condemned`

Format page: docs/format/remote.md
"""

from __future__ import annotations

import contextlib
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from mlvc.errors import FormatError, UsageError, VersionError
from mlvc.model.ids import PackId
from mlvc.model.names import encode_name
from mlvc.store.layout import INDEX_SUFFIX, PACK_SUFFIX, parse_pack_name
from mlvc.store.pack_index import check_index
from mlvc.store.remote_clouds import CLOUDS, CloudFiles
from mlvc.store.remote_files import DirectoryFiles, RemoteDamagedError
from mlvc.store.remote_s3 import BucketFiles, BucketOptions
from mlvc.store.remote_ssh import SshFiles
from mlvc.store.transfer import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlvc.ports import ProgressTask
    from mlvc.store.outgoing import Outgoing
    from mlvc.store.remote_files import RemoteFile, RemoteFiles

__all__ = ["Listing", "Remote", "RemotePack", "RemoteUrlError", "RemoteVersionError", "check_url"]

_MARKER = "mlvc-remote-"
_VERSION = "1"
_MOST_INDEX_BYTES = 128 << 20
"""That of a raw pack of 32 GiB, which is the longest, in the shortest chunks. It is read into memory, twice its length.
"""
_LARGE_INDEX_BYTES = 8 << 20
_LEAST_INDEX_BYTES = 1 << 10
"""An entry is shorter than twice its record, with the record's header."""
_FOLDERS = {True: "data", False: "metadata"}
_SSH = re.compile(
    r"([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?"
)
"""A person's configuration may hand the host and the user to a shell, and a URL may come with a stranger's branch."""


class RemoteUrlError(UsageError):
    """A URL that no remote can have."""

    code = "remote-url"


class RemoteVersionError(VersionError):
    """A remote was written by a newer mlvc."""

    code = "remote-version"


class RemotePack(NamedTuple):
    """A pack on a remote, complete: both it and its index are there.

    Attributes:
        is_data: Whether it stands among the data.
        size_bytes: The length of the pack.
        index_bytes: The length of its index.
    """

    is_data: bool
    size_bytes: int
    index_bytes: int


class Listing(NamedTuple):
    """What a remote has, as one question told it.

    Attributes:
        files: Every file, by its name below the remote.
        packs: The packs that are complete.
    """

    files: Mapping[str, RemoteFile]
    packs: Mapping[PackId, RemotePack]


def check_url(text: str) -> str:
    """Returns the URL of a remote in its full form; an absolute path becomes a `file://` URL.

    Raises:
        RemoteUrlError: No remote can have it.
    """
    hint = "s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH, ssh://HOST/PATH, file:///PATH, or an absolute path"
    # A terminal's history is no place for a password, which may stand before an `@` or after a `?`.
    shown = encode_name(text.rpartition("@")[2].partition("?")[0].partition("#")[0].encode(errors="replace"))
    no_url = RemoteUrlError(f"{shown!r} is no URL of a remote", hint=hint)
    # An address may hold it; elsewhere it chains file systems.
    is_chained = "::" in text and not text.startswith("ssh://")
    if not text.isprintable() or is_chained:
        raise no_url
    if text.startswith("/") and not text.startswith("//"):
        return Path(text).as_uri()
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        # Such as a bracket that is not closed.
        raise no_url from exc
    user, _, host = parts.netloc.rpartition("@")
    if user and (parts.scheme != "ssh" or ":" in user):
        raise RemoteUrlError(
            "the URL of a remote may hold no password, and a user only after ssh://",
            hint="credentials are found where the tools of each service find them: see docs/guides/remotes.md",
        )
    if parts.query or parts.fragment:
        raise RemoteUrlError("the URL of a remote may hold no `?` or `#`", hint=hint)
    if parts.scheme in {"s3", *CLOUDS} and host:
        return text.rstrip("/")
    if parts.scheme == "file" and not host and parts.path.startswith("/"):
        return text.rstrip("/")
    ssh = _SSH.fullmatch(parts.netloc) if parts.scheme == "ssh" else None
    if ssh is not None and int(ssh["port"] or 22) < 1 << 16 and parts.path.strip("/"):
        return text.rstrip("/")
    raise no_url


def _files_at(url: str, options: BucketOptions) -> RemoteFiles:
    scheme = urlsplit(url).scheme
    if scheme == "s3":
        return BucketFiles(url, options)
    if scheme in CLOUDS:
        return CloudFiles(url)
    if scheme == "ssh":
        return SshFiles(url)
    return DirectoryFiles(Path(unquote(urlsplit(url).path)))


class Remote:
    """One remote. Safe for use from several threads.

    Attributes:
        url: Its URL, which holds no secret.
        jobs: How many requests those who use it make at once.
        endpoint: The server that was chosen for it; None where the URL or the environment says where it is.
    """

    def __init__(
        self, url: str, files: RemoteFiles, jobs: int = AT_ONCE, endpoint: str | None = None
    ) -> None:
        self.url = url
        self.jobs = jobs
        self.endpoint = endpoint
        self._files = files
        self._one_large = threading.Lock()

    @classmethod
    def open(cls, url: str, options: BucketOptions | None = None, *, jobs: int = AT_ONCE) -> Self:
        """Returns the remote at a URL; nothing is asked of it yet.

        Args:
            url: Where it is.
            options: How its server is reached, if it is a bucket.
            jobs: How many requests to make at once; each may hold 64 MiB.

        Raises:
            RemoteUrlError: No remote can have that URL.
        """
        url = check_url(url)
        options = options or BucketOptions()
        return cls(url, _files_at(url, options), jobs, options.endpoint)

    def list_packs(self) -> Mapping[PackId, RemotePack]:
        """Returns the packs that are there, with their indexes; one question.

        Raises:
            RemoteMissingError: There is no such remote.
            RemoteVersionError: A newer mlvc wrote it.
        """
        return self.look().packs

    def look(self) -> Listing:
        """Returns all files, and which packs they are; one question. Raises as `list_packs` does."""
        files = self._files.list()
        for name in files:
            if name.startswith(_MARKER) and name != _MARKER + _VERSION:
                version = encode_name(name.removeprefix(_MARKER).encode(errors="replace"))
                raise RemoteVersionError(
                    f"this mlvc does not know version {version} of the remote {self.url}",
                    hint="install a newer mlvc",
                )
        found: dict[PackId, RemotePack] = {}
        for is_data, folder in _FOLDERS.items():
            for name, described in files.items():
                parent, _, file = name.rpartition("/")
                pack = parse_pack_name(file, PACK_SUFFIX) if parent == folder else None
                index = files.get(name.removesuffix(PACK_SUFFIX) + INDEX_SUFFIX)
                if pack is not None and index is not None:
                    found[pack] = RemotePack(is_data, described.size_bytes, index.size_bytes)
        return Listing(files, found)

    def names_of(self, pack: PackId, listed: RemotePack) -> tuple[str, str]:
        """Returns the names, below the remote, of the index and of the pack: in the order to delete them in."""
        is_data = listed.is_data
        return self._name(pack, INDEX_SUFFIX, is_data=is_data), self._name(pack, PACK_SUFFIX, is_data=is_data)

    def read_whole(self, name: str, size_bytes: int) -> bytes:
        """Returns a small file as it is there; the caller checks it."""
        return b"".join(self._files.read(name, size_bytes))

    def write_whole(self, name: str, data: bytes) -> None:
        """Makes a small file that appears whole or not at all."""
        self._files.write(name, data)

    def remove(self, names: Sequence[str]) -> None:
        """Deletes files, at most a thousand, in one request."""
        self._files.remove(names)

    def prepare(self) -> None:
        """Makes the remote ready to take packs."""
        self._files.prepare()
        self._files.write(_MARKER + _VERSION, b"")

    @staticmethod
    def _name(pack: PackId, suffix: str, *, is_data: bool) -> str:
        return f"{_FOLDERS[is_data]}/{pack.hex}{suffix}"

    def put(self, pack: PackId, source: Outgoing, index: bytes, *, is_data: bool, jobs: int = 1) -> None:
        """Sends a pack, and after it the index that makes it count.

        Args:
            pack: Its id.
            source: Its file.
            index: Its index.
            is_data: Where it belongs.
            jobs: How many requests to make at once.

        Raises:
            DamagedFileError: The file is not what the id says; it does not arrive.
            RemoteDeniedError: The remote does not let us write.
            RemoteUnreachableError: It stopped answering; the pack does not count, and can be sent again.
        """
        self._files.upload(self._name(pack, PACK_SUFFIX, is_data=is_data), source, jobs)
        self._files.write(self._name(pack, INDEX_SUFFIX, is_data=is_data), index)

    def read_index(self, pack: PackId, listed: RemotePack) -> bytes:
        """Returns the index of a pack, checked: checksum, order, bounds, and that it describes this pack.

        Raises:
            RemoteDamagedError: It is not what was sent.
        """
        name = self._name(pack, INDEX_SUFFIX, is_data=listed.is_data)
        if listed.index_bytes > min(_MOST_INDEX_BYTES, _LEAST_INDEX_BYTES + 2 * listed.size_bytes):
            raise self._damaged(name, f"no index of such a pack has {listed.index_bytes:,} bytes")
        # Several at once would take several times as much, and a stranger says how long they are.
        with self._one_large if listed.index_bytes > _LARGE_INDEX_BYTES else contextlib.nullcontext():
            return self._read_checked(pack, listed, name)

    def _read_checked(self, pack: PackId, listed: RemotePack, name: str) -> bytes:
        data = b"".join(self._files.read(name, listed.index_bytes))
        try:
            info = check_index(data)
        except FormatError as exc:
            raise self._damaged(name, exc.message) from exc
        except VersionError as exc:
            raise RemoteVersionError(
                f"this mlvc does not know {exc.message} of {self.url}/{name}", hint="install a newer mlvc"
            ) from exc
        if info.id != pack or info.is_data != listed.is_data:
            raise self._damaged(name, "it is the index of another pack")
        if info.size_bytes != listed.size_bytes:
            pack_name = self._name(pack, PACK_SUFFIX, is_data=listed.is_data)
            what = f"it has {listed.size_bytes} bytes, and its index says {info.size_bytes}"
            raise self._damaged(pack_name, what)
        return data

    def read_index_range(self, pack: PackId, listed: RemotePack, offset: int, size_bytes: int) -> bytes:
        """Returns a part of an index, which cannot be checked."""
        name = self._name(pack, INDEX_SUFFIX, is_data=listed.is_data)
        return b"".join(self._files.read(name, size_bytes, offset))

    def read_pack(self, pack: PackId, listed: RemotePack) -> Iterator[bytes]:
        """Yields the bytes of a pack; the caller checks them."""
        return self._files.read(self._name(pack, PACK_SUFFIX, is_data=listed.is_data), listed.size_bytes)

    def read_range(self, pack: PackId, listed: RemotePack, offset: int, size_bytes: int) -> bytes:
        """Returns a part of a pack, in one request as long as it is below 16 MiB; the caller checks it."""
        name = self._name(pack, PACK_SUFFIX, is_data=listed.is_data)
        return b"".join(self._files.read(name, size_bytes, offset))

    def pack_name(self, pack: PackId, listed: RemotePack) -> str:
        """Returns what a pack is called in messages: its URL."""
        return f"{self.url}/{self._name(pack, PACK_SUFFIX, is_data=listed.is_data)}"

    def damaged_pack(self, pack: PackId, listed: RemotePack) -> RemoteDamagedError:
        """Returns the error for a pack whose bytes are not those that its name stands for."""
        name = self._name(pack, PACK_SUFFIX, is_data=listed.is_data)
        return self._damaged(name, "it holds other bytes than its name says")

    def check_pack(self, pack: PackId, listed: RemotePack, task: ProgressTask) -> None:
        """Reads a whole pack, keeps nothing of it, and compares it with its name.

        Raises:
            RemoteDamagedError: It holds other bytes.
        """
        hasher = blake3()
        for piece in self.read_pack(pack, listed):
            hasher.update(piece)
            task.advance(len(piece))
        if hasher.digest() != pack.digest:
            raise self.damaged_pack(pack, listed)

    def check_marker(self) -> None:
        """Looks whether the file that says what this is stands there as it was written; one question.

        Raises:
            RemoteDamagedError: It is gone, or has contents.
        """
        described = self._files.list().get(_MARKER + _VERSION)
        size_bytes = None if described is None else described.size_bytes
        if size_bytes != 0:
            what = (
                "it is missing" if size_bytes is None else f"it has {size_bytes} bytes and should have none"
            )
            raise self._damaged(_MARKER + _VERSION, what)

    def _damaged(self, name: str, what: str) -> RemoteDamagedError:
        return RemoteDamagedError((f"{self.url}/{name}", what))
