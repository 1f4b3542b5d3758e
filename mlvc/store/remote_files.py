"""Where the files of a remote are: what every place keeps, and a directory. Knows names and bytes, nothing of packs.

Whatever a library or the system raises becomes one of the four errors below, which name the remote.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mlvc.errors import IntegrityError, MlvcError, NotFoundError
from mlvc.fsio import sync_directory, translate_os_errors
from mlvc.store.temporaries import Temporary, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlvc.store.local import RecordKey
    from mlvc.store.outgoing import Outgoing

__all__ = [
    "FOLDERS",
    "RANGE_BYTES",
    "REMOVED_AT_ONCE",
    "DirectoryFiles",
    "FilesFound",
    "LongAnswerError",
    "RemoteDamagedError",
    "RemoteDeniedError",
    "RemoteFile",
    "RemoteFiles",
    "RemoteFullError",
    "RemoteMissingError",
    "RemoteUnreachableError",
    "told_by",
]

_COPY_BYTES = 4 << 20
RANGE_BYTES = 16 << 20
"""One request brings so much: a lost connection costs no more, and four threads hold 64 MiB."""
_TEMPORARIES = "tmp"
_NAMED = 5
REMOVED_AT_ONCE = 1_000
"""What S3 deletes in one request."""
_LONGEST_NAME = 128
"""No file of a remote has a longer one."""
FOLDERS = ("data", "metadata", "gc")
"""What a remote is made of, below its place."""
_MARKER = "mlvc-remote-"
_MOST_FILES = 2_000_000
"""Those of a remote of 48 TB in small files. What is listed is held, 350 bytes each, so what never ends must end."""
_SECRET = re.compile(r"(?<=://)[^\s\"'<>]*@|(?<=\?)[^\s\"'<>]+")
"""Where a password or a signature stands in a URL."""
_TOLD = 400


class RemoteMissingError(NotFoundError):
    """The bucket or directory of a remote, or a file in it, is not there."""

    code = "remote-missing"


class RemoteDeniedError(MlvcError):
    """The remote does not accept the credentials, or there are none."""

    code = "remote-denied"


class RemoteUnreachableError(MlvcError):
    """The remote did not answer, or not to the end."""

    code = "remote-unreachable"


class RemoteFullError(MlvcError):
    """The bucket has no room left, or no more of its quota."""

    code = "remote-full"


class RemoteDamagedError(IntegrityError):
    """A file of a remote holds other bytes than were sent to it.

    Attributes:
        found: Each damaged file, with the remote's URL, and what is wrong with it.
        records: The records that cannot be had from there, as far as they are known.
    """

    code = "remote-damaged"

    def __init__(
        self, *found: tuple[str, str], records: Iterable[RecordKey] = (), reaches: Sequence[str] = ()
    ) -> None:
        message = "; ".join(f"{name} is damaged: {what}" for name, what in found)
        if reaches:
            more = f" and {len(reaches) - _NAMED} more" if len(reaches) > _NAMED else ""
            message += f"; it is needed for {', '.join(reaches[:_NAMED])}{more}"
        super().__init__(
            message,
            hint="nothing damaged was stored; `mlvc push --repair` from a clone that has the data mends the remote",
        )
        self.found = found
        self.records = frozenset(records)

    @property
    def names(self) -> tuple[str, ...]:
        """The damaged files."""
        return tuple(name for name, _ in self.found)


class LongAnswerError(ValueError):
    """An answer of a server is longer than any honest one; which one stands in the message."""

    def __init__(self, method: str, url: object, most_bytes: int) -> None:
        super().__init__(f"the answer to {method} {url} is longer than {most_bytes:,} bytes")


def told_by(error: BaseException) -> str:
    """Returns what a library says of an error, as it may be shown: it repeats URLs, and what a server answered.

    Without passwords and signatures, in one line without control bytes, and no longer than a person reads.
    """
    text = _SECRET.sub("…", " ".join(str(error).split()))
    if not text:
        # fsspec makes of a library's error about time one without a word.
        text = "it said nothing for too long" if isinstance(error, TimeoutError) else type(error).__name__
    text = "".join(each if each.isprintable() else "…" for each in text[: _TOLD + 1])
    return text if len(text) <= _TOLD else text[:_TOLD] + "…"


class RemoteFile(NamedTuple):
    """A file of a remote.

    Attributes:
        size_bytes: Its length.
        time_s: When it was written, in seconds since 1970 by the remote's own clock.
    """

    size_bytes: int
    time_s: float


class FilesFound:
    """What a listing found that can be a remote's; whatever else is in the place is not kept in mind.

    Attributes:
        files: By their names below the remote.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.files: dict[str, RemoteFile] = {}

    def note(self, name: str, described: RemoteFile) -> None:
        """Keeps a file.

        Raises:
            RemoteUnreachableError: No remote has so many.
        """
        folder, _, file = name.rpartition("/")
        if len(name) > _LONGEST_NAME or (folder not in FOLDERS if folder else not file.startswith(_MARKER)):
            return
        self.files[name] = described
        if len(self.files) > _MOST_FILES:
            raise RemoteUnreachableError(
                f"the remote {self._url} lists more than {_MOST_FILES:,} files",
                hint="no remote has so many; give it a folder of its own",
            )


