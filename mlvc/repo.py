"""Opens a repository and wires the rooms together: the only place that chooses implementations.

<git common dir>/mlvc/      store, index, built environments, locks: shared by all worktrees
<git dir>/mlvc/             stat cache and journal of this worktree
mlvc.toml, mlvc.lock        tracked by git
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlvc import fsio
from mlvc.code.repository import CodeRepository
from mlvc.errors import FormatError, MlvcError, NotFoundError, UsageError, VersionError
from mlvc.model.config import NEEDS_TRUST, Config, decode_config
from mlvc.model.ids import BlobId, PackId, TreeId
from mlvc.model.lock import (
    Lock,
    LockConflict,
    TrackedPath,
    decode_conflicts,
    decode_lock,
    encode_conflicts,
    encode_lock,
)
from mlvc.model.names import encode_name
from mlvc.model.trust import decode_trusted, digest_of, settings_to_trust
from mlvc.worktree.view import WorktreeView

if TYPE_CHECKING:
    import datetime

    from mlvc.index.database import MetadataIndex
    from mlvc.model.ids import CommitId
    from mlvc.model.tree import TreeEntry
    from mlvc.ports import Clock, Reporter
    from mlvc.store.local import LocalStore
    from mlvc.store.registry import Registration
    from mlvc.worktree.worktree import Worktree

__all__ = [
    "HOOK_TOKEN",
    "INDEX_URL",
    "LOCK_NAME",
    "SETTINGS_NAME",
    "NotInitialisedError",
    "Repo",
    "SparseCheckoutError",
    "SystemClock",
    "check_not_left_out",
    "find_deleted",
]

SETTINGS_NAME = b"mlvc.toml"
LOCK_NAME = b"mlvc.lock"
INDEX_URL = "MLVC_INDEX_URL"
"""The environment variable with the address of the team's index."""
HOOK_TOKEN: Mapping[str, str] = {"MLVC_HOOK_TOKEN": "1"}
"""Tells mlvc's git hooks, by a variable, that a command of mlvc runs them, which does their work itself."""

_PRIVATE_DIRECTORY = "mlvc"
_Value = TypeVar("_Value")


class NotInitialisedError(NotFoundError):
    """The git repository has no `mlvc.toml`."""

    code = "not-initialised"


class SparseCheckoutError(MlvcError):
    """A sparse checkout leaves out a file that mlvc needs: `mlvc.toml`, `mlvc.lock`, or a `.gitignore` to write to."""

    code = "sparse-checkout"


def check_not_left_out(code: CodeRepository) -> None:
    """Costs one git child; asked only where a file is missing.

    Raises:
        SparseCheckoutError: A sparse checkout leaves out a file that mlvc needs; a new one would lose what it says.
    """
    left_out = code.left_out(SETTINGS_NAME, LOCK_NAME)
    if left_out:
        # One pattern for the lines that keep git away from data, wherever they stand.
        patterns = " ".join(["/" + os.fsdecode(name) for name in sorted(left_out)] + [".gitignore"])
        raise SparseCheckoutError(
            f"the sparse checkout leaves out {' and '.join(map(os.fsdecode, sorted(left_out)))}",
            hint=f"git sparse-checkout add {patterns}",
        )


def find_deleted(code: CodeRepository) -> Sequence[str]:
    """Returns which of mlvc's files HEAD has and the work tree lacks, as after `git clone --no-checkout`.

    Costs two git children at most; asked only where a file is missing.
    """
    gone = [name for name in (SETTINGS_NAME, LOCK_NAME) if not os.path.lexists(code.root / os.fsdecode(name))]
    found = [(name, code.files_at(name, "HEAD")[0]) for name in gone]
    return [os.fsdecode(name) for name, file in found if file is not None and file[1] is not None]


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime.datetime:
        """Returns the present time, aware, in UTC."""
        import datetime  # noqa: PLC0415  # a hook that only looks asks no clock

        return datetime.datetime.now(datetime.UTC)


