"""The stat cache: which bytes a file held when its stat data was what it still is.

One flat file, read whole and decoded directory by directory on demand, integers little-endian:

    offset  size  field
    0       8     magic "MLVCSTAT"
    8       2     version, 3
    10      8     xxh3 (64 bits) of everything that follows
    18      16    the system's start in which it was saved; zeros where that is not known
    34      8     when it was saved, in nanoseconds of the file system's clock
    42      1     1 if a file may have changed shortly before that
    43      4     number of ids h
    47      32 h  ids of what the store held (`ports.Store.holdings`), sorted
    ...     ...   directories, to the end of the file

    directory   size  field
                4     length of the path (relative to the work tree), p
                4     length of the names, n
                4     number of entries, e
                1     bit 0: the id of its tree is known; bit 1: the store that held all ids of the header had
                      everything that the entries name but directories
                32    that id, or zeros
                8     sum of the sizes of all files below
                8     number of files and symlinks below
                p     path
                n     names, separated by NUL
                68 e  entries

    entry       4 mode, 8 size, 8 mtime_ns, 8 ctime_ns, 8 inode, 32 id (zeros while it is not known)

It is only a cache: whatever cannot be read is as good as absent. It must not know what the ids are used for.

Files of a work tree are not synced, so after power loss one may hold other bytes than those that were hashed, with the
same stat data. Therefore what had changed shortly before the cache was saved is believed only until the next start of
the system, unless the cache was saved once more when the system had had the time to write it out.
Format page: docs/format/statcache.md
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import xxhash

from mlvc import fsio

__all__ = [
    "EMPTY",
    "NO_DIGEST",
    "CachedDirectory",
    "Stamp",
    "StatCache",
    "all_settled",
    "decode_directory",
    "digests_of",
    "encode_block",
    "encode_directory",
    "fields_of",
    "iter_stamps",
    "iter_statuses",
    "mode_and_size",
    "names_and_stamps",
    "pack_status",
    "sizes_of",
    "total_size",
]

_MAGIC = b"MLVCSTAT"
_VERSION = 3
_HEADER = struct.Struct("<8sHQ")
_SAVED = struct.Struct("<16sqB")
_HELD = struct.Struct("<I")
_HELD_BYTES = 32
_WRITTEN_OUT_NS = 600 * 10**9
"""Linux begins to write out a changed page after 30 s (`vm.dirty_expire_centisecs`); a busy disk takes its time."""
_DIRECTORY = struct.Struct("<IIIB32sQQ")
_FLAGS_AT = 12
_HAS_TREE, _IS_STORED = 1, 2
_STATUS = struct.Struct("<IQqqQ")
_MODE = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
NO_DIGEST = bytes(32)
"""Stands in a stamp for a digest that is not known."""
_ENTRY = struct.Struct(f"{_STATUS.size + len(NO_DIGEST)}s")
_STATUS_BYTES = struct.Struct(f"{_STATUS.size}s")
_MODE_AND_SIZE = struct.Struct("<IQ")
_SIZES = struct.Struct("<4xQ56x")
_CTIMES = struct.Struct("<20xq40x")
_DIGESTS = struct.Struct("<36x32s")
_FIELDS = struct.Struct("<IQ24x32s")


class Stamp(bytes):
    """The stat data of one directory entry, and the digest of what it held then.

    It is the entry as the file holds it: a third of the memory of a tuple, of which a work tree has one for each file.
    """

    __slots__ = ()

    @classmethod
    def of(cls, status: os.stat_result, digest: bytes = b"") -> Stamp:
        """Returns the stamp of an entry that is no directory; the digest is empty while it is not known."""
        return cls(pack_status(status) + (digest or NO_DIGEST))

    @classmethod
    def of_directory(cls, size: int, digest: bytes) -> Stamp:
        """Returns the stamp under which a directory stands in its parent; `size` is the sum of all below."""
        return cls(_STATUS.pack(stat.S_IFDIR, size, 0, 0, 0) + digest)

    @property
    def mode(self) -> int:
        """Type and permission bits."""
        return _MODE.unpack_from(self)[0]  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        """In bytes."""
        return _SIZE.unpack_from(self, _MODE.size)[0]  # type: ignore[no-any-return]

    @property
    def ctime_ns(self) -> int:
        """When the entry itself changed; 0 for a directory."""
        return _STATUS.unpack_from(self)[3]  # type: ignore[no-any-return]

    @property
    def digest(self) -> bytes:
        """Of the blob (a symlink's target text) or of the tree; empty while it is not known."""
        digest = self[_STATUS.size :]
        return b"" if digest == NO_DIGEST else digest

    def with_digest(self, digest: bytes) -> Stamp:
        """Returns the same stat data with another digest."""
        return Stamp(self.status + digest)

    @property
    def status(self) -> bytes:
        """The stat data alone, as `pack_status` makes it."""
        return self[: _STATUS.size]

    def is_same_file(self, status: os.stat_result) -> bool:
        """Whether `status` shows the same file, unchanged since."""
        return self.startswith(pack_status(status))


def pack_status(status: os.stat_result) -> bytes:
    """Returns what a stamp of a file with this stat data begins with."""
    return _STATUS.pack(status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def mode_and_size(status: bytes) -> tuple[int, int]:
    """Returns the mode and the size that `pack_status` packed."""
    return _MODE_AND_SIZE.unpack_from(status)


def iter_statuses(data: bytes) -> Iterator[bytes]:
    """Yields what `pack_status` made, from where it stands one after the other."""
    return itertools.chain.from_iterable(_STATUS_BYTES.iter_unpack(data))


def iter_stamps(data: bytes | memoryview) -> Iterator[Stamp]:
    """Yields stamps that stand one after the other."""
    return map(Stamp, itertools.chain.from_iterable(_ENTRY.iter_unpack(data)))


def digests_of(stamps: Iterable[Stamp]) -> Iterator[bytes]:
    """Yields the digest of each stamp; `NO_DIGEST` where it is not known."""
    return itertools.chain.from_iterable(_DIGESTS.iter_unpack(b"".join(stamps)))


def fields_of(stamps: Iterable[Stamp]) -> Iterator[tuple[int, int, bytes]]:
    """Yields the mode, the size and the digest of each stamp."""
    return _FIELDS.iter_unpack(b"".join(stamps))


def sizes_of(stamps: Iterable[bytes | memoryview]) -> Iterator[int]:
    """Yields the size of each stamp, in a tenth of the time that `Stamp.size` takes."""
    return itertools.chain.from_iterable(_SIZES.iter_unpack(b"".join(stamps)))


def total_size(stamps: Iterable[bytes | memoryview]) -> int:
    """Returns the sum of all sizes."""
    return sum(sizes_of(stamps))


def all_settled(stamps: Iterable[Stamp], now: int) -> bool:
    """Returns whether all have a digest and changed before `now`: a later change of any will show."""
    joined = b"".join(stamps)
    latest = max(itertools.chain.from_iterable(_CTIMES.iter_unpack(joined)), default=now - 1)
    return latest < now and NO_DIGEST not in itertools.chain.from_iterable(_DIGESTS.iter_unpack(joined))


class CachedDirectory(NamedTuple):
    """What is known of one directory.

    Attributes:
        entries: Its entries by name (as `os.fsdecode` spells it), each with a digest.
        tree: The digest of its tree if it held exactly `entries`; empty where that is not known.
        size: The sum of the sizes of all files below; meaningful with `tree`.
        files: The number of files and symlinks below; meaningful with `tree`.
        is_stored: Whether the store has everything that `entries` name but directories, after `StatCache.believe`.
    """

    entries: Mapping[str, Stamp] = MappingProxyType({})
    tree: bytes = b""
    size: int = 0
    files: int = 0
    is_stored: bool = False


EMPTY = CachedDirectory()


class StatCache:
    """The stat cache of one work tree. Not safe for use from several threads; processes may share the file.

    Two processes that save at the same time both leave a valid file; the later one's knowledge wins.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoded: dict[str, memoryview] = {}
        self._decoded: dict[str, CachedDirectory] = {}
        self._changed = False
        self._holdings: frozenset[bytes] = frozenset()
        self._saved_ns: int | None = None
        """When what is young in the file was saved; None where nothing is, or where that was looked at before."""
        self._load()

    def get(self, path: str) -> CachedDirectory:
        """Returns what is known of the directory at `path`; `EMPTY` where nothing is."""
        known = self._decoded.get(path)
        if known is None:
            block = self._encoded.get(path)
            known = EMPTY if block is None else decode_directory(block)
            self._decoded[path] = known
        return known

    def load(self, path: str) -> dict[str, Stamp]:
        """Returns the entries of a directory that `sizes_below` named, decoded anew: they are the caller's."""
        return dict(decode_directory(self._encoded[path]).entries)

    def sizes_below(self, path: str) -> Iterator[tuple[str, int]]:
        """Yields the directories that were saved at and below `path`, and how many entries they have; decodes none."""
        below = path + "/"
        for known, block in self._encoded.items():
            if known == path or known.startswith(below):
                yield known, _DIRECTORY.unpack_from(block)[2]

    def summary(self, path: str) -> CachedDirectory:
        """Returns what is known of a directory that `sizes_below` named, without its entries; decodes nothing."""
        return _decode_header(self._encoded[path])

    def block(self, path: str) -> memoryview:
        """Returns a directory that `sizes_below` named as it stands in the file."""
        return self._encoded[path]

    def believe(self, holdings: frozenset[bytes]) -> bool:
        """Takes note of what the store holds now, by which `is_stored` of any directory counts from here on.

        Returns:
            Whether it still holds all that it held before; where not, no directory is known to be stored any more.
        """
        holds_all = self._holdings <= holdings
        if not holds_all:
            for path, block in self._encoded.items():
                self._encoded[path] = _with_flags(block, block[_FLAGS_AT] & ~_IS_STORED)
            self._decoded = {
                path: known._replace(is_stored=False)
                for path, known in self._decoded.items()
                if path not in self._encoded
            }
            self._changed = True
        self._holdings = holdings
        return holds_all

    def note_stored(self, path: str) -> None:
        """Takes note that what the directories at and below `path` name is stored, in what `believe` was told last."""
        below = path + "/"
        for name, known in list(self._decoded.items()):
            if name not in self._encoded and (name == path or name.startswith(below)):
                self._set(name, known._replace(is_stored=True))
        for name, block in self._encoded.items():
            if (name == path or name.startswith(below)) and not block[_FLAGS_AT] & _IS_STORED:
                self._encoded[name] = _with_flags(block, block[_FLAGS_AT] | _IS_STORED)
                self._decoded.pop(name, None)
                self._changed = True

    def replace(self, path: str, directories: Mapping[str, CachedDirectory | bytes | None]) -> None:
        """Makes `directories` all that is known at and below `path`.

        Args:
            path: Of a directory.
            directories: What is known of each, as such or as `encode_block` returned it; None keeps what was known.
        """
        below = path + "/"
        for known in (self._encoded, self._decoded):
            for name in [name for name in known if name == path or name.startswith(below)]:
                if name not in directories:
                    del known[name]
                    self._changed = True
        for name, directory in directories.items():
            if isinstance(directory, bytes):
                self._decoded.pop(name, None)
                self._encoded[name] = memoryview(directory)
                self._changed = True
            elif directory is not None:
                self._set(name, directory)

    def set_file(self, parent: str, name: str, stamp: Stamp | None) -> None:
        """Remembers one file that stands in a directory which is not tracked itself; None forgets it."""
        known = self.get(parent)
        if known.entries.get(name) == stamp:
            return
        entries = {**known.entries}
        entries.pop(name, None)
        if stamp is not None:
            entries[name] = stamp
        self._set(parent, CachedDirectory(entries))

    def _set(self, path: str, directory: CachedDirectory) -> None:
        self._encoded.pop(path, None)
        self._decoded[path] = directory
        self._changed = True

    def now(self) -> int | None:
        """Returns the file system's present time stamp, as a file that changed now would get it.

        A file that changed before it will show any later change in its ctime; a file that changed at it or after may
        change again without a trace, because a time stamp lasts for some milliseconds. None where no file can be made.
        """
        probe = self._path.with_name(f".{self._path.name}.{os.urandom(6).hex()}.tmp")
        try:
            fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError:
            return None
        try:
            return os.fstat(fd).st_ctime_ns
        except OSError:
            return None
        finally:
            os.close(fd)
            # Whoever saves the cache just now may have taken it for abandoned.
            with contextlib.suppress(OSError):
                probe.unlink()

    def save(self) -> None:
        """Replaces the file if anything changed. A cache that cannot be written costs time and nothing else."""
        if not self._changed and self._saved_ns is None:
            return
        now, is_young = self.now(), self._changed
        if now is None or (not is_young and not self._is_written_out(now)):
            return
        saved = b"".join(
            [
                _SAVED.pack(fsio.boot_id(), now, is_young),
                _HELD.pack(len(self._holdings)),
                *sorted(self._holdings),
            ]
        )
        checksum = xxhash.xxh3_64(saved)
        for block in self._blocks():
            checksum.update(block)
        header = _HEADER.pack(_MAGIC, _VERSION, checksum.intdigest())
        # Not synced: the checksum tells a file that a crash cut short.
        with contextlib.suppress(OSError):
            fsio.atomic_write(self._path, itertools.chain([header, saved], self._blocks()), durable=False)
            self._changed = False

    def _is_written_out(self, now: int) -> bool:
        """Whether what was young when it was saved is so no more; asked once."""
        saved_ns, self._saved_ns = self._saved_ns, None
        return saved_ns is not None and now - saved_ns > _WRITTEN_OUT_NS

    def _blocks(self) -> Iterator[bytes | memoryview]:
        yield from self._encoded.values()
        for path, directory in self._decoded.items():
            if path not in self._encoded and (directory.entries or directory.tree):
                yield encode_directory(path, directory)

    def _load(self) -> None:
        try:
            data = self._path.read_bytes()
        except OSError:
            return
        if len(data) < _HEADER.size + _SAVED.size + _HELD.size:
            return
        magic, version, checksum = _HEADER.unpack_from(data)
        body = memoryview(data)[_HEADER.size :]
        if magic != _MAGIC or version != _VERSION or xxhash.xxh3_64_intdigest(body) != checksum:
            return
        boot, saved_ns, is_young = _SAVED.unpack_from(body)
        held_start = _SAVED.size + _HELD.size
        offset = held_start + _HELD.unpack_from(body, _SAVED.size)[0] * _HELD_BYTES
        self._holdings = frozenset(
            bytes(body[start : start + _HELD_BYTES]) for start in range(held_start, offset, _HELD_BYTES)
        )
        while offset < len(body):
            path_length, names_length, entries, *_rest = _DIRECTORY.unpack_from(body, offset)
            path_start = offset + _DIRECTORY.size
            end = path_start + path_length + names_length + entries * _ENTRY.size
            path = os.fsdecode(bytes(body[path_start : path_start + path_length]))
            self._encoded[path] = body[offset:end]
            offset = end
        if is_young and boot != fsio.boot_id():
            self._forget_since(saved_ns - _WRITTEN_OUT_NS)
        elif is_young:
            self._saved_ns = saved_ns

    def _forget_since(self, time_ns: int) -> None:
        """Forgets files that changed later, and the trees that held them: they may have been lost half-written."""
        for path, block in list(self._encoded.items()):
            known = decode_directory(block)
            kept = {name: stamp for name, stamp in known.entries.items() if stamp.ctime_ns <= time_ns}
            if len(kept) < len(known.entries):
                self._set(path, CachedDirectory(kept))
        self._changed = True


def _decode_header(block: memoryview) -> CachedDirectory:
    """Returns a directory without its entries."""
    _path_length, _names_length, _count, flags, tree, size, files = _DIRECTORY.unpack_from(block)
    return CachedDirectory({}, tree if flags & _HAS_TREE else b"", size, files, bool(flags & _IS_STORED))


def _with_flags(block: memoryview, flags: int) -> memoryview:
    changed = bytearray(block)
    changed[_FLAGS_AT] = flags
    return memoryview(changed)


def names_and_stamps(block: memoryview) -> tuple[bytes, memoryview]:
    """Returns the names in a directory's block, separated by NUL, and their stamps, one after the other."""
    path_length, names_length, *_rest = _DIRECTORY.unpack_from(block)
    start = _DIRECTORY.size + path_length
    return bytes(block[start : start + names_length]), block[start + names_length :]


def decode_directory(block: memoryview) -> CachedDirectory:
    """Returns what a directory's block in the file says."""
    encoded, stamps = names_and_stamps(block)
    names = os.fsdecode(encoded).split("\0")
    # An empty directory splits into one empty name, which the missing stamp drops.
    entries = dict(zip(names, iter_stamps(stamps), strict=False))
    return _decode_header(block)._replace(entries=entries)


def encode_directory(path: str, directory: CachedDirectory) -> bytes:
    """Returns a directory's block."""
    names = os.fsencode("\0".join(directory.entries))
    return encode_block(path, names, b"".join(directory.entries.values()), directory)


def encode_block(
    path: str, names: bytes | bytearray, stamps: bytes | bytearray, directory: CachedDirectory
) -> bytes:
    """Returns a directory's block.

    Args:
        path: Of the directory.
        names: Of its entries, separated by NUL.
        stamps: Theirs, one after the other.
        directory: Says the rest; its entries do not count.
    """
    encoded_path = os.fsencode(path)
    fixed = _DIRECTORY.pack(
        len(encoded_path),
        len(names),
        len(stamps) // _ENTRY.size,
        (_HAS_TREE if directory.tree else 0) | (_IS_STORED if directory.is_stored else 0),
        directory.tree or NO_DIGEST,
        directory.size,
        directory.files,
    )
    return b"".join([fixed, encoded_path, names, stamps])
