"""Commits as git has them."""

import pytest

from mlvc.code.child import GitError
from mlvc.code.commits import CommitUnreadableError
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


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("Zoë Ünal <zoe@example.org> 1700000000 +0530", ""),
        ("A <a@b> 1700000000 -0930", "encoding ISO-8859-1\n"),
        ("Ren\udce9 <a@b> 1700000000 +0000", ""),
        ("A > B < C <a@b> 0 -0000", ""),
        ("  spaced  <a b> 1 +0100", ""),
        (" <> 1700000000 +1400", ""),
        ("No Mail 1700000000", ""),
        ("A <a@b>", ""),
        (
            "A <a@b> 1700000000 +0000",
            "gpgsig -----BEGIN\n author X <x@y> 1 +0000\n \n parent 12\n -----END\n",
        ),
        ("A <a@b> 1700000000 +0000", "mergetag object 12\n tagger X <x@y> 1 +0000\n \n text\n"),
    ],
)
def test_a_commit_says_the_same_to_every_reader(project, line, more):
    """Read without a library, a commit is what GitPython makes of it in a walk, so that its record is the same."""
    tree = project.git("rev-parse", "HEAD^{tree}")
    parents = f"parent {project.git('rev-parse', 'HEAD')}\n"
    text = f"tree {tree}\n{parents}author {line}\ncommitter C <c@d> 5 +0000\n{more}\nmessage\n\nparent 34\n\n"
    raw = project.write("raw", text.encode("utf-8", "surrogateescape"))
    sha = project.git("hash-object", "--literally", "-w", "-t", "commit", str(raw))

    assert next(project.code.walk(sha)) == project.code.info(sha)


def test_an_encoding_of_its_own(project):
    """A commit says which one its texts are in; a time that no calendar has is none."""
    tree = project.git("rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor Ren\xe9 <a@b> {'9' * 14} +0000\nencoding ISO-8859-1\n\ncaf\xe9\n"
    raw = project.write("raw", text.encode("latin-1"))
    sha = project.git("hash-object", "--literally", "-w", "-t", "commit", str(raw))

    info = project.code.info(sha)

    assert ("René <a@b>", "1970-01-01T00:00:00+00:00", "café") == (info.author, info.time, info.message)


@pytest.mark.parametrize("encoding", ["hex", "nonsense", "utf-7", "idna", "x" * 300, "\udcff"])
def test_an_encoding_that_nobody_knows(project, encoding):
    """A commit that names one is read all the same, as far as it can be."""
    tree = project.git("rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor A <a@b> 5 +0000\ncommitter A <a@b> 5 +0000\nencoding {encoding}\n\n+2AA-caf\udce9\n"
    raw = project.write("raw", text.encode("utf-8", "surrogateescape"))
    sha = project.git("hash-object", "--literally", "-w", "-t", "commit", str(raw))

    info = project.code.info(sha)

    assert ("A <a@b>", "1970-01-01T00:00:05+00:00") == (info.author, info.time)
    assert "caf" in info.message.encode().decode()


def test_an_object_that_is_no_commit(project):
    """Bytes that only pretend to be one are damage."""
    raw = project.write("raw", b"some text\n")
    sha = project.git("hash-object", "--literally", "-w", "-t", "commit", str(raw))

    with pytest.raises(CommitUnreadableError, match="git cannot read the commit"):
        project.code.info(sha)
