"""A branch without `mlvc.toml` in a project with data: git ignores the data no longer, and the hooks keep it out."""

import re

import pytest


@pytest.fixture
def orphan(hooked, git):
    """Switches to a branch without anything; returns what git and the hooks said."""

    def call(*options):
        git("status")
        return git("switch", "--orphan", "pages", *options, both=True)

    return call


def commands_in(text):
    return re.findall("`(git [^`]+)`", text)


def files_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_stands_there_is_told_in_one_line(hooked, orphan, git, agree):
    """With what would go wrong; every byte stays, and the way back is git's own."""
    before = files_below(hooked / "data")
    said = orphan()

    (line,) = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert "data stands here that this branch neither tracks nor ignores: data; " in line
    assert ["git add -A", "git checkout main -- mlvc.toml mlvc.lock .gitignore"] == commands_in(line)
    assert before == files_below(hooked / "data")
    assert "" == git("switch", "-q", "main", both=True)
    agree()


def test_data_stays_out_of_a_branch_that_tracks_none(hooked, orphan, git, type_in, agree):
    """Also what has no format of data and is small; the commit goes on without it, and nothing is deleted."""
    before = files_below(hooked / "data")
    orphan()
    (hooked / "index.html").write_text("<p>\n")
    git("add", "-A")
    said = git("commit", "-m", "pages", check=False, both=True)

    assert said.startswith("error: data would go into git, on a branch without mlvc.toml: data\n")
    type_in(commands_in(said)[0])
    git("commit", "-q", "-m", "pages")
    assert "index.html\n" == git("ls-tree", "-r", "--name-only", "HEAD")
    assert before == files_below(hooked / "data")
    git("checkout", "-q", "main")
    agree()


def test_branch_that_takes_the_data_along(hooked, orphan, git, type_in, agree):
    """The second way out, from a directory of the work tree."""
    orphan()
    (hooked / "pages").mkdir()
    git("add", "-A")
    said = git("commit", "-m", "x", check=False, both=True, cwd=hooked / "pages")
    leave, track = commands_in(said)
    for line in (leave, track):
        type_in(line, cwd=hooked / "pages")
    git("add", "-A")
    git("commit", "-q", "-m", "data, too")

    agree()
    assert ".gitignore\nmlvc.lock\nmlvc.toml\n" == git("ls-tree", "-r", "--name-only", "HEAD")


@pytest.mark.parametrize(("name", "size"), [("model.onnx", 1), ("film.bin", 10_000_001)])
def test_new_data_is_refused_by_its_name_or_size(hooked, orphan, git, name, size):
    """As on every other branch; what git has already is its own, and may be edited."""
    orphan()
    (hooked / name).write_bytes(bytes(size))
    git("add", name)
    assert f"mlvc.toml: {name}\n" in git("commit", "-m", "x", check=False, both=True)

    git("commit", "-q", "--no-verify", "-m", "meant")
    (hooked / name).write_bytes(b"x" * size)
    git("commit", "-q", "-a", "-m", "edited")


def test_revision_from_before_mlvc_that_has_the_data_in_git(hooked, git, run_mlvc, agree):
    """There the files are git's: nothing is told, and they may be edited and committed."""
    git("status")
    git("switch", "-q", "--orphan", "early")
    git("add", "data/table.csv")
    git("commit", "-q", "--no-verify", "-m", "before mlvc")
    (hooked / "data" / "table.csv").write_text("early\n")
    git("commit", "-q", "-a", "-m", "early")
    git("checkout", "-q", "main", "--force")
    run_mlvc("checkout", "--force")
    agree()


def test_edits_made_meanwhile_are_kept(hooked, orphan, git):
    """The way back changes no file that mlvc did not bring as it is."""
    orphan()
    (hooked / "data" / "table.csv").write_text("edited\n")
    git("switch", "-q", "main", both=True)

    assert "edited\n" == (hooked / "data" / "table.csv").read_text()
    assert "tracked data differs" in git("commit", "--allow-empty", "-m", "x", check=False, both=True)


def test_clone_without_data(hooked, git, tmp_path, run_mlvc):
    """Nothing stands there, so nothing is told."""
    git("clone", "-q", str(hooked), str(tmp_path / "copy"))
    copy = tmp_path / "copy"
    run_mlvc("-C", copy, "hooks", "install")

    assert "warning" not in git("switch", "--orphan", "pages", cwd=copy, both=True)
