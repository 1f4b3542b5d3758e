"""Where a git repository is, and what it says about itself."""

import os
import subprocess
import sys

import pytest

from mlvc.code.child import GitError, GitMissingError
from mlvc.code.repository import (
    BareRepositoryError,
    CodeRepository,
    DubiousOwnershipError,
    NotAGitRepositoryError,
    RevisionMissingError,
)
from tests.support.command import child_environment


def test_opens_from_a_directory_below(project):
    """Any directory of the work tree opens the repository at its top."""
    below = project.write("a/b/c.txt").parent

    code = CodeRepository.open(below)

    assert (project.root, project.root / ".git", project.root / ".git") == (
        code.root,
        code.git_dir,
        code.common_dir,
    )


def test_opens_a_repository_whose_path_has_a_newline(tmp_path):
    """A newline in the path of the repository does not split git's answer."""
    root = tmp_path / "two\nlines"
    root.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)

    code = CodeRepository.open(root)

    assert (root, root / ".git", root / ".git") == (code.root, code.git_dir, code.common_dir)


def test_linked_worktree(project, tmp_path):
    """A linked worktree has its own git directory and shares the common one."""
    linked = tmp_path / "linked"
    project.git("worktree", "add", "--quiet", "-b", "other", str(linked))

    code = CodeRepository.open(linked)

    assert linked == code.root
    assert project.root / ".git" / "worktrees" / "linked" == code.git_dir
    assert project.root / ".git" == code.common_dir
    assert "other" == code.branch()


def test_a_hooks_environment_does_not_choose_the_repository(project, tmp_path, monkeypatch):
    """Below a hook of another repository, the directory alone says which one is meant."""
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", other], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))

    code = CodeRepository.open(project.root)

    assert project.root == code.root
    assert [b"train.py"] == list(code.tracked_below(b""))


def test_not_a_repository(tmp_path):
    """Outside a repository the error names the directory and two ways to make one."""
    with pytest.raises(NotAGitRepositoryError, match="is not in a git repository") as caught:
        CodeRepository.open(tmp_path)

    assert "run `git init`, or `mlvc init --git`" == caught.value.hint


def test_bare_repository_is_refused(tmp_path):
    """A repository without a work tree has no code to record."""
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "bare"], check=True)

    with pytest.raises(BareRepositoryError, match="has no work tree"):
        CodeRepository.open(tmp_path / "bare")


def test_inside_the_git_directory_is_refused(project):
    """The git directory itself is no place to work in."""
    with pytest.raises(BareRepositoryError):
        CodeRepository.open(project.root / ".git")


def test_a_repository_of_another_user_is_refused(project, monkeypatch):
    """Git's own refusal comes with the way to trust the repository."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    with pytest.raises(DubiousOwnershipError, match="another user owns") as caught:
        CodeRepository.open(project.root)

    assert "safe.directory" in caught.value.hint


def test_no_git(project, monkeypatch, tmp_path):
    """A machine without git gets told so."""
    (tmp_path / "bin").mkdir()
    for name in ("env",):
        os.symlink(f"/usr/bin/{name}", tmp_path / "bin" / name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(GitMissingError, match="git was not found"):
        CodeRepository.open(project.root)


def test_no_directory(tmp_path):
    """A directory that is not there is named."""
    with pytest.raises(GitError, match="gone is not a directory"):
        CodeRepository.open(tmp_path / "gone")


def test_unborn_branch(unborn):
    """Before the first commit there is a branch and no SHA, and HEAD is no revision."""
    assert None is unborn.code.head_sha()
    assert "main" == unborn.code.branch()
    with pytest.raises(RevisionMissingError):
        unborn.code.resolve("HEAD")


def test_detached_head(project):
    """A detached head has a SHA and no branch."""
    sha = project.git("rev-parse", "HEAD")
    project.git("checkout", "--quiet", "--detach")

    assert sha == project.code.head_sha()
    assert None is project.code.branch()


def test_branch_name_that_is_not_utf8(project):
    """A branch name comes in text form, whatever its bytes are."""
    project.git("checkout", "--quiet", "-b", b"caf\xe9")

    assert "caf%E9" == project.code.branch()


def test_branch_and_tag_of_one_name(project):
    """The branch has its own name, whatever else has it too."""
    project.git("checkout", "--quiet", "-b", "a/b")
    project.git("tag", "a/b")

    assert "a/b" == project.code.branch()


def test_branch_that_the_file_tells_in_another_way(project):
    """Git is asked what it makes of it."""
    (project.root / ".git" / "HEAD").write_text("ref:\t refs/heads/other\n")

    assert "other" == project.code.branch()


def test_branch_of_a_linked_worktree(project, tmp_path):
    """It is that worktree's own."""
    project.git("worktree", "add", "--quiet", "-b", "linked", tmp_path / "linked")

    assert "linked" == CodeRepository.open(tmp_path / "linked").branch()
    assert "main" == project.code.branch()


def test_resolve(project):
    """Branches, tags, ranges before and starts of SHAs name commits."""
    sha = project.git("rev-parse", "HEAD")
    project.git("tag", "--annotate", "v1", "--message", "one")

    assert [sha] * 4 == [project.code.resolve(rev) for rev in ("main", "v1", sha[:8], "HEAD~0")]


