"""The canonical binary encoding of a tree: one directory.

Entries are sorted by the bytes of their names, which are unique.

    offset  size  field
    0       8     magic "MLVCTREE"
    8       2     version, little-endian, 1
    10      4     number of entries, little-endian
    14      ...   entries

    entry   size  field
            1     kind: 1 file, 2 executable, 3 symlink, 4 directory
            2     length of the name, little-endian, 1 to 65535
            n     name
            32    id: of the blob (for a symlink, of its target's bytes), or of the tree
            8     size in bytes, little-endian; of a directory, the sum of all below

Format page: docs/format/tree.md
"""

from __future__ import annotations

import enum
import itertools
import operator
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mlvc.errors import FormatError, VersionError
from mlvc.model.ids import DIGEST_BYTES, BlobId, TreeId
from mlvc.model.names import encode_name

__all__ = [
    "Kind",
    "TreeDifference",
    "TreeEntry",
    "amend_tree",
    "check_name",
    "check_names",
    "compare_trees",
    "decode_tree",
    "encode_fields",
    "encode_tree",
    "ids_below",
]

_MAGIC = b"MLVCTREE"
_VERSION = 1
_HEADER = struct.Struct("<8sHI")
_ENTRY = struct.Struct("<BH")
_NAME_LENGTH = struct.Struct("<xH")
_TAIL = struct.Struct(f"<{DIGEST_BYTES}sQ")
_PLAIN = rb"[^./\x00gGmM\x80-\xff][^/\x00\x80-\xff]{0,254}"
_PLAIN_NAME = re.compile(_PLAIN)
"""Names that cannot be any of the refused ones, as nearly all are; one look instead of six."""
_PLAIN_NAMES = re.compile(_PLAIN + rb"(?:\x00" + _PLAIN + rb")*")
_NAME_OF = operator.itemgetter(0)
_FIXED_BYTES = _ENTRY.size + _TAIL.size
_SMALLEST_ENTRY = _FIXED_BYTES + 1
_CUT = "a tree is cut short"
_UNSORTED = "the names of a tree are not sorted"
_UNKNOWN_KIND = "a tree holds an unknown kind"
_TOO_LARGE = "a size in a tree is out of range"
_MAX_NAME_BYTES = 0xFFFF
_MAX_SIZE_BYTES = (1 << 63) - 1
# What Windows makes of a name: short names, and what follows a colon is a stream of the same file.
_RESERVED = re.compile(rb"(\.git|\.mlvc|git~1|mlvc~1)[. ]*(:.*)?", re.IGNORECASE | re.DOTALL)
# Code points that HFS+ on macOS leaves out of a comparison, in UTF-8.
_HFS_IGNORED = re.compile(rb"\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf")


class Kind(enum.IntEnum):
    """What a directory entry is; hard links are files, other mode bits are not kept."""

    FILE = 1
    EXECUTABLE = 2
    SYMLINK = 3
    DIRECTORY = 4

    @property
    def word(self) -> str:
        """The kind as the lock, JSON and SQL spell it."""
        return self.name.lower()


_KINDS = {int(kind): kind for kind in Kind}


class TreeEntry(NamedTuple):
    """One entry of a directory.

    Attributes:
        name: One path component, as bytes; never empty, `.`, `..`, and without `/` and NUL.
        kind: What it is.
        id: The blob of a file or executable, the blob of a symlink's target text, or the tree of a directory.
        size_bytes: The file's length, the target's length, or the sum of all below.
    """

    name: bytes
    kind: Kind
    id: BlobId | TreeId
    size_bytes: int


def check_name(name: bytes) -> None:
    """Refuses a name that could reach outside its directory or into a repository's own files.

    Besides `..` and `/`, `.git` and `.mlvc` are refused in every spelling that some file system takes for them:
    in any case, with dots, spaces or a stream's name at the end, as a short name, with characters that HFS+ ignores.

    Raises:
        FormatError: The name is not allowed.
    """
    if _PLAIN_NAME.fullmatch(name):
        return
    if (
        name in {b"", b".", b".."}
        or b"/" in name
        or b"\0" in name
        or len(name) > _MAX_NAME_BYTES
        or _RESERVED.fullmatch(name if name.isascii() else _HFS_IGNORED.sub(b"", name))
    ):
        raise FormatError(f"the name {encode_name(name[:200])!r} is not allowed in a tree")


