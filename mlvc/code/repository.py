"""One git repository as mlvc needs it: where it is, what it tracks, and its code as a tree.

Every answer here costs one git child or a few; only the walks load GitPython, at their first use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlvc.code import writing
from mlvc.code.child import GitError, GitObject, git_names, git_objects, git_said, run_git
from mlvc.errors import MlvcError, NotFoundError, UsageError
from mlvc.fsio import read_if_there, translate_os_errors
from mlvc.model.names import encode_name

if TYPE_CHECKING:
    import subprocess

    from mlvc.code.commits import CommitInfo
    from mlvc.model.config import Untracked
    from mlvc.model.ids import TreeId
    from mlvc.model.objects import Code
    from mlvc.ports import ObjectWriter

__all__ = [
    "BareRepositoryError",
    "CodeRepository",
    "DubiousOwnershipError",
    "NotAGitRepositoryError",
    "RevisionMissingError",
]

_COMMITTER = re.compile(rb"^committer .* (\d+) [+-]\d{4}$", re.MULTILINE)
_BRANCH = re.compile(rb"ref: refs/heads/([^.\n][^\n]*)\n?")
"""What the file `HEAD` holds on a branch; where it only stands in, its name begins with a dot, as no branch's does."""
_WHERE = ("--show-toplevel", "--absolute-git-dir", "--git-common-dir")
_LONGEST_REV = 10_000
"""Characters; the system passes on some 130,000, and a name in git is a path."""


class NotAGitRepositoryError(NotFoundError):
    """The directory lies in no git repository."""

    code = "not-a-git-repository"


class BareRepositoryError(UsageError):
    """The git repository has no work tree, or the directory lies inside `.git`."""

    code = "bare-repository"