@pytest.mark.parametrize("rev", ["nothing", "", "--all", "-h", "HEAD^{tree}", "a\0b", "HEAD~7", "a b"])
def test_resolve_what_is_no_commit(project, rev):
    """What names no commit, or would be an option, is a missing revision."""
    with pytest.raises(RevisionMissingError, match="git knows no revision"):
        project.code.resolve(rev)


def test_a_path_is_no_revision(project):
    """Whoever forgot the dashes before a path is told of them."""
    project.write("train.py", "edited\n")

    with pytest.raises(RevisionMissingError) as caught:
        project.code.resolve("train.py")

    assert "`-- train.py`" in str(caught.value.hint)


def test_read_file(project):
    """A file of a revision comes as git has it, whatever the work tree holds; None where there is none."""
    project.write("train.py", "edited\n")

    assert b"print(1)\n" == project.code.read_file("HEAD", b"train.py")
    assert None is project.code.read_file("HEAD", b"nothing.py")


def test_read_file_with_an_odd_name(project):
    """Newlines, glob characters and bytes that are not UTF-8 are only names."""
    names = [b"a\nb.txt", b"[x]*.txt", b"caf\xe9.txt", b":(top)d.txt"]
    for name in names:
        with open(os.fsencode(project.root) + b"/" + name, "wb") as file:
            file.write(name)
    project.commit_all()

    assert names == [project.code.read_file("HEAD", name) for name in names]


def test_read_file_of_no_revision(project):
    """A revision that does not exist is another thing than a file that does not."""
    with pytest.raises(RevisionMissingError):
        project.code.read_file("nothing", b"train.py")


def test_read_file_that_is_damaged(project):
    """A file that git lists and cannot read is an error, not a missing file."""
    blob = project.git("rev-parse", "HEAD:train.py")
    (project.root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()

    with pytest.raises(GitError, match=r"git cannot read train\.py"):
        project.code.read_file("HEAD", b"train.py")
    with pytest.raises(GitError, match=r"git cannot read train\.py"):
        project.code.files_at(b"train.py", "HEAD")


def test_files_of_several_revisions(project):
    """Each comes with its SHA: in the order asked for, whatever is missing, and however a revision is spelled."""
    project.write("later.txt", "one\n\ntwo")
    project.git("add", "later.txt")
    project.git("commit", "--quiet", "-m", "later")
    project.git("tag", "-a", "-m", "noted", "caf\u00e9")
    later, first = project.code.resolve("HEAD"), project.code.resolve("HEAD~1")

    found = project.code.files_at(
        b"later.txt", "HEAD~1", "nothing", "caf\u00e9", "a\nb", later, "-x", "", "HEAD:"
    )

    assert [
        (first, None),
        None,
        (later, b"one\n\ntwo"),
        None,
        (later, b"one\n\ntwo"),
        None,
        None,
        None,
    ] == found
    assert [] == project.code.files_at(b"later.txt")


def test_files_of_an_unborn_branch(tmp_path):
    """Before the first commit there is no HEAD."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)

    assert [None] == CodeRepository.open(tmp_path).files_at(b"mlvc.lock", "HEAD")


def test_files_of_a_branch_whose_name_is_no_text(project):
    """Git takes any bytes for a branch."""
    name = os.fsdecode(b"caf\xe9")
    project.git("branch", name)

    assert [(project.code.resolve("HEAD"), b"print(1)\n")] == project.code.files_at(b"train.py", name)


def test_a_file_of_a_revision_that_is_a_directory(project):
    """It is there and cannot be read, which is not the same as missing."""
    project.write("folder/a.txt", "a")
    project.git("add", "folder")
    project.git("commit", "--quiet", "-m", "folder")

    with pytest.raises(GitError, match="git cannot read folder"):
        project.code.files_at(b"folder", "HEAD")


def test_tracked_below(project):
    """Files below a directory are found by their exact path; what is untracked is not."""
    for name in ("data/a.csv", "data/sub/b.csv", "database.py", "data*/c.csv"):
        project.write(name)
    project.commit_all()
    project.write("data/new.csv")

    assert [b"data/a.csv", b"data/sub/b.csv"] == list(project.code.tracked_below(b"data"))
    assert [b"data*/c.csv"] == list(project.code.tracked_below(b"data*"))
    assert [b"train.py"] == list(project.code.tracked_below(b"train.py"))
    assert [] == list(project.code.tracked_below(b"nothing"))


def test_author(project):
    """The author is who git would sign with; nobody where git knows nobody."""
    assert "Test User <test@example.org>" == project.code.author()

    project.git("config", "user.useConfigOnly", "true")
    project.git("config", "--unset", "user.email")

    assert "" == project.code.author()


def test_settings(project):
    """A setting is read back as it was written; a missing one is None."""
    value = "mlvc merge-driver %O %A %B\n  %P"
    project.code.set_config("merge.mlvc.driver", value)

    assert value == project.code.get_config("merge.mlvc.driver")
    assert None is project.code.get_config("merge.mlvc.nothing")
    with pytest.raises(GitError, match="git config no-section failed"):
        project.code.set_config("no-section", "1")


def test_opening_loads_no_gitpython(project):
    """Opening a repository and asking for HEAD leaves GitPython alone, which takes long to load."""
    script = (
        "import sys, pathlib\n"
        "from mlvc.code.repository import CodeRepository\n"
        "CodeRepository.open(pathlib.Path('.')).head_sha()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('git', 'gitdb')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project.root,
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=True,
    )

    assert "[]" == done.stdout.strip()