def encode_tree(entries: Iterable[TreeEntry]) -> bytes:
    """Returns the canonical encoding of a directory; `entries` may come in any order.

    Raises:
        FormatError: A name is not allowed or stands twice, a size is out of range, or the type of an id is not
            that of its kind.
    """
    fields = []
    for entry in entries:
        if isinstance(entry.id, TreeId) is not (entry.kind is Kind.DIRECTORY):
            raise FormatError(f"the id of {encode_name(entry.name)!r} does not belong to a {entry.kind.word}")
        fields.append((entry.name, entry.kind, entry.id.digest, entry.size_bytes))
    return encode_fields(fields)


def encode_fields(entries: Iterable[tuple[bytes, Kind, bytes, int]]) -> bytes:
    """Returns what `encode_tree` does, in a quarter of the time, for entries as name, kind, digest and size.

    Raises:
        FormatError: A name is not allowed or stands twice, or a size is out of range.
    """
    ordered = sorted(entries, key=_NAME_OF)
    header = _HEADER.pack(_MAGIC, _VERSION, len(ordered))
    if not ordered:
        return header
    # A million files are encoded here, so each column is gone through as a whole, without a step of Python for each.
    names, kinds, digests, sizes = zip(*ordered, strict=True)
    check_names(names)
    if len(set(names)) < len(names):
        twice = next(name for name, after in itertools.pairwise(names) if name == after)
        raise FormatError(f"the name {encode_name(twice)!r} stands twice in a tree")
    if min(sizes) < 0 or max(sizes) > _MAX_SIZE_BYTES:
        wrong = next(
            name for name, size in zip(names, sizes, strict=True) if not 0 <= size <= _MAX_SIZE_BYTES
        )
        raise FormatError(f"the size of {encode_name(wrong)!r} is out of range")
    parts = [header] * (1 + 3 * len(names))
    parts[1::3] = map(_ENTRY.pack, kinds, map(len, names))
    parts[2::3] = names
    parts[3::3] = map(_TAIL.pack, digests, sizes)
    return b"".join(parts)


def amend_tree(before: bytes, changes: Mapping[bytes, tuple[Kind, bytes, int] | None]) -> bytes:
    """Returns an encoded tree in which some entries are otherwise; what stays is copied and not decoded.

    Args:
        before: A tree that `decode_tree` takes.
        changes: By name, the kind, digest and size of what is new or otherwise; None for what is gone.

    Raises:
        FormatError: A new name is not allowed, or a size is out of range.
        VersionError: The version of `before` is not known.
    """
    count, name_length = _decode_header(before), _NAME_LENGTH.unpack_from
    parts: list[bytes] = []
    kept = offset = _HEADER.size
    for name, change in sorted(changes.items(), key=_NAME_OF):
        end = offset = _pass_lesser(before, offset, name)
        while offset < len(before):
            # Nearly all entries are passed here, so nothing is called that could be spared.
            end = offset + _FIXED_BYTES + name_length(before, offset)[0]
            if before[offset + _ENTRY.size : end - _TAIL.size] >= name:
                break
            offset = end
        parts.append(before[kept:offset])
        if offset < end and before[offset + _ENTRY.size : end - _TAIL.size] == name:
            offset, count = end, count - 1
        kept = offset
        if change is not None:
            # The one after the header.
            parts.append(encode_fields([(name, *change)])[_HEADER.size :])
            count += 1
    return b"".join([_HEADER.pack(_MAGIC, _VERSION, count), *parts, before[kept:]])


