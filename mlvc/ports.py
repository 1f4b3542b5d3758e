"""What one room needs of another, as Protocols; each docstring is a contract that a conformance test checks.

Rooms on one line of the layer diagram never import each other: `mlvc/repo.py` hands the real thing in.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlvc.model.ids import BlobId, ObjectId, PackId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.model.tree import TreeEntry

if TYPE_CHECKING:
    import datetime

    # A tenth of the start-up time, which only what reads or writes an object must pay.
    from mlvc.model.objects import Base, StoredObject

__all__ = [
    "ByteSource",
    "Clock",
    "Engine",
    "EngineResult",
    "Execution",
    "FileSource",
    "ForkedWriter",
    "Linker",
    "LogSink",
    "Mount",
    "ObjectCatalog",
    "ObjectReader",
    "ObjectWriter",
    "ProgressTask",
    "RecordKind",
    "Reporter",
    "Sharing",
    "Store",
]


class Clock(Protocol):
    """Tells the wall time; the only source of it, so that tests can hold it still."""

    def now(self) -> datetime.datetime:
        """Returns the present time, aware, in UTC."""
        ...


class ProgressTask(Protocol):
    """One running operation that can take more than a second."""

    def advance(self, amount: int = 1) -> None:
        """Reports that `amount` more units are done; cheap, callable from any thread."""
        ...

    def set_total(self, total: int) -> None:
        """Reports the number of units, once it is known."""
        ...


class Reporter(Protocol):
    """Where verbs report progress and notes; a sink that the caller hands in. The library itself never prints."""

    def task(
        self, label: str, *, total: int | None = None, unit: str = "files"
    ) -> AbstractContextManager[ProgressTask]:
        """Begins an operation; leaving the context ends it, however it ended.

        Args:
            label: What is being done, as a participle: `adding data`.
            total: Number of units, where known.
            unit: `files`, `bytes`, `objects` or `steps`.
        """
        ...

    def note(self, message: str) -> None:
        """Tells the person something that is neither result nor error; one or more lines, no final newline."""
        ...

    def warn(self, message: str) -> None:
        """Tells the person something that is likely to hurt later."""
        ...


class ByteSource(Protocol):
    """Something to read bytes from, such as an open binary file."""

    def read(self, size: int, /) -> bytes:
        """Returns at most `size` bytes; empty only at the end."""
        ...


class FileSource(ByteSource, Protocol):
    """An open file, of which only the bytes count that it had when it was opened.

    Its methods translate what the system says, and report progress; whoever reads through the descriptor does neither.
    """

    @property
    def size_bytes(self) -> int:
        """How many bytes it had when it was opened."""
        ...

    def fileno(self) -> int:
        """Returns the descriptor, whose position belongs to `read`."""
        ...

    def readinto(self, buffer: memoryview, /) -> int:
        """Reads on, as `read` does, into a buffer; returns how much was read, 0 only at the end."""
        ...

    def pread(self, size: int, offset: int, /) -> bytes:
        """Returns bytes from anywhere in the file, fewer only at its end; moves no position, and is no progress."""
        ...

    def advance(self, size: int, /) -> None:
        """Reports that so many more bytes are done."""
        ...


class ObjectReader(Protocol):
    """Reads objects. Safe for use from several threads. Never writes, deletes or repairs anything."""

    def has_blob(self, blob: BlobId) -> bool:
        """Returns whether the blob is here: its chunk or recipe is in an index, and so is each chunk of the recipe.

        Reads no data.
        """
        ...

    def has_blobs(self, digests: Iterable[bytes]) -> bool:
        """Returns whether every blob of those digests is here, as `has_blob` does, in a fraction of the time."""
        ...

    def has_tree(self, tree: TreeId) -> bool:
        """Returns whether the tree itself (not what is below it) is here; reads no data."""
        ...

    def blob_size(self, blob: BlobId) -> int:
        """Returns the length of the blob in bytes.

        Raises:
            ObjectMissingError: It is not here.
        """
        ...

    def iter_blob(self, blob: BlobId) -> Iterator[bytes]:
        """Yields the blob's bytes in order, in pieces of at most a few MiB; memory does not grow with the blob.

        Every piece has passed the BLAKE3 of its chunk before it is yielded; the BLAKE3 of the whole is checked
        before the iterator ends, so a caller that publishes what it wrote only after the end never shows wrong bytes.

        Raises:
            ObjectMissingError: The blob or a chunk of it is not here.
            IntegrityError: Stored bytes are damaged; nothing wrong has been yielded.
        """
        ...

    def fill_file(self, blob: BlobId, fd: int, advance: Callable[[int], None]) -> bool:
        """Fills an open, empty file with the blob's bytes, verified, if that is quicker than by `iter_blob`.

        Args:
            blob: Which one.
            fd: The file, open for writing.
            advance: Told how many bytes are done.

        Returns:
            Whether it was done; if not, the file is empty, and `iter_blob` gives the bytes or says what is wrong.

        Raises:
            OSError: The file cannot be written, as the system says it.
        """
        ...

    def read_small_blobs(self, digests: Iterable[bytes]) -> Iterator[tuple[int, bytes | memoryview]]:
        """Yields the number and the contents, verified, of those of many blobs that are quickly read, in any order.

        Quickly read is what is kept in one piece. What is not, or is missing or damaged, is left out: `iter_blob`
        reads it, or says what is wrong.
        """
        ...

    def read_blob(self, blob: BlobId, *, limit_bytes: int | None = None) -> bytes:
        """Returns the whole blob, verified.

        Args:
            blob: Which one.
            limit_bytes: Refuse a larger one.

        Raises:
            ObjectMissingError: It is not here.
            IntegrityError: Stored bytes are damaged.
            MlvcError: It is larger than `limit_bytes`.
        """
        ...

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        """Returns the entries of one directory, sorted by name, verified.

        Raises:
            ObjectMissingError: It is not here.
            IntegrityError: Stored bytes are damaged.
        """
        ...

    def read_encoded_tree(self, tree: TreeId) -> bytes:
        """Returns the encoding of one directory, verified by its id and not decoded.

        Raises:
            ObjectMissingError: It is not here.
            IntegrityError: Stored bytes are damaged.
        """
        ...

    def has_object(self, object_id: ObjectId) -> bool:
        """Returns whether a commit, run, environment or verdict is here; the type of the id says which."""
        ...

    def read_object(self, object_id: ObjectId) -> StoredObject:
        """Returns a commit, run, environment or verdict, verified; the type of the id says which.

        Raises:
            ObjectMissingError: It is not here.
            IntegrityError: Stored bytes are damaged.
        """
        ...

    def iter_object_ids(self, kind: RecordKind) -> Iterator[ObjectId]:
        """Yields the id of every commit, run, environment or verdict here, each once, as its own type of id."""
        ...

    def find_by_prefix(self, kind: RecordKind, digits: str) -> Sequence[ObjectId]:
        """Returns the ids of that kind whose hexadecimal digits start with `digits` (at least 4)."""
        ...


class Linker(Protocol):
    """Makes files of the work tree links to the store's own, where that is wanted and can be done."""

    def __call__(self, blob: BlobId, name: str, dir_fd: int, /) -> bool:
        """Makes a read-only hard link to the file that the store keeps a blob in.

        Args:
            blob: Which one.
            name: What to call the link; nothing may have that name.
            dir_fd: The directory that the name is in.

        Returns:
            Whether it was done.
        """
        ...


