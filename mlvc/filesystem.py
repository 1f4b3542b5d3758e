"""Tracked files of any revision as a read-only fsspec file system, `mlvc://PATH`, read without a checkout.

    import fsspec, pandas
    pandas.read_csv("mlvc://data/prices.csv", storage_options={"rev": "v1.2"})

The interface is fsspec's, `AbstractFileSystem`: https://filesystem-spec.readthedocs.io/en/latest/developer.html
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import functools
import io
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, ClassVar, SupportsIndex

from fsspec.spec import AbstractFileSystem, make_instance

from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId
from mlvc.model.tree import Kind
from mlvc.ports import ProgressTask
from mlvc.repo import Repo
from mlvc.store.ranges import BlobRanges
from mlvc.store.sparse import SparseStore
from mlvc.verbs.reading import Item, Snapshot

__all__ = ["MlvcFile", "MlvcFileSystem", "open_tracked"]

_BUFFER_BYTES = 64 << 10
_TYPES = {Kind.FILE: "file", Kind.EXECUTABLE: "file", Kind.SYMLINK: "link", Kind.DIRECTORY: "directory"}


class _Silent:
    """A `ports.Reporter` for programs: whoever imports this as a library prints what they like."""

    @contextlib.contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "files") -> Iterator[ProgressTask]:  # noqa: ARG002
        """Begins an operation that nobody watches."""
        yield self

    def advance(self, amount: int = 1) -> None:
        """Says nothing."""

    def set_total(self, total: int) -> None:
        """Says nothing."""

    def note(self, message: str) -> None:
        """Says nothing."""

    def warn(self, message: str) -> None:
        """Says nothing."""


class _Raw(io.RawIOBase):
    """A blob as a file; what `MlvcFile` buffers."""

    mode = "rb"

    def __init__(self, open_ranges: Callable[[], BlobRanges], size_bytes: int | None) -> None:
        """Opens the blob now where nobody knows its length, and otherwise when it is read."""
        super().__init__()
        self._open_ranges = open_ranges
        self._position = 0
        self.size_bytes = self.ranges.size_bytes if size_bytes is None else size_bytes

    @functools.cached_property
    def ranges(self) -> BlobRanges:
        return self._open_ranges()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size_bytes}
        if whence not in start:
            raise ValueError(f"whence is {whence}, which is none of 0, 1 and 2")
        if start[whence] + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = start[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # any writable buffer
        with memoryview(buffer).cast("B") as view:
            data = self.ranges.read(self._position, len(view))
            view[: len(data)] = data
        self._position += len(data)
        return len(data)


class MlvcFile(io.BufferedReader):
    """A tracked file that is open for reading, in any order; every chunk of it is verified as it is read.

    Libraries of native code, DuckDB for one, read one file from all their threads: each seeks, then reads, and another
    thread may come in between. So once a thread that no Python code called from has sought, each thread that sought
    reads on from its own position, until one that did not reads from the position of the file.

    It can be pickled, as data loaders and schedulers do: in the other process it is the same bytes, whatever became of
    the revision, at the position that the pickling thread had; the repository is opened there at the first read.

    Attributes:
        fs: Its file system.
        path: Its path, as it was asked for.
        size: Its length in bytes.
    """

    def __init__(self, fs: MlvcFileSystem, path: str, blob: BlobId, size_bytes: int | None = None) -> None:
        """Opens a blob.

        Args:
            fs: As of the attributes.
            path: As of the attributes.
            blob: Its contents.
            size_bytes: Their length, where that is known; nothing is opened then before somebody reads.
        """
        self._raw = _Raw(lambda: fs.ranges_of(blob), size_bytes)
        super().__init__(self._raw, _BUFFER_BYTES)
        self.fs = fs
        self.path = path
        self.size = self._raw.size_bytes
        self._blob = blob
        self._native = False
        self._positions: dict[int, int] = {}
        self._using = threading.Lock()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Moves to a place in the file, and returns it."""
        with self._using:
            self._native = self._native or sys._getframe().f_back is None  # noqa: SLF001  # what `inspect` calls too
            position = super().seek(offset, whence)
            self._positions[threading.get_ident()] = position
            return position

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns up to `size` bytes, or all that is left."""
        with self._at_its_position():
            return super().read(size)

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  # any writable buffer
        """Fills a buffer as far as the file reaches, and returns how many bytes that were."""
        with self._at_its_position():
            return super().readinto(buffer)

    @contextlib.contextmanager
    def _at_its_position(self) -> Iterator[None]:
        """Holds the file, at the calling thread's position if it has one."""
        thread = threading.get_ident()
        with self._using:
            own = self._native and thread in self._positions
            if own:
                super().seek(self._positions[thread])
            else:
                self._positions.clear()
            yield
            if own:
                self._positions[thread] = self.tell()

    @property
    def proven(self) -> bool:
        """Whether the whole is known to be the file's bytes; see `BlobRanges.proven`."""
        return self._raw.ranges.proven

    def __reduce__(self) -> tuple[Any, ...]:
        """Names the repository, the contents and the position.

        Raises:
            ValueError: It is closed.
        """
        if self.closed:
            raise ValueError("a file that is closed cannot be pickled")
        with self._at_its_position():
            position = self.tell()
        return _reopen, (*self.fs.place, self.path, str(self._blob), self.size, position)

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> tuple[Any, ...]:
        # That of its base refuses, from Python 3.12 on.
        return self.__reduce__()


class MlvcFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Tracked files, read-only.

    Paths are relative to the top of the repository, whatever the working directory. Symlinks have the type `link`, and
    opening one opens what it leads to. What a remote has and this clone lacks is brought in the parts that are read,
    and kept in the store. A write raises `OSError` (EROFS), an unknown path `FileNotFoundError`.
    """

    protocol: ClassVar[str] = "mlvc"
    root_marker: ClassVar[str] = ""
    # A revision such as HEAD moves, and so does the lock; an instance sees one state of both.
    cachable: ClassVar[bool] = False

    def __init__(self, repo: str | os.PathLike[str] = ".", rev: str | None = None, **options: Any) -> None:  # noqa: ANN401
        """Opens nothing before the first question.

        Args:
            repo: A path in the repository.
            rev: A git revision; None for the present `mlvc.lock`.
            options: fsspec's own.
        """
        super().__init__(repo=os.fspath(repo), rev=rev, **options)
        self._repo = os.path.abspath(repo)
        self._rev = rev
        self._opening = threading.Lock()
        self._seen: Snapshot | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Names the same repository in another process, whatever its working directory."""
        return make_instance, (type(self), (), {**self.storage_options, "repo": self._repo, "rev": self._rev})

    @property
    def place(self) -> tuple[str, str | None]:
        """The repository, as an absolute path, and the revision."""
        return self._repo, self._rev

    def ranges_of(self, blob: BlobId) -> BlobRanges:
        """Opens the contents of a file."""
        return BlobRanges(self._snapshot.store, blob)

    @property
    def _snapshot(self) -> Snapshot:
        with self._opening:
            if self._seen is None:
                # This is an entry point, as the command line is, and so knows the process.
                repo = Repo.open(Path(self._repo), reporter=_Silent(), environment=os.environ)
                self._seen = Snapshot(repo, self._rev)
                # At the latest when the program ends; what was brought last would be brought again otherwise.
                weakref.finalize(self, _keep, self._seen.store)
            return self._seen

    def invalidate_cache(self, path: str | None = None) -> None:
        """Looks at the revision anew at the next question."""
        super().invalidate_cache(path)
        with self._opening:
            if self._seen is not None:
                self._seen.renew()

    # ------------------------------------------------------------------------------------------------ fsspec

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:  # noqa: ANN401  # fsspec passes a name or a list of names
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in path]
        return os.fspath(path).removeprefix("mlvc://").removeprefix("mlvc::").strip("/")

    def _find(self, path: str) -> Item:
        name = self._strip_protocol(path)
        item = self._snapshot.find(os.fsencode(name))
        if item is None:
            raise FileNotFoundError(errno.ENOENT, "not tracked", name)
        return item

    def info(self, path: str, **_: Any) -> dict[str, Any]:  # noqa: ANN401  # fsspec's own options
        """Returns name, size, type, and the id of a tracked path.

        Raises:
            FileNotFoundError: Nothing tracked stands there.
        """
        return _info(self._find(path))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: ANN401, FBT001, FBT002  # fsspec's signature
        """Returns what a directory holds, or the file itself.

        Raises:
            FileNotFoundError: Nothing tracked stands there.
        """
        item = self._find(path)
        items = self._snapshot.list(item) if item.kind is Kind.DIRECTORY else [item]
        found = [_info(each) for each in items]
        return found if detail else [each["name"] for each in found]

    def ukey(self, path: str) -> str:
        """Returns what changes whenever the contents do: the id."""
        return str(self.info(path)["id"])

    def checksum(self, path: str) -> int:
        """Returns a number that changes whenever the contents do."""
        item = self._find(path)
        return 0 if item.id is None else int.from_bytes(item.id.digest[:8])

    def created(self, path: str) -> datetime.datetime:
        """Returns when this file system looked at the lock: git and mlvc keep no times of files.

        Raises:
            FileNotFoundError: Nothing tracked stands there.
        """
        self._find(path)
        return self._snapshot.seen_at

    modified = created

    def _open(self, path: str, mode: str = "rb", **_: Any) -> MlvcFile:  # noqa: ANN401  # fsspec's own options
        if mode != "rb":
            raise _read_only(path)
        name = self._strip_protocol(path)
        item = self._snapshot.follow(os.fsencode(name))
        if item is None:
            raise FileNotFoundError(errno.ENOENT, "not tracked", name)
        if not isinstance(item.id, BlobId):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        return MlvcFile(self, name, item.id)

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **options: Any) -> Any:  # noqa: ANN401, FBT001, FBT002  # fsspec's signature
        """Returns the contents of one file, or a dictionary of those of several, which are brought together."""
        self._bring(path, recursive=recursive)
        return super().cat(path, recursive=recursive, on_error=on_error, **options)

    def get(self, rpath: Any, lpath: Any, recursive: bool = False, **options: Any) -> Any:  # noqa: ANN401, FBT001, FBT002  # fsspec's signature
        """Copies files to this machine; those that are not in the store are brought together."""
        self._bring(rpath, recursive=recursive)
        return super().get(rpath, lpath, recursive=recursive, **options)

    def _bring(self, path: Any, *, recursive: bool) -> None:  # noqa: ANN401  # a name, a pattern, or a list of them
        with contextlib.suppress(FileNotFoundError):
            items = (
                self._snapshot.find(os.fsencode(name)) for name in self.expand_path(path, recursive=recursive)
            )
            blobs = {item.id for item in items if item is not None and isinstance(item.id, BlobId)}
            if len(blobs) > 1:
                self._snapshot.store.bring_blobs(sorted(blobs))

    def mkdir(self, path: str, *_: Any, **__: Any) -> None:  # noqa: ANN401  # fsspec's own options
        """Raises OSError: nothing can be written."""
        raise _read_only(path)

    makedirs = mkdir
    rmdir = mkdir
    rm_file = mkdir
    _rm = mkdir
    cp_file = mkdir
    touch = mkdir
    pipe_file = mkdir
    put_file = mkdir


