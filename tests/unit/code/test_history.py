"""Commits as GitPython reads them."""

import pytest

from mlvc.code.child import GitError
from mlvc.code.history import CommitUnreadableError
from mlvc.code.repository import RevisionMissingError


def test_info(project):
    """One commit's metadata, with the author's own offset."""
    first = project.git("rev-parse", "HEAD")
    project.write("train.py", "2")
    project.git(
        "commit",
        "--quiet",
        "--all",
        "--message",
        "Zwei: ä\n\nbody",
        "--author",
        "Zoë Ünal <zoe@example.org>",
        "--date",
        "2024-02-03T04:05:06+05:30",
    )

    info = project.code.info(project.git("rev-parse", "HEAD"))

    assert (first,) == info.parents
    assert "Zoë Ünal <zoe@example.org>" == info.author
    assert "2024-02-03T04:05:06+05:30" == info.time
    assert "Zwei: ä\n\nbody" == info.message


def test_text_that_is_not_utf8(project):
    """Bytes of a message or a name that are not UTF-8 are replaced, so that the text can be stored."""
    raw = project.git("cat-file", "commit", "HEAD").encode()
    path = project.write("raw", raw.replace(b"Test User", b"Ren\xe9").replace(b"work", b"caf\xe9"))
    sha = project.git("hash-object", "-w", "-t", "commit", str(path))

    info = project.code.info(sha)

    assert "Ren\ufffd <test@example.org>" == info.author
    assert "caf\ufffd" == info.message


def test_walk(project):
    """Commits come from the newest to the oldest, at most as many as asked for."""
    shas = [project.git("rev-parse", "HEAD")]
    for number in range(3):
        project.write("train.py", str(number))
        shas.append(project.commit_all(f"number {number}"))

    assert shas[::-1] == [info.sha for info in project.code.walk()]
    assert shas[:1:-1] == [info.sha for info in project.code.walk("main", limit=2)]
    assert ["work"] == [info.message for info in project.code.walk(shas[0])]


def test_walk_from_no_revision(project):
    """A walk from nowhere is a missing revision."""
    with pytest.raises(RevisionMissingError):
        list(project.code.walk("nothing"))


def test_walk_lock_commits(project):
    """Only commits that changed the lock are found, also those that a merge did not take."""
    base = project.git("rev-parse", "HEAD")
    project.git("checkout", "--quiet", "-b", "side")
    project.write("mlvc.lock", "side")
    side = project.commit_all("side")
    project.git("checkout", "--quiet", "main")
    project.write("mlvc.lock", "main")
    main = project.commit_all("main")
    project.write("other.py")
    project.commit_all("no lock")
    project.git("merge", "--quiet", "--strategy", "ours", "--message", "merge", "side")

    found = {info.sha for info in project.code.walk_lock_commits()}

    assert {side, main} <= found
    assert base not in found
    assert "no lock" not in {info.message for info in project.code.walk_lock_commits()}


def test_a_missing_commit_object(project):
    """Damage in git's objects is told as such."""
    first = project.git("rev-parse", "HEAD")
    project.write("train.py", "2")
    project.commit_all()
    (project.root / ".git" / "objects" / first[:2] / first[2:]).unlink()

    with pytest.raises(CommitUnreadableError, match="git cannot read the commit"):
        list(project.code.walk())


def test_a_repository_that_gitpython_cannot_open(project):
    """What GitPython refuses comes as an error of ours."""
    code = project.code
    (project.root / ".git" / "HEAD").unlink()

    with pytest.raises(GitError):
        code.info("0" * 40)