class RemoteFiles(Protocol):
    """The files of one remote. Safe for use from several threads."""

    def list(self) -> Mapping[str, RemoteFile]:
        """Returns every file that can be a remote's (see `FilesFound`) by its name below the remote; one question.

        Raises:
            RemoteMissingError: There is no such remote.
            RemoteUnreachableError: It does not answer, or lists more than any remote has.
        """
        ...

    def prepare(self) -> None:
        """Makes ready for writing."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Makes a file that appears whole or not at all."""
        ...

    def upload(self, name: str, source: Outgoing, jobs: int = 1) -> None:
        """Copies a file there, which appears whole, and with the bytes that it should have, or not at all.

        Args:
            name: What it is called there.
            source: The file.
            jobs: How many requests may be made at once.

        Raises:
            DamagedFileError: It has other bytes.
        """
        ...

    def read(self, name: str, size_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """Yields so many bytes of a file from `offset`, in pieces; fewer where it is shorter.

        Raises:
            RemoteMissingError: It is not there.
        """
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Deletes at most `REMOVED_AT_ONCE` files, in one request; one that is gone already is no error."""
        ...


class DirectoryFiles:
    """A remote in a directory, such as a mounted disk; as durable as the local store."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self) -> Mapping[str, RemoteFile]:
        """Returns the files of the directory and of those just below it."""
        found = FilesFound(str(self._root))
        with translate_os_errors(f"list {self._root}"):
            try:
                for entry in os.scandir(self._root):
                    if entry.is_file():
                        _note(found, entry.name, entry)
                    elif entry.name in FOLDERS and entry.is_dir():
                        for file in os.scandir(entry.path):
                            if file.is_file():
                                _note(found, f"{entry.name}/{file.name}", file)
            except (FileNotFoundError, NotADirectoryError) as exc:
                raise RemoteMissingError(
                    f"the remote {self._root} is not there", hint="is the disk mounted? `mlvc push` makes it"
                ) from exc
        return found.files

    def prepare(self) -> None:
        """Makes the directories, and removes what a killed push left."""
        with translate_os_errors(f"write to {self._root}"):
            (self._root / _TEMPORARIES).mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._root / _TEMPORARIES)

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[Temporary]:
        target = self._root / name
        with translate_os_errors(f"write {target}"):
            target.parent.mkdir(exist_ok=True)
            temporary = Temporary.create(self._root / _TEMPORARIES, target.suffix)
            try:
                yield temporary
                temporary.sync()
                temporary.publish(target)
            finally:
                temporary.discard()

    def write(self, name: str, data: bytes) -> None:
        """Writes under another name, then renames."""
        with self._writing(name) as file:
            file.write(data)

    def upload(self, name: str, source: Outgoing, jobs: int = 1) -> None:  # noqa: ARG002  # one disk does one thing
        """Copies under another name, then renames."""
        buffer = bytearray(_COPY_BYTES)
        with self._writing(name) as file:
            for piece in source.pieces(lambda: buffer):
                file.write(piece)
                source.advance(len(piece))

    def read(self, name: str, size_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """Yields the file's bytes."""
        path = self._root / name
        with translate_os_errors(f"read {path}"):
            try:
                file = path.open("rb")
            except FileNotFoundError as exc:
                raise RemoteMissingError(
                    f"the remote {self._root} is not there, or a file of it: {path}",
                    hint="repeat: a gc of the remote may have deleted it just now",
                ) from exc
        with translate_os_errors(f"read {path}"), file:
            file.seek(offset)
            while size_bytes > 0 and (piece := file.read(min(_COPY_BYTES, size_bytes))):
                size_bytes -= len(piece)
                yield piece

    def remove(self, names: Sequence[str]) -> None:
        """Deletes them, durably."""
        with translate_os_errors(f"delete in {self._root}"):
            for name in names:
                (self._root / name).unlink(missing_ok=True)
            for folder in {(self._root / name).parent for name in names}:
                sync_directory(folder)


def _note(found: FilesFound, name: str, entry: os.DirEntry[str]) -> None:
    # A gc may delete it between the two questions.
    with contextlib.suppress(FileNotFoundError):
        status = entry.stat()
        found.note(name, RemoteFile(status.st_size, status.st_mtime))
