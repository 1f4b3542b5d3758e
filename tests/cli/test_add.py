"""`mlvc add` and `mlvc rm` as a user runs them."""

import os
import socket

import pytest


def test_add_tells_what_it_stored(project, run_mlvc):
    """The JSON has the keys that scripts rely on, and a second add stores nothing."""
    (project / "model.bin").write_bytes(b"weights" * 1000)

    (first,) = run_mlvc("add", "model.bin", "--json").json()["paths"]
    (second,) = run_mlvc("add", "model.bin", "--json").json()["paths"]

    assert ("model.bin", 1, 7000) == (first["path"], first["files"], first["bytes"])
    assert first["id"].startswith("b3:")
    assert first["stored_bytes"] > 0
    assert 0 == second["stored_bytes"]
    assert first["id"] == second["id"]


def test_what_the_store_lost_is_stored_again(project, run_mlvc):
    """A pack that is gone is missed, although nothing changed that was added before."""
    for _ in range(2):
        run_mlvc("add", "data")
    for path in (project / ".git" / "mlvc" / "store" / "packs").iterdir():
        path.unlink()

    (answer,) = run_mlvc("add", "data", "--json").json()["paths"]

    assert answer["stored_bytes"] > 0
    expected = {path: path.read_bytes() for path in (project / "data").rglob("*") if path.is_file()}
    for path in expected:
        path.unlink()
    run_mlvc("checkout")
    assert expected == {path: path.read_bytes() for path in (project / "data").rglob("*") if path.is_file()}


def test_added_path_is_ignored_by_git(project, git):
    """Git never sees the data."""
    assert "" == git("status", "--short")
    assert "data\n" == git("check-ignore", "data")


def test_path_inside_a_tracked_directory_stands_for_the_directory(project, run_mlvc):
    """One line for the directory, now with the new file."""
    (project / "data" / "new.csv").write_text("c\n")

    run_mlvc("add", "data/new.csv")

    assert ["data/"] == run_mlvc("ls").stdout.split()
    assert "data/new.csv" in run_mlvc("ls", ":data").stdout.split()


def test_directory_takes_over_the_lines_of_what_is_in_it(project, run_mlvc):
    """A tracked file below becomes part of the directory's line."""
    (project / "more").mkdir()
    (project / "more" / "a").write_text("a")
    (project / "more" / "b").write_text("b")
    run_mlvc("add", "more/a")

    run_mlvc("add", "more")

    assert ["data/", "more/"] == run_mlvc("ls").stdout.split()
    assert ["more/a", "more/b"] == run_mlvc("ls", ":more").stdout.split()


def test_paths_are_relative_to_where_the_user_is(project, run_mlvc):
    """Also with -C, which counts as being there."""
    (project / "sub").mkdir()
    (project / "sub" / "x").write_text("x")

    run_mlvc("add", "x", cwd=project / "sub")
    run_mlvc("-C", "sub", "add", "x")

    assert ["data/", "sub/x"] == run_mlvc("ls").stdout.split()


@pytest.mark.parametrize(
    ("path", "code", "named"),
    [
        ("nowhere", "not-found", "nowhere"),
        ("train.py", "git-tracked", "train.py"),
        ("mlvc.lock", "usage", "mlvc.lock"),
        ("..", "usage", ".."),
        ("/etc/hostname", "usage", "/etc/hostname"),
        (".git/config", "usage", ".git/config"),
    ],
)
def test_what_cannot_be_added_is_refused_by_name(project, run_mlvc, path, code, named):
    """Exit 2, a code, the name and a hint; the lock stays as it was, also for what was named beside it."""
    (project / "fine").write_text("fine")
    before = (project / "mlvc.lock").read_bytes()

    error = run_mlvc("add", "fine", path, "--json", check=2).json()["error"]

    assert code == error["code"]
    assert named in error["message"]
    assert error["hint"]
    assert before == (project / "mlvc.lock").read_bytes()


def test_files_that_git_tracks_below_a_directory_are_named(project, git, run_mlvc):
    """One file has one keeper; the hint hands it over."""
    (project / "mixed").mkdir()
    (project / "mixed" / "kept.txt").write_text("by git")
    git("add", "mixed/kept.txt")

    error = run_mlvc("add", "mixed", check=2).stderr

    assert "mixed/kept.txt" in error
    assert "git rm -r --cached -- mixed" in error


def test_socket_is_refused_by_name(project, run_mlvc):
    """No tree can hold one."""
    (project / "odd").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(project / "odd" / "s"))

        error = run_mlvc("add", "odd", check=2).stderr

    assert "odd/s" in error


def test_names_that_are_no_text_come_back(project, run_mlvc):
    """Newlines, bytes that are not UTF-8 and percent signs are printed in text form and restored as they were."""
    names = [b"new\nline", b"latin-\xe9", b"100%", "e\u0301".encode(), b"a b"]
    folder = os.fsencode(project / "odd names")
    os.mkdir(folder)
    for name in names:
        with open(folder + b"/" + name, "wb") as file:
            file.write(name)

    run_mlvc("add", "odd names")
    for name in names:
        os.unlink(folder + b"/" + name)
    listed = run_mlvc("ls", ":odd names").stdout
    run_mlvc("checkout")

    assert sorted(names) == sorted(os.listdir(folder))
    assert "odd names/new%0Aline\n" in listed
    assert "odd names/latin-%E9\n" in listed
    assert "odd names/100%25\n" in listed


def test_rm_stops_tracking_and_deletes(project, git, run_mlvc):
    """The files go, the ignore line goes, and every commit keeps them."""
    run_mlvc("rm", "data")

    assert not (project / "data").exists()
    assert "" == run_mlvc("ls").stdout
    assert "a,b\n1,2\n" == run_mlvc("cat", "HEAD:data/table.csv").stdout


def test_rm_cached_keeps_the_files(project, git, run_mlvc):
    """Git sees them again."""
    run_mlvc("rm", "--cached", "data")

    assert (project / "data" / "table.csv").is_file()
    assert "?? data/" in git("status", "--short")


def test_rm_refuses_changed_files(project, run_mlvc):
    """What is stored nowhere is named, and stays; with --force it is stored first."""
    (project / "data" / "table.csv").write_text("edited\n")

    refused = run_mlvc("rm", "data", "--json", check=2).json()["error"]

    assert "unsaved" == refused["code"]
    assert "data/table.csv" in refused["message"]
    assert "edited\n" == (project / "data" / "table.csv").read_text()
    assert ["data/"] == run_mlvc("ls").stdout.split()
    run_mlvc("rm", "--force", "data")
    assert not (project / "data").exists()


@pytest.mark.parametrize("path", ["train.py", "data/table.csv"])
def test_rm_refuses_what_has_no_line(project, run_mlvc, path):
    """The hint for a file inside a tracked directory is another one."""
    assert "not-tracked" == run_mlvc("rm", path, "--json", check=2).json()["error"]["code"]


@pytest.mark.parametrize("path", ["inner", "inner/data", "inner/data/x.csv"])
def test_data_of_another_repository_below(project, git, run_mlvc, path):
    """It has a keeper of its own: nothing is tracked, and nothing written there."""
    inner = project / "inner"
    (inner / "data").mkdir(parents=True)
    (inner / "data" / "x.csv").write_text("x")
    git("init", "-q", str(inner))
    before = (project / "mlvc.lock").read_bytes()

    refused = run_mlvc("add", path, check=2).stderr

    assert f"error: {path} belongs to another git repository, inner, as a submodule does\n" in refused
    assert before == (project / "mlvc.lock").read_bytes()
    assert {".git", "data"} == {item.name for item in inner.iterdir()}