class Repo:
    """One work tree of a git repository that mlvc was initialised in.

    Not safe for use from several threads; any number of processes may have the same repository open.

    Attributes:
        environment: The caller's environment variables, as handed in; the library reads no others.
        reporter: Where progress and notes go.
        clock: The source of the time.
        cwd: The directory that a person's relative paths start from.
        has_settings: Whether there is a `mlvc.toml`; without one the settings are the user's own alone.
    """

    def __init__(
        self,
        code: CodeRepository,
        *,
        cwd: Path,
        reporter: Reporter,
        environment: Mapping[str, str],
        clock: Clock | None = None,
        has_settings: bool = True,
    ) -> None:
        self.code = code
        self.has_settings = has_settings
        self.cwd = cwd
        self.reporter = reporter
        self.environment = environment
        self.clock: Clock = clock if clock is not None else SystemClock()
        self._is_server_down = False

    @classmethod
    def open(
        cls,
        start: Path,
        *,
        reporter: Reporter,
        environment: Mapping[str, str],
        clock: Clock | None = None,
        may_lack_settings: bool = False,
    ) -> Repo:
        """Opens the repository that `start` lies in. Costs one git child; the rooms open at their first use.

        Args:
            start: A directory.
            reporter: As the attribute.
            environment: As the attribute.
            clock: As the attribute; by default the machine's.
            may_lack_settings: Whether a branch without `mlvc.toml` will do, where another one has data here.

        Raises:
            NotAGitRepositoryError: `start` lies in none.
            NotInitialisedError: It has no `mlvc.toml`.
            SparseCheckoutError: It has one, which is not in the work tree.
        """
        code = CodeRepository.open(start)
        settings = code.root / os.fsdecode(SETTINGS_NAME)
        with fsio.translate_os_errors(f"look at {settings}"):
            has_settings = settings.is_file()
            was_used = has_settings or (code.common_dir / _PRIVATE_DIRECTORY).is_dir()
        if not has_settings:
            check_not_left_out(code)
        if not (has_settings or (may_lack_settings and was_used)):
            deleted = find_deleted(code)
            raise NotInitialisedError(
                f"{encode_name(os.fsencode(code.root))} has no mlvc.toml",
                hint=f"git checkout HEAD -- {' '.join(deleted)}" if deleted else "run `mlvc init` there",
            )
        return cls(
            code,
            cwd=start.absolute(),
            reporter=reporter,
            environment=environment,
            clock=clock,
            has_settings=has_settings,
        )

    @property
    def root(self) -> Path:
        """The top of the work tree."""
        return self.code.root

    @cached_property
    def common_dir(self) -> Path:
        """The private directory, shared by all worktrees; made if missing (a fresh git clone has none)."""
        return self._private(self.code.common_dir)

    @cached_property
    def state_dir(self) -> Path:
        """The private directory of this worktree; made if missing."""
        return self._private(self.code.git_dir)

    @staticmethod
    def _private(git_directory: Path) -> Path:
        directory = git_directory / _PRIVATE_DIRECTORY
        with fsio.translate_os_errors(f"make {encode_name(os.fsencode(directory))}"):
            if not directory.is_dir():
                directory.mkdir(exist_ok=True)
                fsio.sync_directory(git_directory)
        return directory

    @cached_property
    def store(self) -> LocalStore:
        """The object store; made empty if missing. Opening it registers this work tree in it."""
        from mlvc.store.local import LocalStore  # noqa: PLC0415  # what the stat cache answers needs no store

        config = self.config
        directory = (
            self.common_dir / "store" if config.store_path is None else self._chosen_store(config.store_path)
        )
        note = self.reporter.note
        if (directory / "format").exists():
            store = LocalStore(directory, on_wait=note)
        else:
            store = LocalStore.create(directory, on_wait=note, shared=bool(config.store_shared))
        store.raw_files.trusts_verified = config.checkout_verify == "once"
        if not store.register(self.registration):
            self.reporter.warn(
                f"the store {encode_name(os.fsencode(directory))} cannot be written, so a gc there will not know "
                "what this repository needs"
            )
        return store

    def _chosen_store(self, text: str) -> Path:
        """Returns the directory that the user's own configuration names.

        Raises:
            UsageError: It is no absolute path, or this repository has a store of its own, which would be forgotten.
        """
        own = self.common_dir / "store"
        if not os.path.isabs(text):
            raise UsageError(
                f"store.path is {text!r}, which is no absolute path",
                hint="write the whole path of the store's directory into your own configuration",
            )
        if (own / "format").exists():
            raise UsageError(
                f"store.path is {text}, and this repository has a store of its own in {own}",
                hint=f"bring what is in it along: mkdir -p {text} && cp -rn {own}/. {text} && mv {own} {own}.old",
            )
        return Path(text)

    @property
    def registration(self) -> Registration:
        """This work tree, as its store has to know it."""
        from mlvc.store.registry import Registration  # noqa: PLC0415  # as for `store`

        return Registration(self.code.common_dir, self.code.git_dir, self.code.root)

    @cached_property
    def view(self) -> WorktreeView:
        """The files, only to be looked at: a fraction of `worktree`'s start-up time."""
        return WorktreeView(self.root, self.state_dir, _StoredTrees(self), self.reporter)

    @cached_property
    def worktree(self) -> Worktree:
        """The files."""
        from mlvc.worktree.worktree import Worktree  # noqa: PLC0415  # what only looks at them needs less

        link = self._link if self.config.checkout_link == "hardlink" else None
        return Worktree(self.root, self.state_dir, self.store, self.reporter, link)

    def _link(self, blob: BlobId, name: str, dir_fd: int) -> bool:
        """Makes a link to the store's own file of a blob: only to one that can be had back if it is written through."""
        from mlvc.store.seen import is_on_a_remote  # noqa: PLC0415  # few have set this

        now_s = self.clock.now().timestamp()
        known = is_on_a_remote(self.common_dir / "cache", PackId(blob.digest), now_s)
        return known and self.store.link_file(blob, name, dir_fd)

    @cached_property
    def index(self) -> MetadataIndex:
        """The metadata index, not yet caught up; its library is loaded only by commands that ask a question."""
        from mlvc.index.database import open_index  # noqa: PLC0415  # 150 ms that `status` must not pay

        return open_index(self.common_dir / "index.db", self._index_url, self.store, self.config.project_id)

    @property
    def _index_url(self) -> str | None:
        return self.environment.get(INDEX_URL) or self.config.index_url

    def index_for_work(self) -> MetadataIndex:
        """Returns the index, caught up, for what only asks about this repository's own objects.

        Where the team's server does not answer, or not this mlvc, that is the file, and the person is told once:
        nobody's work waits for a server. A question to all that the team knows asks `index` instead, and fails.
        """
        from mlvc.index.errors import INDEX_ERRORS  # noqa: PLC0415  # as for `index`

        if not self._is_server_down:
            try:
                self.index.catch_up(self.reporter)
            except INDEX_ERRORS as exc:
                if not self._index_url:
                    raise
                self._is_server_down = True
                self.reporter.warn(f"{exc.message}; the next question catches it up")
            else:
                return self.index
        own = self._own_index()
        own.catch_up(self.reporter)
        return own

    def _own_index(self) -> MetadataIndex:
        """The index in the file, also where there is a server."""
        from mlvc.index.database import open_index  # noqa: PLC0415  # as for `index`

        return open_index(self.common_dir / "index.db", None, self.store, self.config.project_id)

    def mending_index(self, ask: Callable[[], _Value]) -> _Value:
        """Returns what `ask` returns; where the index's file is damaged, that is made again first, with one note.

        For work that would otherwise stop at what can always be made again. `ask` changes nothing but the index.

        Raises:
            IndexDamagedError: It is the server's, or the new file is damaged too.
            IntegrityError: An object is damaged; the index is as it was.
        """
        from mlvc.index.errors import IndexDamagedError  # noqa: PLC0415  # as for `index`

        try:
            return ask()
        except IndexDamagedError as exc:
            if exc.is_server:
                raise
            self.reporter.note(f"{exc.message}; it is made again from the objects, and nothing is lost")
            self._own_index().rebuild(self.reporter)
            return ask()

    def recorded_commits(self, shas: Collection[str]) -> Mapping[str, CommitId]:
        """Returns the data commits that are here of git commits, by SHA; a git commit without one is not there.

        Of an index in a file the answer costs no SQLAlchemy, and what is new is left for the next question to take in.
        """
        from mlvc.index.recorded import find_recorded  # noqa: PLC0415  # what reads no history need not load it

        if not self._index_url:
            path = self.common_dir / "index.db"
            found = find_recorded(path, self.store, self.config.project_id, shas)
            if found is not None:
                return found
        rows = self.mending_index(lambda: self.index_for_work().commits_for_shas(shas))
        return {sha: row.id for sha, row in rows.items()}

    @cached_property
    def config(self) -> Config:
        """The settings: `mlvc.toml`, and over it the user's own file where a setting decides what is executed."""
        shared, own = self._shared_config, self._user_config()
        # Which interpreter runs and where bytes go is the user's choice: mlvc.toml may come from a stranger's branch.
        trusted = shared if self._is_trusted(shared, own) else Config()
        # Without its server, the URL would name another bucket, on Amazon's.
        has_server = shared.remote_endpoint in {None, trusted.remote_endpoint} or own.remote_endpoint
        remote_url = shared.remote_url if has_server else None
        return Config(
            project_id=shared.project_id,
            code_untracked=shared.code_untracked,
            env_python=own.env_python or trusted.env_python,
            image_base=own.image_base or shared.image_base,
            repro_memory_mb=own.repro_memory_mb or shared.repro_memory_mb,
            remote_url=own.remote_url or remote_url,
            run_tracer=own.run_tracer or shared.run_tracer,
            remote_default=own.remote_default or shared.remote_default,
            index_url=own.index_url or trusted.index_url,
            remote_endpoint=own.remote_endpoint or trusted.remote_endpoint,
            store_path=own.store_path or trusted.store_path,
            # Who may write the data and what is deleted when is nobody else's choice, trusted or not.
            store_shared=own.store_shared,
            gc_keep_days=own.gc_keep_days,
            # So is how far a copy in the store is trusted.
            checkout_verify=own.checkout_verify,
            checkout_link=own.checkout_link,
            ci_cpu_hour=_first(own.ci_cpu_hour, shared.ci_cpu_hour),
            ci_gpu_hour=_first(own.ci_gpu_hour, shared.ci_gpu_hour),
            hooks_add=own.hooks_add or shared.hooks_add,
            hooks_max_size=_first(own.hooks_max_size, shared.hooks_max_size),
            hooks_environment=own.hooks_environment or shared.hooks_environment,
            hooks_push=own.hooks_push or shared.hooks_push,
            compare_ignore=(*shared.compare_ignore, *own.compare_ignore),
            compare_tolerance={**shared.compare_tolerance, **own.compare_tolerance},
        )

    @cached_property
    def _shared_config(self) -> Config:
        if not self.has_settings:
            return Config()
        with fsio.translate_os_errors("read mlvc.toml"):
            return decode_config((self.root / os.fsdecode(SETTINGS_NAME)).read_bytes())

    @property
    def ignores_remote(self) -> bool:
        """Whether `mlvc.toml` names a remote on a server that the user has not trusted yet, so that it is none."""
        return self.config.remote_url is None and self._shared_config.remote_url is not None

    def _is_trusted(self, shared: Config, own: Config) -> bool:
        wanted = settings_to_trust(shared)
        if not wanted or digest_of(wanted) in self.read_trusted():
            return True
        ignored = [name for name in wanted if getattr(own, NEEDS_TRUST[name]) is None]
        if ignored:
            self.reporter.note(
                f"mlvc.toml sets {', '.join(ignored)}, which has no effect before you look at it and say `mlvc trust`"
            )
        return False

    @property
    def trusted_path(self) -> Path:
        """The file that says which settings of `mlvc.toml` the user trusts."""
        return self.common_dir / "trusted"

    def read_trusted(self) -> frozenset[str]:
        """Returns what the user trusts; nothing where that cannot be understood."""
        with fsio.translate_os_errors(f"read {self.trusted_path}"):
            data = fsio.read_if_there(self.trusted_path)
        try:
            return frozenset() if data is None else decode_trusted(data)
        except FormatError:
            return frozenset()

    def _user_config(self) -> Config:
        home = self.environment.get("XDG_CONFIG_HOME") or os.path.join(
            self.environment.get("HOME", "/"), ".config"
        )
        path = Path(home) / "mlvc" / "config.toml"
        name = encode_name(os.fsencode(path))
        with fsio.translate_os_errors(f"read {name}"):
            data = fsio.read_if_there(path)
        return Config() if data is None else decode_config(data, source=name)

    def read_lock(self) -> Lock:
        """Returns what `mlvc.lock` says; an empty lock where there is no file.

        Raises:
            FormatError: It cannot be read, or is no file.
            LockConflictError: A merge left conflict marks in it.
            SparseCheckoutError: Git keeps it out of the work tree.
        """
        path = self.root / os.fsdecode(LOCK_NAME)
        with fsio.translate_os_errors("read mlvc.lock"):
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                # Only then: to take a lock that could not be looked at for an empty one would lose its lines.
                check_not_left_out(self.code)
                return Lock()
            if not stat.S_ISREG(path.stat().st_mode if stat.S_ISLNK(mode) else mode):
                # Opening a named pipe would wait for ever.
                raise FormatError(
                    "mlvc.lock is no file", hint="move it away, then `git checkout -- mlvc.lock`"
                )
            return decode_lock(path.read_bytes())

    def write_lock(self, lock: Lock, conflicts: Sequence[LockConflict] = ()) -> None:
        """Replaces `mlvc.lock` atomically; everything that it names must be durable already (promise 2).

        Args:
            lock: What it says.
            conflicts: What a merge has left to the person, and stays between marks.
        """
        text = encode_conflicts(lock, conflicts) if conflicts else encode_lock(lock)
        with fsio.translate_os_errors("write mlvc.lock"):
            fsio.atomic_write(self.root / os.fsdecode(LOCK_NAME), text)

    def read_conflicts(self) -> tuple[Lock, Sequence[LockConflict]]:
        """Returns what `mlvc.lock` has decided of a merge, and what it has not.

        Raises:
            FormatError: It cannot be read.
        """
        with fsio.translate_os_errors("read mlvc.lock"):
            return decode_conflicts((self.root / os.fsdecode(LOCK_NAME)).read_bytes())

    def brought(self) -> Lock:
        """Returns the lines that the data files were last stored as or brought by, whatever the lock says now.

        It is only a cache: one that cannot be read is empty, and then nothing counts as brought.
        """
        path = self.state_dir / "brought.lock"
        try:
            with fsio.translate_os_errors("read the lines that data was brought by"):
                data = fsio.read_if_there(path)
            return Lock() if data is None else decode_lock(data)
        except (FormatError, VersionError):
            return Lock()

    def note_brought(self, entries: Iterable[TrackedPath], *, removed: Iterable[bytes] = ()) -> None:
        """Takes note that the files of some lines are what these say now, and of others mlvc's no more."""
        before, entries = self.brought(), list(entries)
        paths = {entry.path for entry in entries}
        # The lock may have moved on by git, or by a command that was killed, and then track other directories.
        inner = {path for path in before.entries if not paths.isdisjoint(_parents(path))}
        outer = {parent for path in paths for parent in _parents(path)}
        after = before.with_entries(entries, {*removed, *inner, *outer})
        if after != before:
            with fsio.translate_os_errors("note the lines that data was brought by"):
                fsio.atomic_write(self.state_dir / "brought.lock", encode_lock(after))

    def lock_at(self, rev: str) -> Lock:
        """Returns the lock of a git revision; empty where the revision has none.

        Raises:
            RevisionMissingError: Git knows no such revision.
        """
        data = self.code.read_file(rev, LOCK_NAME)
        return Lock() if data is None else decode_lock(data)

    def locks_at(self, *revs: str) -> Sequence[tuple[str, Lock] | None]:
        """Returns for each git revision its SHA and its lock, an empty one where it has none; None where there is none.

        Costs one git child for all revisions.
        """
        return [
            None if found is None else (found[0], Lock() if found[1] is None else decode_lock(found[1]))
            for found in self.code.files_at(LOCK_NAME, *revs)
        ]

    @contextlib.contextmanager
    def editing(self) -> Iterator[None]:
        """Holds this worktree's lock while the files, `mlvc.lock` and `.gitignore` are changed together.

        What is found in the store meanwhile stays there, so the lock may name it.
        """
        with contextlib.ExitStack() as held:
            # The body's own errors are not about the lock, so it runs outside of the translation.
            with fsio.translate_os_errors(f"lock {encode_name(os.fsencode(self.state_dir))}"):
                held.enter_context(
                    fsio.file_lock(
                        self.state_dir / "worktree.lock",
                        on_wait=lambda: self.reporter.note(
                            "waiting for another mlvc command in this worktree"
                        ),
                    )
                )
            held.enter_context(self.store.in_use())
            yield

    def path_of(self, argument: str) -> bytes:
        """Returns the path below the repository that a person's argument names; follows no link in its last part.

        Raises:
            UsageError: It lies outside the repository, is the repository itself, or inside `.git`.
        """
        joined = Path(os.path.abspath(self.cwd / argument))
        # The parent is resolved as the root is, so that a link on the way to the repository does not look outside.
        resolved = Path(os.path.realpath(joined.parent)) / joined.name
        root = Path(os.path.realpath(self.root))
        if (
            not resolved.is_relative_to(root)
            or resolved == root
            or ".git" in resolved.relative_to(root).parts
        ):
            raise UsageError(
                f"{encode_name(os.fsencode(argument))} is not inside the repository {encode_name(os.fsencode(root))}",
                hint="data must lie below the repository's top, and not be the top itself",
            )
        return os.fsencode(resolved.relative_to(root))


class _StoredTrees:
    """The trees of a repository's store, which is opened when the first one is read."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        """Returns the entries of one directory; see `ports.ObjectReader.read_tree`."""
        return self._repo.store.read_tree(tree)


def _first(own: _Value | None, shared: _Value | None) -> _Value | None:
    """Returns the user's own setting, where there is one; it may well be 0."""
    return shared if own is None else own


def _parents(path: bytes) -> Iterator[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path
