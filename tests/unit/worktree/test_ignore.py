"""Ignore lines, checked with git itself."""

import os
import subprocess

import pytest

from mlvc.errors import FormatError, NotFoundError, UsageError
from mlvc.worktree.ignore import add_ignore, ignore_line, remove_ignore
from mlvc.worktree.scan import BeyondLinkError

NAMES = [
    b"data",
    b"a space",
    b"trailing ",
    b"trailing two  ",
    b" leading",
    b"#comment",
    b"!negated",
    b"*",
    b"[ab]",
    b"a?c",
    b"back\\slash",
    b"ends with \\",
    b"\\ ",
    b"tab\t",
    b"return\r",
    b"two\r\r",
    b"\r",
    b"\xff\xfe",
    "combining e\u0301".encode(),
    b"**",
    b"-dash",
    b"~tilde",
    b"]",
    b"{a,b}",
    b"mid # and ! too",
]
LOOKALIKES = [
    b"a",
    b"abc",
    b"aXc",
    b"comment",
    b"negated",
    b"anything",
    b"trailing",
    b"backslash",
    b"return",
    b"x",
]


def ignored(root, paths):
    """Which of the paths git ignores."""
    result = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin"],
        cwd=root,
        input=b"\0".join(paths),
        capture_output=True,
        check=False,
    )
    assert result.returncode in {0, 1}, result.stderr
    return {path for path in result.stdout.split(b"\0") if path}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_git_ignores_exactly_the_tracked_path(git_repo, name, kind):
    """Whatever the name holds and whatever stands there, git ignores it, and nothing that only looks like it."""
    for folder in (b"", b"sub/"):
        path = folder + name
        place = os.path.join(os.fsencode(git_repo), path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if kind == "file":
            os.close(os.open(place, os.O_CREAT))
        elif kind == "directory":
            os.mkdir(place)
        else:
            os.symlink("sub", place)
        assert add_ignore(git_repo, path)
        others = [folder + other for other in (*NAMES, *LOOKALIKES) if other != name]
        below = [folder + b"deeper/" + name]
        assert ignored(git_repo, [path, *others, *below]) == {path}
        assert not add_ignore(git_repo, path)
        assert remove_ignore(git_repo, path)
        assert ignored(git_repo, [path]) == set()


def test_every_name_at_once(git_repo):
    """Lines do not disturb each other."""
    for name in NAMES:
        add_ignore(git_repo, name)
    assert ignored(git_repo, [*NAMES, *LOOKALIKES]) == set(NAMES)
    for name in NAMES[1:]:
        remove_ignore(git_repo, name)
    assert (git_repo / ".gitignore").read_bytes() == b"/data\n"


@pytest.mark.parametrize("text", [b"*.pyc\n", b"*.pyc", b"\r\n*.pyc\r\n", b"# \xff\n\n\n", b"one\rtwo\n"])
def test_other_lines_stay(tmp_path, text):
    """The user's lines come out as they went in; only a missing final newline is added."""
    file = tmp_path / ".gitignore"
    file.write_bytes(text)
    file.chmod(0o640)
    add_ignore(tmp_path, b"data")
    whole = text if text.endswith(b"\n") else text + b"\n"
    assert file.read_bytes() == whole + b"/data\n"
    assert file.stat().st_mode & 0o777 == 0o640
    remove_ignore(tmp_path, b"data")
    assert file.read_bytes() == whole


def test_line_that_git_checked_out_with_a_carriage_return(git_repo):
    """With `core.autocrlf` it is the same line to git: it is written no second time, and goes when it has to."""
    file = git_repo / ".gitignore"
    file.write_bytes(b"*.pyc\r\n/data\r\n")
    assert not add_ignore(git_repo, b"data")
    assert 0 == subprocess.run(["git", "check-ignore", "-q", "data"], cwd=git_repo, check=False).returncode

    assert remove_ignore(git_repo, b"data")
    assert b"*.pyc\r\n" == file.read_bytes()


def test_a_file_that_holds_nothing_else_is_deleted(tmp_path):
    """What `add_ignore` made goes away with its last line; removing again changes nothing."""
    add_ignore(tmp_path, b"data")
    assert remove_ignore(tmp_path, b"data")
    assert not (tmp_path / ".gitignore").exists()
    assert not remove_ignore(tmp_path, b"data")
    assert not remove_ignore(tmp_path, b"no/such/directory")


def test_places_that_git_would_not_read(tmp_path):
    """A `.gitignore` that is a link, a path beyond one, and a missing directory are errors."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(BeyondLinkError):
        add_ignore(tmp_path, b"link/data")
    with pytest.raises(NotFoundError):
        add_ignore(tmp_path, b"missing/data")
    (tmp_path / ".gitignore").symlink_to("real/ignore")
    with pytest.raises(UsageError):
        add_ignore(tmp_path, b"data")
    assert os.listdir(tmp_path / "real") == []


@pytest.mark.parametrize("path", [b"a\nb", b"../x", b"", b".git"])
def test_paths_that_have_no_line(path):
    """What cannot be tracked cannot be ignored either."""
    with pytest.raises(FormatError):
        ignore_line(path)
