"""One git repository as mlvc needs it: where it is, what it tracks, and its code as a tree.

What writes or walks history is in `writing.py` and `history.py`, which load GitPython at their first use.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlvc.code.child import GitError, run_git
from mlvc.code.snapshot import capture_code
from mlvc.errors import NotFoundError, UsageError
from mlvc.model.config import Untracked
from mlvc.model.names import encode_name
from mlvc.model.objects import Code

if TYPE_CHECKING:
    from mlvc.code.history import CommitInfo
    from mlvc.ports import ObjectWriter

__all__ = ["BareRepositoryError", "CodeRepository", "NotAGitRepositoryError", "RevisionMissingError"]


class NotAGitRepositoryError(NotFoundError):
    """The directory lies in no git repository."""

    code = "not-a-git-repository"


class BareRepositoryError(UsageError):
    """The git repository has no work tree."""

    code = "bare-repository"


class RevisionMissingError(NotFoundError):
    """Git knows no such revision."""

    code = "revision-missing"


class CodeRepository:
    """A git work tree.

    Attributes:
        root: The top of the work tree.
        git_dir: The git directory of this worktree.
        common_dir: The git directory that all linked worktrees share.
    """

    def __init__(self, root: Path, git_dir: Path, common_dir: Path) -> None:
        self.root = root
        self.git_dir = git_dir
        self.common_dir = common_dir

    @classmethod
    def open(cls, start: Path) -> CodeRepository:
        """Opens the repository that `start` lies in. Costs one git child.

        Raises:
            NotAGitRepositoryError: It lies in none.
            BareRepositoryError: The repository has no work tree, or `start` lies inside `.git`.
            GitError: Git refuses the repository, for example because another user owns it.
        """
        done = run_git(
            start, "rev-parse", "--path-format=absolute", "--show-toplevel", "--absolute-git-dir", "--git-common-dir"
        )
        if done.returncode != 0:
            said = os.fsdecode(done.stderr).strip()
            if "not a git repository" in said:
                raise NotAGitRepositoryError(
                    f"{encode_name(os.fsencode(start.absolute()))} is not in a git repository",
                    hint="run `git init`, or `mlvc init --git`",
                )
            if "must be run in a work tree" in said:
                raise BareRepositoryError(
                    f"{encode_name(os.fsencode(start.absolute()))} has no work tree", hint="use a clone of it"
                )
            raise GitError(f"git refuses the repository: {said.splitlines()[0] if said else 'no reason given'}")
        # A path may hold a newline, but then git itself is ambiguous here; the three lines are all there is.
        root, git_dir, common_dir = (Path(os.fsdecode(line)) for line in done.stdout.rstrip(b"\n").split(b"\n")[:3])
        return cls(root, git_dir, common_dir)

    def head_sha(self) -> str | None:
        """Returns HEAD's commit, or None on an unborn branch."""
        done = self._git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def branch(self) -> str | None:
        """Returns the current branch, also an unborn one; None on a detached head."""
        done = self._git("symbolic-ref", "--quiet", "--short", "HEAD")
        return encode_name(done.stdout.rstrip(b"\n")) if done.returncode == 0 else None

    def resolve(self, rev: str) -> str:
        """Returns the SHA of the commit that `rev` names.

        Raises:
            RevisionMissingError: There is none.
        """
        done = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
        if done.returncode != 0:
            raise RevisionMissingError(f"git knows no revision {rev!r}", hint="see `git log` and `git branch -a`")
        return done.stdout.decode().strip()

    def read_file(self, rev: str, path: bytes) -> bytes | None:
        """Returns a file of a revision, or None where the revision has no such file.

        Raises:
            RevisionMissingError: There is no such revision.
        """
        sha = self.resolve(rev)
        done = self._git("cat-file", "blob", sha.encode() + b":" + path)
        if done.returncode == 0:
            return done.stdout
        if self._git("ls-tree", "-z", sha, "--", b":(top,literal)" + path).stdout:
            raise GitError(f"git cannot read {encode_name(path)} of {sha[:12]}: {os.fsdecode(done.stderr).strip()}")
        return None

    def tracked_below(self, path: bytes) -> Sequence[bytes]:
        """Returns the files that git tracks at `path` or below it."""
        return [name for name in self._names("ls-files", "-z", "--", b":(top,literal)" + path) if name]

    def capture(
        self, writer: ObjectWriter, *, untracked: Untracked = "safe", exclude: Collection[bytes] = ()
    ) -> Code:
        """Stores the work tree's code exactly as it is and returns its description; touches nothing.

        Args:
            writer: Where the files go.
            untracked: Which untracked files belong to the code; see DESIGN in `docs/guides/code.md`.
            exclude: Paths of tracked data, which are no code; with all that is below them.

        Raises:
            FileUnreadableError: A file of the code cannot be read.
        """
        return capture_code(self, writer, untracked=untracked, exclude=exclude)

    def tracked_files(self) -> Iterator[bytes]:
        """Yields all files in git's index, those of submodules too."""
        return self._names("ls-files", "-z", "--cached", "--recurse-submodules")

    def untracked_files(self) -> Iterator[bytes]:
        """Yields the files that git neither tracks nor ignores."""
        return self._names("ls-files", "-z", "--others", "--exclude-standard")

    def changed_files(self) -> Iterator[bytes]:
        """Yields the paths that differ between HEAD, index and work tree, untracked ones too."""
        if self.head_sha() is None:
            yield from self.tracked_files()
        else:
            yield from self._names("diff", "-z", "--name-only", "--no-ext-diff", "HEAD")
        yield from self.untracked_files()

    def info(self, sha: str) -> CommitInfo:
        """Returns one commit's metadata."""
        return self._history().info(self, sha)

    def walk(self, rev: str = "HEAD", *, limit: int | None = None) -> Iterator[CommitInfo]:
        """Yields commits from `rev` backwards, in git's order."""
        return self._history().walk(self, rev, limit)

    def author(self) -> str:
        """Returns `Name <mail>` as git would sign a commit; empty where git knows nobody."""
        done = self._git("var", "GIT_AUTHOR_IDENT")
        return os.fsdecode(done.stdout).rpartition("> ")[0] + ">" if done.returncode == 0 else ""

    def commit(self, message: str, paths: Sequence[bytes], *, environment: Mapping[str, str] | None = None) -> str:
        """Stages `paths` and commits them with whatever the user has staged; runs the user's hooks.

        Args:
            message: The message.
            paths: Files to stage, relative to the root.
            environment: Variables for the hooks.

        Returns:
            The SHA of the new commit.

        Raises:
            NothingToCommitError: Nothing is staged.
            GitError: Git or a hook refused; the message holds what it said.
        """
        from mlvc.code import writing  # noqa: PLC0415  # loads GitPython, which most commands do not need

        return writing.commit(self, message, paths, environment or {})

    def checkout(self, rev: str, *, environment: Mapping[str, str] | None = None) -> None:
        """Runs `git checkout REV`.

        Raises:
            GitError: Git refused; the message holds what it said. Nothing was changed.
        """
        done = run_git(self.root, "checkout", "--quiet", rev, "--", environment=environment)
        if done.returncode != 0:
            raise GitError(
                f"git checkout {rev} failed: {os.fsdecode(done.stderr).strip()}", hint="commit or stash your edits"
            )

    def stage(self, paths: Sequence[bytes]) -> None:
        """Adds files to git's index, without committing.

        Raises:
            GitError: Git refused.
        """
        done = self._git("add", "--", *(b":(top,literal)" + path for path in paths))
        if done.returncode != 0:
            raise GitError(f"git add failed: {os.fsdecode(done.stderr).strip()}")

    def get_config(self, key: str) -> str | None:
        """Returns a git setting, or None."""
        done = self._git("config", "--get", key)
        return os.fsdecode(done.stdout).rstrip("\n") if done.returncode == 0 else None

    def set_config(self, key: str, value: str) -> None:
        """Sets a git setting of this repository.

        Raises:
            GitError: Git refused.
        """
        done = self._git("config", "--local", key, value)
        if done.returncode != 0:
            raise GitError(f"git config {key} failed: {os.fsdecode(done.stderr).strip()}")

    def _history(self):  # type: ignore[no-untyped-def]  # noqa: ANN202  # the module itself
        from mlvc.code import history  # noqa: PLC0415  # loads GitPython, which most commands do not need

        return history

    def _names(self, *arguments: str | bytes) -> Iterator[bytes]:
        done = self._git(*arguments)
        if done.returncode != 0:
            raise GitError(f"git {os.fsdecode(arguments[0])} failed: {os.fsdecode(done.stderr).strip()}")
        for name in done.stdout.split(b"\0"):
            if name:
                yield name

    def _git(self, *arguments: str | bytes):  # type: ignore[no-untyped-def]  # noqa: ANN202  # subprocess's own type
        return run_git(self.root, *arguments)
