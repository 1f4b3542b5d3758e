"""Checks the storage promises (design, section 3) of a project, whatever happened to it before."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import Lock, TrackedPath
from mlvc.model.tree import Kind
from mlvc.repo import Repo
from mlvc.store.fsck import check
from mlvc.worktree.trees import flatten
from tests.support.command import child_environment
from tests.support.reporter import RecordingReporter

__all__ = ["Before", "broken_promises", "contents", "final_state", "open_repo", "stored"]

_OWN = {"mlvc.toml", "mlvc.lock", ".gitignore"}


def open_repo(project: Path) -> Repo:
    """Opens it as a command does."""
    return Repo.open(project, reporter=RecordingReporter(), environment={})


def contents(project: Path) -> dict[str, tuple[str, bytes]]:
    """Returns what stands at every path of the work tree: the kind, and the bytes of a file or target of a link."""
    found = {}
    for folder, folders, files in os.walk(project):
        if ".git" in folders:
            folders.remove(".git")
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                what = ("link", os.fsencode(os.readlink(path)))
            elif stat.S_ISDIR(mode):
                what = ("directory", b"")
            else:
                what = (
                    "executable" if mode & stat.S_IXUSR else "file",
                    Path(path).read_bytes() if stat.S_ISREG(mode) else b"",
                )
            found[os.path.relpath(path, project)] = what
    return found


def stored(repo: Repo, entries: Iterable[TrackedPath]) -> list[str]:
    """Returns what of some entries cannot be read whole from the store."""
    wrong = []
    for entry in entries:
        try:
            for _, item in flatten(repo.store, entry):
                if item.kind is not Kind.DIRECTORY:
                    repo.store.read_blob(BlobId(item.id.digest))
        except MlvcError as error:
            wrong.append(f"{entry.name}: {error.message}")
    return wrong


@dataclass(frozen=True)
class Before:
    """What a project was before a command.

    Attributes:
        files: Its `contents`.
        durable: What had been reported as stored.
        absent: Lines of the lock whose contents were never here, as after a clone.
    """

    files: Mapping[str, tuple[str, bytes]]
    durable: tuple[TrackedPath, ...]
    absent: tuple[TrackedPath, ...]

    @classmethod
    def of(cls, project: Path) -> Before:
        """Looks at it."""
        repo = open_repo(project)
        lines = {*repo.read_lock().entries.values(), *repo.lock_at("HEAD").entries.values()}
        durable = [
            line
            for line in lines
            if (repo.store.has_tree(line.id) if isinstance(line.id, TreeId) else repo.store.has_blob(line.id))
        ]
        return cls(contents(project), tuple(durable), tuple(lines.difference(durable)))


def broken_promises(project: Path, before: Before) -> list[str]:
    """Returns each promise that does not hold, by its number, of a project in which a command was ended."""
    repo = open_repo(project)
    # 1: a pack is complete before its index is there, and the index before a lock or row names what is in it. What
    # may be left is a pack that had no time to get its index.
    harmless = {"missing-index", *(("missing-chunk",) if before.absent else ())}
    wrong = [
        f"1: {damage.message}"
        for damage in check(repo.store, RecordingReporter())
        if damage.kind not in harmless
    ]
    if (repo.common_dir / "index.db").exists():
        rows = [
            *(commit.id for commit in repo.index.commits()),
            *(run.id for run in repo.index.run_rows()),
        ]
        wrong += [
            f"1: a row names {row}, which is not stored" for row in rows if not repo.store.has_object(row)
        ]
    # 2: the lock is one or the other, and all that it names is durable.
    lock = repo.read_lock()
    named = [line for line in lock.entries.values() if line not in before.absent]
    wrong += [f"2: the lock names {what}" for what in stored(repo, named)]
    if lock.environment is not None and not repo.store.has_object(lock.environment):
        wrong.append("2: the lock names an environment that is not stored")
    # 7: what was ever reported as stored is intact.
    wrong += [f"7: lost {what}" for what in stored(repo, before.durable)]
    # 5: no bytes of the user are lost: they stand where they stood, or are in an object, or in git.
    after = contents(project)
    for path, (kind, data) in before.files.items():
        if kind == "directory" or os.path.basename(path) in _OWN or after.get(path, ("", b""))[1] == data:
            continue
        if not repo.store.has_blob(BlobId.of(data)) and not _git_has(project, data):
            wrong.append(f"5: the bytes of {path} are lost")
    return wrong


def _git_has(project: Path, data: bytes) -> bool:
    def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", *arguments],
            cwd=project,
            env=child_environment({}),
            input=data,
            capture_output=True,
            check=False,
        )

    name = git("hash-object", "--stdin").stdout.decode().strip()
    return git("cat-file", "-e", name).returncode == 0


def final_state(project: Path) -> dict[str, object]:
    """Returns what a person sees of a project: files, the lock but for who made it, git's view, HEAD's data commit."""
    repo = open_repo(project)
    lock = repo.read_lock()
    head = repo.code.head_sha()
    repo.index.catch_up(repo.reporter)
    status = subprocess.run(
        ["git", "status", "--porcelain"],
        cwd=project,
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    files = contents(project)
    files.pop("mlvc.lock", None)
    return {
        "files": files,
        "lock": _without_runs(lock),
        "environment": lock.environment,
        "git": status.stdout,
        "head's lock": None if head is None else _without_runs(repo.lock_at(head)),
        "head is recorded": head is not None and repo.index.commit_for_sha(head) is not None,
        "left behind": os.listdir(repo.store.layout.temporaries),
    }


def _without_runs(lock: Lock) -> list[tuple[object, ...]]:
    return [(entry.path, entry.kind, entry.id) for _, entry in sorted(lock.entries.items())]