class DubiousOwnershipError(GitError):
    """Another user owns the repository, and git was not told to trust it."""

    code = "dubious-ownership"


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
            DubiousOwnershipError: Another user owns it.
            GitError: Git refuses the repository for another reason.
        """
        done = run_git(start, "rev-parse", *_WHERE)
        if done.returncode != 0:
            raise _refusal(start, git_said(done))
        lines = done.stdout.splitlines()
        if len(lines) != len(_WHERE):
            # A path holds a newline; asked one by one, each answer is all there is but its last newline.
            lines = [run_git(start, "rev-parse", question).stdout.removesuffix(b"\n") for question in _WHERE]
        # The common directory may come relative to `start`; `--path-format` is unknown to git before 2.31.
        root, git_dir, common_dir = (Path(os.path.realpath(start / os.fsdecode(line))) for line in lines)
        return cls(root, git_dir, common_dir)

    def head_sha(self) -> str | None:
        """Returns HEAD's commit, or None on an unborn branch."""
        return self._find("HEAD")

    def commit_time_s(self, sha: str) -> int:
        """Returns when a commit was made by its committer, in seconds since 1970.

        Raises:
            GitError: Git cannot read the commit.
        """
        done = self._git("cat-file", "commit", sha)
        found = _COMMITTER.search(done.stdout.partition(b"\n\n")[0])
        if done.returncode != 0 or found is None:
            raise GitError(f"git cannot read the commit {sha[:12]}: {git_said(done)}")
        return int(found.group(1))

    def branch(self) -> str | None:
        """Returns the current branch, also an unborn one; None on a detached head."""
        path = self.git_dir / "HEAD"
        with translate_os_errors(f"read {path}"):
            branch = _BRANCH.fullmatch(read_if_there(path) or b"")
        if branch is not None:
            return encode_name(branch.group(1))
        # It is detached, or kept elsewhere, as git's reftables have it.
        done = self._git("symbolic-ref", "--quiet", "--short", "HEAD")
        return encode_name(done.stdout.removesuffix(b"\n")) if done.returncode == 0 else None

    def resolve(self, rev: str) -> str:
        """Returns the SHA of the commit that `rev` names.

        Raises:
            RevisionMissingError: There is none, or several start so.
        """
        sha = self._find(rev)
        if sha is None:
            if rev == "HEAD":
                raise RevisionMissingError(
                    "there is no commit yet", hint="make one with `mlvc commit -m MSG`"
                )
            is_path = rev != "" and os.path.lexists(self.root / rev)
            raise RevisionMissingError(
                f"git knows no revision {rev[:80]!r}",
                hint=f"a path stands behind two dashes: `-- {rev}`"
                if is_path
                else "see `git log` and `git branch -a`",
            )
        return sha

    def resolves(self, rev: str) -> bool:
        """Returns whether `rev` names a commit."""
        return self._find(rev) is not None

    def merge_base(self, rev: str) -> str:
        """Returns the SHA of the best common ancestor of HEAD and `rev`.

        Raises:
            RevisionMissingError: There is no such revision, or no common commit is here, as in a shallow clone.
            GitError: Git cannot walk the history.
        """
        sha, head = self._find(rev), self.resolve("HEAD")
        if sha is None:
            raise RevisionMissingError(
                f"git knows no revision {rev[:80]!r}",
                hint="the checkout of a pipeline may have one branch alone: `git remote set-branches origin '*' &&"
                " git fetch`, or a checkout of the whole history",
            )
        done = self._git("merge-base", sha, head)
        found = done.stdout.decode().strip()
        if done.returncode == 0 and found:
            return found
        if done.returncode > 1:
            raise GitError(f"git cannot walk the history of {rev}: {git_said(done)}")
        raise RevisionMissingError(
            f"HEAD and {rev} have no common commit here",
            hint="a shallow clone lacks it: `git fetch --unshallow`, or a checkout of the whole history",
        )

    def changed_between(self, before: str, after: str) -> Sequence[bytes]:
        """Returns the paths that differ between two revisions, a submodule as one path; renames are two paths.

        Raises:
            RevisionMissingError: There is no such revision.
            GitError: Git cannot read one.
        """
        first, last = self.resolve(before), self.resolve(after)
        return self._names("diff-tree", "-r", "-z", "--no-renames", "--name-only", first, last)

    def read_file(self, rev: str, path: bytes) -> bytes | None:
        """Returns a file of a revision, or None where the revision has no such file.

        Raises:
            RevisionMissingError: There is no such revision.
            GitError: Git cannot read the file.
        """
        sha = self.resolve(rev)
        done = self._git("cat-file", "blob", sha.encode() + b":" + path)
        if done.returncode == 0:
            return done.stdout
        if self._names("ls-tree", "-z", "--full-tree", sha, "--", path):
            raise GitError(f"git cannot read {encode_name(path)} of {sha[:12]}: {git_said(done)}")
        return None

    def files_at(self, path: bytes, *revs: str) -> Sequence[tuple[str, bytes | None] | None]:
        """Returns for each revision its SHA and a file of it, None where it has none; None where it does not exist.

        Costs one git child for all revisions, where `resolve` and `read_file` cost three for each.

        Raises:
            GitError: Git cannot read the file.
        """
        return [None if found is None else (found[0].sha, found[1]) for found in self._read_at(path, revs)]

    def tracked_below(self, path: bytes) -> Sequence[bytes]:
        """Returns the files that git tracks at `path` or below it; all for an empty path."""
        return self._names("ls-files", "-z", "--recurse-submodules", "--", path or b".")

    def left_out(self, *paths: bytes) -> Sequence[bytes]:
        """Returns those of some files that git tracks and a sparse checkout keeps out of the work tree."""
        return [item[2:] for item in self._names("ls-files", "-t", "-z", "--", *paths) if item[:2] == b"S "]

    def untracked_files(self) -> Sequence[bytes]:
        """Returns the files that git neither tracks nor ignores, sorted; another repository ends in `/`."""
        from mlvc.code.survey import survey  # noqa: PLC0415  # hooks that look at no code need not load it

        return sorted(survey(self.root).untracked)

    def changed_files(self) -> Sequence[bytes]:
        """Returns the paths whose work tree or index differs from HEAD, and the untracked ones, sorted."""
        from mlvc.code.survey import survey  # noqa: PLC0415  # as for `untracked_files`

        found = survey(self.root)
        return sorted(found.changed | found.untracked)

    def capture(
        self,
        writer: ObjectWriter,
        *,
        untracked: Untracked = "safe",
        exclude: Collection[bytes] = (),
        own_lines: Mapping[bytes, Collection[bytes]] | None = None,
    ) -> Code:
        """Stores the work tree's code exactly as it is and returns its description; changes nothing in git.

        Args:
            writer: Where the files go.
            untracked: Which untracked files belong to the code: `safe` leaves out and names what looks like a
                secret or is large, `all` takes everything, `none` takes and names nothing.
            exclude: Paths of tracked data, which are no code; with all that is below them.
            own_lines: By file, lines that mlvc wrote: what differs from HEAD in nothing else is not dirty.

        Returns:
            The code; it is dirty if anything in it differs from HEAD, an untracked file included.

        Raises:
            FileUnreadableError: A file of the code cannot be read.
        """
        from mlvc.code.snapshot import capture_code  # noqa: PLC0415  # what only looks need not load it

        return capture_code(
            self.root,
            self.branch(),
            writer,
            untracked=untracked,
            exclude=exclude,
            own_lines=own_lines or {},
        )

    def capture_committed(self, writer: ObjectWriter, exclude: Collection[bytes]) -> TreeId | None:
        """Stores HEAD's code as the work tree has it; None where that holds edits. Untracked files are no edits.

        Args:
            writer: Where the files go.
            exclude: As for `capture`.

        Raises:
            FileUnreadableError: A file of the code cannot be read.
        """
        from mlvc.code.snapshot import capture_committed  # noqa: PLC0415  # what only looks need not load it

        return capture_committed(self.root, writer, exclude)

    def info(self, sha: str) -> CommitInfo:
        """Returns one commit's metadata. Costs one git child.

        Raises:
            CommitUnreadableError: Git's object is missing or damaged.
            GitError: Git refuses the repository.
        """
        from mlvc.code.commits import decode_commit, unreadable  # noqa: PLC0415  # few commands need it

        done = self._git("cat-file", "commit", sha)
        if done.returncode != 0:
            git_names(self.root, "rev-parse", "--git-dir")
            raise unreadable(sha, git_said(done))
        return decode_commit(sha, done.stdout)

    def commits_at(self, path: bytes, *revs: str) -> Sequence[tuple[CommitInfo, bytes | None] | None]:
        """Returns for each revision its metadata and a file of it, if it has that; None where it does not exist.

        Costs one git child for all revisions.

        Raises:
            CommitUnreadableError: A commit is damaged.
            GitError: Git cannot read the file.
        """
        from mlvc.code.commits import decode_commit  # noqa: PLC0415  # few commands need it

        return [
            None if found is None else (decode_commit(found[0].sha, found[0].data), found[1])
            for found in self._read_at(path, revs)
        ]

    def parents(self, sha: str) -> Mapping[str, Sequence[str]]:
        """Returns the parents of a commit and of each of its ancestors, by SHA; costs one git child.

        Raises:
            GitError: Git cannot walk the history.
        """
        done = self._git("rev-list", "--parents", sha)
        if done.returncode != 0:
            raise GitError(f"git cannot walk the history of {sha[:12]}: {git_said(done)}")
        return {line[0]: line[1:] for line in map(str.split, done.stdout.decode("ascii").splitlines())}

    def walk(self, rev: str = "HEAD", *, limit: int | None = None) -> Iterator[CommitInfo]:
        """Yields commits from `rev` backwards, in git's order, at most `limit`.

        Raises:
            RevisionMissingError: There is no such revision.
            CommitUnreadableError: One of git's objects is missing or damaged.
        """
        from mlvc.code import history  # noqa: PLC0415  # loads GitPython, 140 ms that few commands need

        return history.walk(self, rev, limit)

    def walk_lock_commits(self, rev: str = "HEAD") -> Iterator[CommitInfo]:
        """Yields the commits before `rev`, and itself, that changed `mlvc.lock`, on every side of a merge.

        Raises:
            RevisionMissingError: There is no such revision.
            CommitUnreadableError: One of git's objects is missing or damaged.
        """
        from mlvc.code import history  # noqa: PLC0415  # loads GitPython, 140 ms that few commands need

        return history.walk_lock_commits(self, rev)

    def author(self) -> str:
        """Returns `Name <mail>` as git would sign a commit; empty where git knows nobody."""
        done = self._git("var", "GIT_AUTHOR_IDENT")
        if done.returncode != 0:
            return ""
        return done.stdout.decode("utf-8", "replace").rpartition("> ")[0] + ">"

    def stage(self, paths: Sequence[bytes]) -> None:
        """Brings git's index up to date with these files, deleted ones too, without committing.

        Raises:
            GitError: Git refused.
        """
        writing.stage(self.root, paths)

    def commit(
        self, message: str, paths: Sequence[bytes], *, environment: Mapping[str, str] | None = None
    ) -> str:
        """Stages `paths` and commits them with whatever the user has staged; runs the user's hooks.

        Args:
            message: The message.
            paths: Files to stage, relative to the root.
            environment: Variables for the hooks.

        Returns:
            The SHA of the new commit.

        Raises:
            NothingToCommitError: Nothing is staged.
            IdentityMissingError: Git does not know who commits.
            CommitRefusedError: Git or a hook refused; the message holds what it said. `paths` stay staged.
        """
        writing.commit(self.root, message, paths, environment or {})
        return self.resolve("HEAD")

    def checkout(self, rev: str, *, environment: Mapping[str, str] | None = None) -> None:
        """Runs `git checkout REV`; a branch that only a remote has is made, as git does.

        Args:
            rev: A branch or another revision.
            environment: Variables for the hooks.

        Raises:
            CheckoutRefusedError: It would overwrite edits; nothing was changed.
            RevisionMissingError: There is no such revision.
            GitError: Git refused for another reason.
        """
        if rev.startswith("-"):
            self.resolve(rev)
        try:
            writing.checkout(self.root, rev, environment or {})
        except GitError:
            self.resolve(rev)  # If that is what is wrong, it says so better.
            raise

    def get_config(self, key: str) -> str | None:
        """Returns a git setting, or None."""
        done = self._git("config", "-z", "--get", key)
        return os.fsdecode(done.stdout.removesuffix(b"\0")) if done.returncode == 0 else None

    def set_config(self, key: str, value: str) -> None:
        """Sets a git setting of this repository.

        Raises:
            GitError: Git refused.
        """
        done = self._git("config", "--local", key, value)
        if done.returncode != 0:
            raise GitError(f"git config {key} failed: {git_said(done)}")

    def _find(self, rev: str) -> str | None:
        if rev.startswith("-") or "\0" in rev or len(rev) > _LONGEST_REV:
            return None  # Git would take it for an option, or not at all.
        done = self._git("rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def _read_at(self, path: bytes, revs: Sequence[str]) -> list[tuple[GitObject, bytes | None] | None]:
        """Returns for each revision its commit and a file of it, as far as they exist."""
        asked = [rev for rev in revs if not {"\n", "\0"}.intersection(rev)]
        commits = [os.fsencode(rev) + b"^{commit}" for rev in asked]
        files = [commit + b":" + path for commit in commits]
        objects = git_objects(self.root, [*commits, *files, *commits])
        count = len(asked)
        found: dict[str, tuple[GitObject, bytes | None]] = {}
        for rev, commit, file, again in zip(
            asked, objects[:count], objects[count : 2 * count], objects[2 * count :], strict=True
        ):
            if commit is None:
                continue
            if file is not None and file.kind == b"blob" and again == commit:
                found[rev] = commit, file.data
            else:
                # There is none, or something is wrong with it, or what `rev` names was moved meanwhile.
                found[rev] = commit, self.read_file(commit.sha, path)
        return [found.get(rev) for rev in revs]

    def _names(self, *arguments: str | bytes) -> list[bytes]:
        return git_names(self.root, "--literal-pathspecs", *arguments)

    def _git(self, *arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
        return run_git(self.root, *arguments)


def _refusal(start: Path, said: str) -> MlvcError:
    name = encode_name(os.fsencode(start.absolute()))
    if "not a git repository" in said:
        return NotAGitRepositoryError(
            f"{name} is not in a git repository", hint="run `git init`, or `mlvc init --git`"
        )
    if "must be run in a work tree" in said:
        return BareRepositoryError(f"{name} has no work tree", hint="use a clone of it, or leave `.git`")
    if "dubious ownership" in said or "unsafe repository" in said:
        return DubiousOwnershipError(
            f"another user owns the git repository around {name}",
            hint="if you trust it: git config --global --add safe.directory PATH",
        )
    return GitError(f"git refuses the repository around {name}: {said}")