class ObjectCatalog(Protocol):
    """Tells what is new in a store, pack by pack; what the index is made from."""

    def iter_new_objects(self, known_packs: Container[PackId]) -> Iterator[tuple[PackId, list[ObjectId]]]:
        """Yields each pack with metadata that is not in `known_packs`, and the ids of the small objects in it.

        Small objects are commits, runs, environments and verdicts. A pack without any is yielded too.

        Raises:
            IntegrityError: A pack's index is damaged.
        """
        ...

    def has_object(self, object_id: ObjectId) -> bool:
        """Returns whether a commit, run, environment or verdict is here; as `ObjectReader.has_object`."""
        ...

    def read_object(self, object_id: ObjectId) -> StoredObject:
        """Returns a commit, run, environment or verdict, verified; as `ObjectReader.read_object`."""
        ...

    def has_tree(self, tree: TreeId) -> bool:
        """Returns whether the tree itself is here; as `ObjectReader.has_tree`."""
        ...

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        """Returns the entries of one directory, verified; as `ObjectReader.read_tree`."""
        ...


class ObjectWriter(Protocol):
    """Adds objects; obtained from `Store.writer()`. An object that is already stored is not written again.

    Not safe for use from several threads unless the implementation says so.
    What was added is durable, and visible to readers, only after the context of `Store.writer()` was left normally
    or `flush` returned; a name (lock, row) for it may be written only then (promise 1).
    """

    def add_blob(self, data: bytes) -> BlobId:
        """Adds a small blob that is in memory."""
        ...

    def add_stream(self, source: ByteSource, previous: BlobId | None = None) -> tuple[BlobId, int]:
        """Adds the bytes that `source` yields until its end; memory does not grow with their number.

        Args:
            source: The bytes.
            previous: A blob that they may resemble, which need not be stored; it can save room and nothing else.

        Returns:
            The id and the length in bytes of exactly the bytes that were read.
        """
        ...

    def add_file(self, source: FileSource, previous: BlobId | None = None) -> tuple[BlobId, int]:
        """Adds an open file, as `add_stream` does; what is large may be shared with it instead of copied."""
        ...

    def add_tree(self, entries: Iterable[TreeEntry]) -> TreeId:
        """Adds one directory; what its entries name must have been added before or be stored."""
        ...

    def add_encoded_tree(self, data: bytes) -> TreeId:
        """Adds one directory as `encode_tree` makes it; what it names must have been added before or be stored."""
        ...

    def add_object(self, value: StoredObject) -> ObjectId:
        """Adds a commit, run, environment or verdict."""
        ...

    def flush(self) -> None:
        """Returns after everything added so far is durable and visible to readers."""
        ...

    def shared(self, records: int) -> AbstractContextManager[Sharing] | None:
        """Begins adding in forked processes, each of which opens a writer of its own.

        Leaving the context normally, after every process flushed and its reports were adopted, makes what they added
        part of what this writer added: their data is durable already, their metadata follows with the next flush.
        Leaving it by an exception drops their metadata; what data they stored is found again when it is added again.

        Args:
            records: About how many chunks will be added; memory is set aside for them.

        Returns:
            None where the store cannot be written by several processes.
        """
        ...

    @property
    def stored_bytes(self) -> int:
        """How many bytes this writer has written to packs so far (0 for what was already stored)."""
        ...


