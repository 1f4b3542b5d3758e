"""What stands in the work tree now, held against the stat cache; reads directories and stat data, never contents.

Names are `str` as `os.fsdecode` spells them while they are file system names, and `bytes` in trees and paths.
No symbolic link is followed below the root.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlvc import fsio
from mlvc.errors import FormatError, MlvcError, UsageError
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind
from mlvc.worktree.overlay import Overlay
from mlvc.worktree.statcache import (
    NO_DIGEST,
    CachedDirectory,
    Stamp,
    StatCache,
    all_settled,
    digests_of,
    pack_status,
    total_size,
)

__all__ = [
    "MAX_DEPTH",
    "TEMPORARY_PREFIX",
    "BeyondLinkError",
    "Directory",
    "FileChangedError",
    "Listing",
    "TooDeepError",
    "check_lasting",
    "is_temporary",
    "kind_of",
    "list_directory",
    "list_leftovers",
    "lstat_at",
    "open_child",
    "open_directory",
    "open_parent",
    "recognise",
    "remember",
    "scan_directory",
    "special_word",
]

TEMPORARY_PREFIX = ".mlvc-tmp-"
"""How half-written files, and directories that are being filled, are called; one that a crash left is no content."""

_LEFTOVER = re.compile(re.escape(TEMPORARY_PREFIX) + "[0-9a-f]{16}")
_LEFTOVER_TYPES = frozenset({stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR})

MAX_DEPTH = 200
"""How deep directories may nest: below Python's recursion limit and the usual limit of 1,024 open files."""

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_SPECIAL_WORDS = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "named pipe",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class BeyondLinkError(UsageError):
    """A path leads through a symbolic link or through a file."""

    code = "beyond-link"


class FileChangedError(MlvcError):
    """A file was being written while it was looked at."""

    code = "file-changed"

    def __init__(self, path: bytes) -> None:
        super().__init__(
            f"{encode_name(path)} keeps changing while it is read", hint="repeat when nothing writes to it"
        )
        self.path = path


class TooDeepError(MlvcError):
    """Directories nest too deeply."""

    code = "too-deep"

    def __init__(self, path: bytes) -> None:
        super().__init__(f"{encode_name(path[:200])}… lies more than {MAX_DEPTH} directories deep")


def is_temporary(name: str) -> bool:
    """Returns whether a file or directory of that name would be taken for one that a killed process left."""
    return name.startswith(TEMPORARY_PREFIX) and _LEFTOVER.fullmatch(name) is not None


def check_lasting(path: bytes, names: Iterable[str]) -> None:
    """Refuses to bring or to track what a later checkout would remove, with whatever had been written into it.

    Raises:
        FormatError: One of the names, of a directory at `path`, is such a one.
    """
    for name in names:
        if is_temporary(name):
            below = os.path.join(path, os.fsencode(name))
            raise FormatError(
                f"{encode_name(below)} is named as mlvc names what it has not finished",
                hint="give it another name, and add it again",
            )


