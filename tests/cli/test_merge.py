"""Branches that both changed data, merged by git itself."""

import sys

import pytest

from mlvc.model.lock import decode_lock


@pytest.fixture
def branches(project, git, run_mlvc):
    """Makes a commit on `other` and one on `main`, each after its own edit; main is checked out."""

    def make(on_other, on_main):
        git("branch", "other")
        for branch, edit in (("other", on_other), ("main", on_main)):
            run_mlvc("checkout", branch)
            edit()
            run_mlvc("commit", "-m", f"on {branch}")
        return project

    return make


def lines_of(folder):
    return decode_lock((folder / "mlvc.lock").read_bytes()).entries


def test_different_paths_merge(branches, git, run_mlvc):
    """Both lines are there, and the ignore lines too."""

    def add(name):
        def edit():
            (branches_root() / name).write_text(name)
            run_mlvc("add", name)

        return edit

    def branches_root():
        return run_mlvc.cwd

    folder = branches(add("one.bin"), add("two.bin"))
    git("merge", "other", "-m", "merge")

    assert {b"data", b"one.bin", b"two.bin"} == lines_of(folder).keys()
    run_mlvc("checkout")
    assert "" == git("status", "--short")
    assert "one.bin" == (folder / "one.bin").read_text()


def test_different_files_of_one_directory_merge(branches, git, run_mlvc):
    """Added, changed and removed entries of both sides come together; no run made the merged line."""
    folder = run_mlvc.cwd

    def there():
        (folder / "data" / "deep" / "new.bin").write_text("new")
        (folder / "data" / "run.sh").unlink()
        run_mlvc("add", "data")

    def here():
        (folder / "data" / "table.csv").write_text("a,b\n3,4\n")
        run_mlvc("add", "data")

    branches(there, here)
    git("merge", "other", "-m", "merge")
    entry = lines_of(folder)[b"data"]
    run_mlvc("checkout")

    assert entry.run is None
    assert 4 == entry.files
    assert "new" == (folder / "data" / "deep" / "new.bin").read_text()
    assert "a,b\n3,4\n" == (folder / "data" / "table.csv").read_text()
    assert not (folder / "data" / "run.sh").exists()
    assert [] == run_mlvc("status", "--json").json()["changes"]
    assert entry.size_bytes == sum(
        len(path.readlink().name) if path.is_symlink() else path.stat().st_size
        for path in (folder / "data").rglob("*")
        if path.is_symlink() or path.is_file()
    )


def test_true_conflict_names_the_file_and_the_ways_out(branches, git, run_mlvc):
    """The lines stand between marks, every command says what to do, and one side can be taken."""
    folder = run_mlvc.cwd

    def edit(text):
        def change():
            (folder / "data" / "table.csv").write_text(text)
            run_mlvc("add", "data")

        return change

    branches(edit("theirs"), edit("ours"))
    git("merge", "other", "-m", "merge", check=False)
    text = (folder / "mlvc.lock").read_text()
    refused = run_mlvc("status", "--json", check=2).json()["error"]

    assert "UU mlvc.lock\n" == git("status", "--short")
    assert text.startswith("mlvc-lock 1\n<<<<<<< ours\ndirectory ")
    assert 2 == text.count(" data\n")
    assert "lock-conflict" == refused["code"]
    assert "--theirs" in refused["hint"]

    git("checkout", "--theirs", "mlvc.lock")
    run_mlvc("checkout")
    git("add", "mlvc.lock")
    git("commit", "-m", "merge")
    assert "theirs" == (folder / "data" / "table.csv").read_text()
    assert [] == run_mlvc("status", "--json").json()["changes"]


@pytest.fixture
def without_mlvc(project, git):
    """Git calls an interpreter that is gone, or one that has no mlvc."""

    def make(python):
        driver = git("config", "merge.mlvc.driver").removesuffix("\n")
        start, _, rest = driver.partition(" ")
        git("config", "merge.mlvc.driver", f"{python} {rest}")
        assert sys.executable in start

    return make


@pytest.mark.parametrize("python", ["/gone/python", "/usr/bin/python3", "false"])
def test_without_mlvc_git_merges_line_by_line(branches, git, run_mlvc, without_mlvc, python):
    """As on a server: no line of the other side is lost, and a line of both is a conflict with its marks."""

    def add(name, text="x"):
        def edit():
            (run_mlvc.cwd / name).write_text(text)
            (run_mlvc.cwd / "data" / "table.csv").write_text(name)
            run_mlvc("add", name, "data")

        return edit

    folder = branches(add("theirs.bin"), add("ours.bin"))
    without_mlvc(python)

    said = git("merge", "other", "-m", "merge", check=False, both=True)

    assert "mlvc could not merge mlvc.lock, so git merges it line by line" in said
    assert "UU mlvc.lock\n" in git("status", "--short")
    text = (folder / "mlvc.lock").read_text()
    for name in ("ours.bin", "theirs.bin"):
        assert f" {name}\n" in text
    assert 2 == text.count(" data\n")
    assert "lock-conflict" == run_mlvc("status", "--json", check=2).json()["error"]["code"]


def test_driver_survives_a_second_init(project, git, run_mlvc):
    """Settings and attributes stand once; lines of the user stay."""
    attributes = project / ".git" / "info" / "attributes"
    attributes.write_text(attributes.read_text() + "*.txt text")
    before = attributes.read_text()
    run_mlvc("init")

    assert before == attributes.read_text()
    assert 1 == len(git("config", "--get-all", "merge.mlvc.driver").splitlines())


def test_side_that_is_no_lock_is_left_to_the_person(project, run_mlvc):
    """Whole files stand between the marks; nothing is lost."""
    good = (project / "mlvc.lock").read_text()
    for name, text in (("base", ""), ("ours", good), ("theirs", "mlvc-lock 2\n")):
        (project / name).write_text(text)

    run_mlvc("hook", "merge-lock", "base", "ours", "theirs", "mlvc.lock", check=1)

    wanted = f"<<<<<<< ours\n{good}=======\nmlvc-lock 2\n>>>>>>> theirs\n"
    assert wanted == (project / "ours").read_text()