class ForkedWriter(ObjectWriter, Protocol):
    """The writer of a forked process; what another of them adds is not written again."""

    def report(self) -> bytes:
        """Returns what has come up since the last report, for `Sharing.adopt` of the first process.

        The last report has to be made after the last `flush`.
        """
        ...


class Sharing(Protocol):
    """What the writers of several forked processes have in common."""

    def writer(self) -> AbstractContextManager[ForkedWriter]:
        """Begins adding; called once in each forked process. Leaving the context drops what was not flushed."""
        ...

    def adopt(self, report: bytes) -> None:
        """Takes over, in the first process, what a writer reported."""
        ...


class Store(ObjectReader, Protocol):
    """A store: reads as `ObjectReader`, writes through `writer()`."""

    def holdings(self) -> frozenset[bytes]:
        """Returns ids, of 32 bytes each, of what the store consists of now, such as its packs; reads no data.

        Whatever was here when the store held some of them is here as long as it holds all of these.
        """
        ...

    def writer(self) -> AbstractContextManager[ObjectWriter]:
        """Begins adding objects.

        Leaving the context normally flushes. Leaving it by an exception keeps what was flushed, drops the rest, and
        leaves nothing that needs repair. Several writers, in several processes, may be open at once.
        """
        ...


@dataclass(frozen=True, slots=True)
class Mount:
    """A host directory or file made visible inside an execution.

    Attributes:
        source: On the host.
        target: Absolute path inside.
        writable: Whether the command may write below it.
    """

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Execution:
    """One command to run in isolation.

    Attributes:
        argv: The command; `argv[0]` is looked up on the inner PATH where it holds no slash. Bytes, because file
            names are.
        directory: Absolute working directory inside.
        variables: The whole of the inner environment; nothing else is passed.
        mounts: In the order in which they are made; a later one may lie below an earlier one.
        cpus: CPU numbers of the host that the command may use; None for all.
        memory_mb: Memory limit; None for none.
        base: The Docker image to run on; engines without images ignore it.
        hide: Absolute paths that must look empty inside.
        timeout_s: Kill it after so long; None for never.
        gpus: Whether the command gets the GPUs of this machine.
    """

    argv: tuple[bytes, ...]
    directory: str
    variables: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    cpus: tuple[int, ...] | None = None
    memory_mb: int | None = None
    base: Base | None = None
    hide: tuple[str, ...] = ()
    timeout_s: float | None = None
    gpus: bool = False


@dataclass(frozen=True, slots=True)
class EngineResult:
    """How an execution ended.

    Attributes:
        exit_code: The command's; 128 + n when signal n ended it.
        duration_ms: Wall time of the command.
        out_of_memory: Whether the memory limit killed it.
    """

    exit_code: int
    duration_ms: int
    out_of_memory: bool = False


class LogSink(Protocol):
    """Receives the output of a command while it runs."""

    def __call__(self, data: bytes, *, is_error: bool) -> None:
        """Takes a piece of standard output or, with `is_error`, of standard error; in the order it was read."""
        ...


class Engine(Protocol):
    """Runs a command in isolation: no network, no home, nothing of the caller's environment.

    The command runs as an ordinary user without capabilities; the root file system is read-only except for the
    writable mounts, `/tmp` and `/dev/shm`, the only places where it can write. Where the engine has no base image,
    the system directories of the host stand in for it.
    """

    name: str
    """`docker`, `bubblewrap` or `none`."""

    isolated: bool
    """False only for `none`."""

    def check(self) -> str | None:
        """Returns None if the engine works here, found out by running something; else why not, in one line."""
        ...

    def resolve_base(self, reference: str) -> Base | None:
        """Returns the image that `reference` names, pulling it if it is not local; None for engines without images.

        Raises:
            BaseMissingError: It is not local and cannot be pulled.
        """
        ...

    def run(self, execution: Execution, log: LogSink) -> EngineResult:
        """Runs the command to its end and returns how it ended; ends it when interrupted (KeyboardInterrupt).

        Files that the command created in writable mounts belong to the caller or can be read and removed by it.

        Raises:
            EngineError: The command could not be started, for a reason that is not the command's own.
        """
        ...