def _info(item: Item) -> dict[str, Any]:
    return {
        "name": os.fsdecode(item.path),
        "size": item.size_bytes,
        "type": _TYPES[item.kind],
        "islink": item.kind is Kind.SYMLINK,
        "id": None if item.id is None else str(item.id),
    }


def _read_only(path: str) -> OSError:
    return OSError(errno.EROFS, "mlvc:// is read-only: write to the work tree, then `mlvc add`", path)


def _keep(store: SparseStore) -> None:
    # A program that ends is not told that a cache could not be written.
    with contextlib.suppress(MlvcError):
        store.keep()


@functools.lru_cache(maxsize=8)
def _shared(repo: str, rev: str | None) -> MlvcFileSystem:
    """Returns the file system of one revision for a whole program: what comes from a remote is kept in large packs."""
    return MlvcFileSystem(repo, rev)


def _reopen(repo: str, rev: str | None, path: str, blob: str, size_bytes: int, position: int) -> MlvcFile:
    """Returns a file that was pickled; of all that come from one revision, the file system is one."""
    file = MlvcFile(_shared(repo, rev), path, BlobId.parse(blob), size_bytes)
    file.seek(position)
    return file


def open_tracked(
    path: str | os.PathLike[str],
    rev: str | None = None,
    mode: str = "rb",
    *,
    repo: str | os.PathLike[str] = ".",
    encoding: str | None = None,
) -> IO[Any]:
    """Opens a tracked file of any revision for reading, without a checkout.

    Only the parts that are read are decoded, or brought from the remote where they are not here.

    Args:
        path: Relative to the top of the repository.
        rev: A git revision; None for the present `mlvc.lock`.
        mode: `rb`, or `r` for text.
        repo: A path in the repository.
        encoding: Of text; UTF-8 unless given.

    Raises:
        FileNotFoundError: The revision tracks no such path.
        IsADirectoryError: It is a directory.
        ValueError: The mode is not for reading.
        MlvcError: The repository, the revision or the data cannot be had.
    """
    if mode not in {"r", "rt", "rb"}:
        raise ValueError(f"the mode {mode!r} is not for reading")
    files = _shared(os.path.abspath(repo), rev)
    files.invalidate_cache()
    file = files.open(os.fspath(path), "rb")
    return file if mode == "rb" else io.TextIOWrapper(file, encoding or "utf-8")