def decode_tree(data: bytes | memoryview) -> Sequence[TreeEntry]:
    """Returns the entries that `data` encodes, sorted by name.

    Raises:
        FormatError: `data` is not exactly the canonical encoding of a tree.
        VersionError: The version is not known.
    """
    data = bytes(data)
    kinds: list[int] = []
    names: list[bytes] = []
    digests: list[bytes] = []
    sizes: list[int] = []
    offset, head, tail = _HEADER.size, _ENTRY.unpack_from, _TAIL.unpack_from
    try:
        for _ in range(_decode_header(data)):
            kind, length = head(data, offset)
            start = offset + _ENTRY.size
            end = start + length
            digest, size = tail(data, end)
            kinds.append(kind)
            names.append(data[start:end])
            digests.append(digest)
            sizes.append(size)
            offset = end + _TAIL.size
    except struct.error:
        raise FormatError(_CUT) from None
    if offset != len(data):
        raise FormatError("bytes follow the last entry of a tree")
    check_names(names)
    if not all(map(operator.lt, names, itertools.islice(names, 1, None))):
        raise FormatError(_UNSORTED)
    if max(sizes, default=0) > _MAX_SIZE_BYTES:
        raise FormatError(_TOO_LARGE)
    if not _KINDS.keys() >= set(kinds):
        raise FormatError(_UNKNOWN_KIND)
    ids = [
        TreeId(digest) if kind == Kind.DIRECTORY else BlobId(digest)
        for kind, digest in zip(kinds, digests, strict=True)
    ]
    return list(map(TreeEntry, names, map(_KINDS.__getitem__, kinds), ids, sizes))


def check_names(names: Sequence[bytes]) -> None:
    """Refuses what `check_name` refuses, in a tenth of the time: all names are looked at together.

    Raises:
        FormatError: One of the names is not allowed.
    """
    joined = b"\0".join(names)
    if joined.count(b"\0") >= len(names) or _PLAIN_NAMES.fullmatch(joined) is None:
        for name in names:
            check_name(name)


def ids_below(data: bytes) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Returns the digests of the directories and of the files and links that an encoded tree names.

    A fraction of the cost of `decode_tree`, for a tree that has passed it, or that is only asked what it names.

    Raises:
        FormatError: `data` is cut short.
        VersionError: The version is not known.
    """
    directories: list[bytes] = []
    others: list[bytes] = []
    offset, head_bytes, directory, head_of = (
        _HEADER.size,
        _ENTRY.size,
        int(Kind.DIRECTORY),
        _ENTRY.unpack_from,
    )
    for _ in range(_decode_header(data)):
        if offset + head_bytes > len(data):
            raise FormatError(_CUT)
        kind, length = head_of(data, offset)
        at = offset + head_bytes + length
        (directories if kind == directory else others).append(data[at : at + DIGEST_BYTES])
        offset += _FIXED_BYTES + length
    if offset != len(data):
        raise FormatError(_CUT)
    return directories, others


class TreeDifference(NamedTuple):
    """How two trees differ.

    Attributes:
        before: The entries of the first that the second does not have just so.
        after: The entries of the second that the first does not have just so.
        equal: How many both have.
    """

    before: Sequence[TreeEntry]
    after: Sequence[TreeEntry]
    equal: int


def compare_trees(before: bytes, after: bytes) -> TreeDifference:
    """Returns how two encoded trees differ; where they are alike, they are compared as bytes and not decoded.

    Args:
        before: A tree that `decode_tree` takes.
        after: Any other; what it has besides `before` is checked as `decode_tree` checks it.

    Raises:
        FormatError: `after` is not exactly the canonical encoding of a tree.
        VersionError: The version is not known.
    """
    count, name_length = _decode_header(after), _NAME_LENGTH.unpack_from
    left = right = last = _HEADER.size
    removed: list[TreeEntry] = []
    added: list[TreeEntry] = []
    equal = 0
    while left < len(before) and right < len(after):
        alike, shift = left + _count_equal_bytes(before, left, after, right), right - left
        entries, size = _stretch(before, left, alike)
        if entries:
            left += entries * size
            last = left - size + shift
            equal += entries
        while left < alike:
            # Nearly all entries are passed here, so nothing is called that could be spared.
            end = left + _FIXED_BYTES + name_length(before, left)[0]
            if end > alike:
                break
            last, left = left + shift, end
            equal += 1
        right = left + shift
        if left == len(before) or right == len(after):
            break
        old, new = _entry_at(before, left), _entry_at(after, right)
        if old.name <= new.name:
            removed.append(old)
            left = _entry_end(before, left)
        if new.name <= old.name:
            _check_order(after, last, right)
            added.append(new)
            last, right = right, _entry_end(after, right)
    while left < len(before):
        removed.append(_entry_at(before, left))
        left = _entry_end(before, left)
    while right < len(after):
        _check_order(after, last, right)
        added.append(_entry_at(after, right))
        last, right = right, _entry_end(after, right)
    if count != equal + len(added):
        raise FormatError("a tree has another number of entries than it says")
    return TreeDifference(removed, added, equal)


def _pass_lesser(data: bytes, offset: int, name: bytes) -> int:
    """Returns where the first entry begins whose name is not less, as far as names are equally long from there on."""
    high, size = _stretch(data, offset, len(data))
    low, start = 0, offset + _ENTRY.size
    while low < high:
        middle = (low + high) // 2
        if data[start + middle * size : start + (middle + 1) * size - _FIXED_BYTES] < name:
            low = middle + 1
        else:
            high = middle
    return offset + low * size


def _stretch(data: bytes, offset: int, end: int) -> tuple[int, int]:
    """Returns how many entries from one on have names of the same length, and their size.

    Numbered files have, and passing all of them at once costs what passing a few costs one by one.

    Args:
        data: An encoded tree.
        offset: Where an entry begins; or the end of the tree.
        end: No entry that reaches further counts.
    """
    if offset + _FIXED_BYTES > end:
        return 0, 0
    size = _FIXED_BYTES + _NAME_LENGTH.unpack_from(data, offset)[0]
    most, entries, step = (end - offset) // size, 0, 8
    low, high = data[offset + 1 : offset + 2], data[offset + 2 : offset + 3]
    while entries < most:
        step = min(2 * step, most - entries)
        start, stop = offset + entries * size, offset + (entries + step) * size
        # The lengths of names that would stand there, without those that are the same from the first on.
        other_low = data[start + 1 : stop : size].lstrip(low)
        other_high = data[start + 2 : stop : size].lstrip(high)
        entries += step - max(len(other_low), len(other_high))
        if other_low or other_high:
            break
    return entries, size


def _count_equal_bytes(first: bytes, start: int, second: bytes, other: int) -> int:
    """Returns how many bytes of both are equal from two offsets on; slices are compared by the processor's best."""
    low, high = 0, min(len(first) - start, len(second) - other) + 1
    middle = high - 1
    while high - low > 1:
        if first[start + low : start + middle] == second[other + low : other + middle]:
            low = middle
        else:
            high = middle
        middle = (low + high) // 2
    return low