class Directory:
    """One directory as it was seen.

    Attributes:
        children: The directories in it.
        leftovers: The names of half-written files and directories that a killed process left in it.
        tree: The digest of its tree, where that is known without reading anything; else empty.
        size: The sum of all sizes below; set with `tree`.
        files: The number of files and symlinks below; set with `tree`.
        is_cached: Whether the stat cache holds exactly this already.
        is_known: Whether the stat cache knows all entries, and a tree of them with directories as they were.
        is_stored: Whether the store has all whose digests were known when this was seen, but directories.
    """

    __slots__ = (
        "_entries",
        "_load",
        "_unread",
        "children",
        "files",
        "is_cached",
        "is_known",
        "is_stored",
        "leftovers",
        "size",
        "tree",
    )

    def __init__(self, load: Callable[[], MutableMapping[str, Stamp]] = dict) -> None:
        """Begins without children.

        Args:
            load: Returns the entries, once they are asked for.
        """
        self._load = load
        self._entries: MutableMapping[str, Stamp] | None = None
        self._unread: list[str] | None = None
        self.children: dict[str, Directory] = {}
        self.leftovers: Sequence[str] = ()
        self.tree = b""
        self.size = 0
        self.files = 0
        self.is_cached = False
        self.is_known = False
        self.is_stored = False

    @property
    def entries(self) -> MutableMapping[str, Stamp]:
        """Everything in it but directories, to be kept up to date; the digest of a stamp is empty if not known."""
        if self._entries is None:
            self._entries = self._load()
        return self._entries

    def unread(self) -> list[str]:
        """Returns the names of the entries whose digest is not known.

        All entries are looked at the first time alone: which have no digest is known by then, and later ones have one.
        """
        entries = self.entries
        if isinstance(entries, Overlay):
            return entries.unread()
        if self._unread is None:
            digests = digests_of(entries.values())
            self._unread = [
                name for name, digest in zip(entries, digests, strict=True) if digest == NO_DIGEST
            ]
        return [name for name in self._unread if name in entries and entries[name].endswith(NO_DIGEST)]

    def unread_bytes(self) -> int:
        """Returns how long the entries are whose digest is not known."""
        return total_size(map(self.entries.__getitem__, self.unread()))

    def forget(self, names: Sequence[str]) -> None:
        """Takes note that the tree, and the digests of some entries, do not count: these are to be read again."""
        for name in names:
            self.entries[name] = self.entries[name].with_digest(NO_DIGEST)
        self._unread = None
        self.tree, self.is_cached = b"", False
        self.is_known = self.is_known and not names

    def digests(self) -> list[bytes]:
        """Returns all digests that are known."""
        return [digest for digest in digests_of(self.entries.values()) if digest != NO_DIGEST]

    def release(self) -> None:
        """Lets go of the entries of a directory that is as the stat cache holds it; they are loaded again if needed."""
        if self.is_cached:
            self._entries = None

    def complete(self, tree: bytes) -> None:
        """Takes note that this is exactly the tree of that digest; `children` are complete."""
        self.is_cached = self.is_cached and self.tree == tree
        self.tree = tree
        entries, children = self.entries, self.children.values()
        size = entries.total_size() if isinstance(entries, Overlay) else total_size(entries.values())
        self.size = size + sum(child.size for child in children)
        self.files = len(entries) + sum(child.files for child in children)


def kind_of(mode: int) -> Kind | None:
    """Returns what an entry of that mode is in a tree; None for sockets, pipes and devices."""
    if stat.S_ISREG(mode):
        return Kind.EXECUTABLE if mode & stat.S_IXUSR else Kind.FILE
    if stat.S_ISLNK(mode):
        return Kind.SYMLINK
    return Kind.DIRECTORY if stat.S_ISDIR(mode) else None


def special_word(mode: int) -> str:
    """Returns what to call a file that no tree can hold."""
    return _SPECIAL_WORDS.get(stat.S_IFMT(mode), "special file")


def open_directory(name: str | bytes, dir_fd: int) -> int:
    """Opens a directory by its name in another; follows no link."""
    return os.open(name, _DIRECTORY_FLAGS, dir_fd=dir_fd)


@contextlib.contextmanager
def open_child(name: str, dir_fd: int, path: bytes) -> Iterator[int]:
    """Opens a directory that was just seen in another.

    Raises:
        FileChangedError: It is no directory any more.
        FileUnreadableError: It cannot be opened.
    """
    try:
        fd = open_directory(name, dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        raise FileChangedError(path) from None
    except OSError as exc:
        raise _unreadable_directory(path, exc) from exc
    try:
        yield fd
    finally:
        os.close(fd)


def _unreadable_directory(path: bytes, exc: OSError) -> fsio.FileUnreadableError:
    return fsio.FileUnreadableError(
        f"cannot read the directory {encode_name(path)}: {exc.strerror}", hint=fsio.hint_for(exc)
    )


@contextlib.contextmanager
def open_parent(root: Path, path: bytes, *, create: bool = False) -> Iterator[int]:
    """Opens the directory that holds `path`, following no link below `root`.

    Raises:
        BeyondLinkError: A component is a link or a file.
        FileNotFoundError: A component is missing, and `create` is off.
        FileUnreadableError: It cannot be opened.
    """
    components = path.split(b"/")[:-1]
    with fsio.translate_os_errors(f"open {root}"):
        root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fd = fsio.open_beneath(root_fd, components, create=create)
        except FileNotFoundError:
            raise
        except NotADirectoryError as exc:
            raise BeyondLinkError(
                f"{encode_name(path)} lies beyond a symbolic link or a file",
                hint="name the path that it leads to",
            ) from exc
        except OSError as exc:
            raise _unreadable_directory(path.rpartition(b"/")[0], exc) from exc
    finally:
        os.close(root_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def lstat_at(name: str | bytes, dir_fd: int, path: bytes) -> os.stat_result | None:
    """Returns the stat data of an entry, of a link itself; None where there is none.

    Raises:
        FileUnreadableError: It cannot be looked at; the message names `path`.
    """
    with fsio.translate_os_errors(f"look at {encode_name(path)}"):
        try:
            return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None


def scan_directory(fd: int, path: str, cache: StatCache) -> Directory:
    """Returns what stands in and below an open directory.

    An unchanged directory costs one `lstat` and one comparison for each file.

    Args:
        fd: The directory.
        path: Its path relative to the work tree.
        cache: What is known.

    Raises:
        FileUnreadableError: A directory cannot be read.
        FileChangedError: One disappeared meanwhile.
        TooDeepError: They nest too deeply.
    """
    if path.count("/") > MAX_DEPTH:
        raise TooDeepError(os.fsencode(path))
    known = cache.get(path)
    listing = list_directory(fd, path, known)
    seen = Directory(lambda: listing.entries)
    seen.leftovers = listing.leftovers
    for name in listing.directories:
        child_path = f"{path}/{name}"
        with open_child(name, fd, os.fsencode(child_path)) as child_fd:
            seen.children[name] = scan_directory(child_fd, child_path, cache)
    recognise(seen, known, unchanged=listing.unchanged)
    return seen


class Listing(NamedTuple):
    """What stands in one directory.

    Attributes:
        entries: Everything but directories.
        directories: The names of those.
        unchanged: How many of the entries are as the cache knows them.
        leftovers: The names of half-written files and directories that a killed process left.
    """

    entries: dict[str, Stamp]
    directories: list[str]
    unchanged: int
    leftovers: list[str]


def list_directory(fd: int, path: str, known: CachedDirectory) -> Listing:
    """Returns what stands in an open directory, with the digests that the cache knows.

    Raises:
        FileUnreadableError: It cannot be read.
    """
    entries: dict[str, Stamp] = {}
    directories: list[str] = []
    leftovers: list[str] = []
    recall, unchanged = known.entries.get, 0
    try:
        with os.scandir(fd) as listing:
            for item in listing:
                name = item.name
                try:
                    status = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # It was deleted since the listing began.
                stamp = recall(name)
                packed = pack_status(status)
                if stamp is not None and stamp.startswith(packed):
                    entries[name] = stamp
                    unchanged += 1
                elif is_temporary(name) and stat.S_IFMT(status.st_mode) in _LEFTOVER_TYPES:
                    leftovers.append(name)
                elif stat.S_ISDIR(status.st_mode):
                    directories.append(name)
                else:
                    entries[name] = Stamp(packed + NO_DIGEST)
    except OSError as exc:
        raise _unreadable_directory(os.fsencode(path), exc) from exc
    return Listing(entries, directories, unchanged, leftovers)


def list_leftovers(fd: int) -> list[str]:
    """Returns the names of half-written files and directories that a killed process left in an open directory.

    Raises:
        OSError: As `listdir` raises it.
    """
    return list(filter(is_temporary, os.listdir(fd)))


def recognise(seen: Directory, known: CachedDirectory, *, unchanged: int) -> None:
    """Fills in the tree of a directory that is as the cache knows it.

    Args:
        seen: The directory, with its children.
        known: What the cache knows of it.
        unchanged: How many of its entries are as the cache knows them.
    """
    if not known.tree or len(known.entries) != len(seen.entries) + len(seen.children):
        return
    if seen.leftovers:
        return  # A checkout has to come here.
    seen.is_known = unchanged == len(seen.entries)
    for name, child in seen.children.items():
        stamp = known.entries.get(name)
        unchanged += bool(child.tree) and stamp is not None and stamp.digest == child.tree
    if unchanged == len(known.entries):
        seen.tree, seen.size, seen.files, seen.is_cached = known.tree, known.size, known.files, True
        seen.is_stored = known.is_stored


def remember(
    cache: StatCache,
    path: str,
    seen: Directory,
    now: int | None,
    has_blobs: Callable[[Sequence[bytes]], bool] | None = None,
) -> None:
    """Makes the stat cache know what was seen of a whole directory, and no more than can be trusted.

    Args:
        cache: The stat cache.
        path: The directory's path relative to the work tree.
        seen: The directory, with the digests that were found out.
        now: `cache.now()` from before the contents were read. An entry that changed at that time or after is not
            remembered: a second change within the same time stamp would not show.
        has_blobs: Tells whether the store has all blobs of some digests; without it nothing new counts as stored.
    """
    if now is None:
        return
    known: dict[str, CachedDirectory | bytes | None] = {}
    _collect(path, seen, now, known, has_blobs)
    cache.replace(path, known)


def _collect(
    path: str,
    seen: Directory,
    now: int,
    known: dict[str, CachedDirectory | bytes | None],
    has_blobs: Callable[[Sequence[bytes]], bool] | None,
) -> None:
    for name, child in seen.children.items():
        _collect(f"{path}/{name}", child, now, known, has_blobs)
    if seen.is_cached or (seen.is_known and not seen.tree):
        # Of directories in it that are otherwise now, the cache will see that they are.
        known[path] = None
        return
    entries = seen.entries
    if isinstance(entries, Overlay) and not seen.children:
        known[path] = _amend(path, seen, entries, now, has_blobs)
    else:
        known[path] = _describe(seen, entries, now)


def _amend(
    path: str,
    seen: Directory,
    entries: Overlay,
    now: int,
    has_blobs: Callable[[Sequence[bytes]], bool] | None,
) -> bytes | None:
    """Returns the block of a directory of which the cache knows most; None where nothing was learned."""
    stamps = {name: stamp for name, stamp in entries.changed.items() if stamp is not None}
    digests = [stamp.digest for stamp in stamps.values() if stamp.digest]
    if not digests and not seen.tree:
        # What the cache has of files that are otherwise now does no harm, and of all others it is right.
        return None
    without = {name: None for name, stamp in stamps.items() if not stamp.digest or stamp.ctime_ns >= now}
    is_stored = seen.is_stored and has_blobs is not None and has_blobs(digests)
    directory = CachedDirectory({}, b"" if without else seen.tree, seen.size, seen.files, is_stored)
    return entries.encode(path, directory, without)


def _describe(seen: Directory, entries: Mapping[str, Stamp], now: int) -> CachedDirectory:
    if not all_settled(entries.values(), now):
        entries = {name: stamp for name, stamp in entries.items() if stamp.digest and stamp.ctime_ns < now}
    tree = seen.tree if len(entries) == len(seen.entries) else b""
    if tree and seen.children:
        directories = {
            name: Stamp.of_directory(child.size, child.tree) for name, child in seen.children.items()
        }
        entries = {**entries, **directories}
    return CachedDirectory(entries, tree, seen.size, seen.files)