def _check_order(data: bytes, last: int, offset: int) -> None:
    """Checks that an entry comes after the one before it; the first has none."""
    if last < offset and _entry_at(data, last).name >= _entry_at(data, offset).name:
        raise FormatError(_UNSORTED)


def _decode_header(data: bytes) -> int:
    """Returns the number of entries."""
    if len(data) < _HEADER.size:
        raise FormatError(_CUT)
    magic, version, count = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise FormatError("not a tree: the magic is wrong")
    if version != _VERSION:
        raise VersionError(f"this mlvc does not know version {version} of the tree format")
    if count * _SMALLEST_ENTRY > len(data) - _HEADER.size:
        raise FormatError(_CUT)
    return count  # type: ignore[no-any-return]


def _entry_end(data: bytes, offset: int) -> int:
    try:
        end: int = offset + _FIXED_BYTES + _NAME_LENGTH.unpack_from(data, offset)[0]
    except struct.error:
        raise FormatError(_CUT) from None
    if end > len(data):
        raise FormatError(_CUT)
    return end


def _entry_at(data: bytes, offset: int) -> TreeEntry:
    try:
        kind_code, length = _ENTRY.unpack_from(data, offset)
        name_end = offset + _ENTRY.size + length
        name = data[offset + _ENTRY.size : name_end]
        digest, size_bytes = _TAIL.unpack_from(data, name_end)
        kind = _KINDS[kind_code]
    except struct.error:
        raise FormatError(_CUT) from None
    except KeyError:
        raise FormatError(_UNKNOWN_KIND) from None
    if _PLAIN_NAME.fullmatch(name) is None:
        check_name(name)
    if size_bytes > _MAX_SIZE_BYTES:
        raise FormatError(_TOO_LARGE)
    return TreeEntry(name, kind, TreeId(digest) if kind is Kind.DIRECTORY else BlobId(digest), size_bytes)
