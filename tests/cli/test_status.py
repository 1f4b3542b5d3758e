"""`mlvc status` and `mlvc diff` as a user runs them."""

import pytest


def test_clean_repository_is_clean(project, run_mlvc):
    """Exit 0 with --check."""
    answer = run_mlvc("status", "--check", "--json").json()

    assert True is answer["clean"]
    assert ([], [], "main", 1) == (answer["changes"], answer["staged"], answer["branch"], answer["tracked"])


def test_every_kind_of_change_is_named(project, run_mlvc):
    """Modified, deleted, added, another type, another executable bit."""
    data = project / "data"
    (data / "table.csv").write_text("a,b\n1,3\n")
    (data / "run.sh").chmod(0o644)
    (data / "link").unlink()
    (data / "link").write_text("no link")
    (data / "deep" / "er" / "x.bin").unlink()
    (data / "new").write_text("new")

    result = run_mlvc("status", "--check", "--json", check=1).json()

    assert {
        "data/table.csv": "modified",
        "data/run.sh": "modified",
        "data/link": "type",
        "data/deep/er/x.bin": "deleted",
        "data/new": "added",
    } == {change["path"]: change["change"] for change in result["changes"]}
    assert result["changes"] == run_mlvc("diff", "--json").json()["changes"]


def test_what_the_next_commit_records_is_staged(project, run_mlvc):
    """The difference between the lock and HEAD's lock."""
    (project / "data" / "table.csv").write_text("new\n")
    (project / "model").write_text("m")
    run_mlvc("add", "data", "model")

    result = run_mlvc("status", "--check", check=1)

    assert "modified  data" in result.stdout
    assert "added     model" in result.stdout
    assert "" == result.stderr


def test_status_before_the_first_commit(git_repo, run_mlvc):
    """An unborn branch has an empty lock."""
    run_mlvc("init")
    (git_repo / "d").write_text("d")
    run_mlvc("add", "d")

    answer = run_mlvc("status", "--json").json()

    assert None is answer["head"]
    assert [{"path": "d", "change": "added"}] == answer["staged"]


def test_conflicted_lock_names_the_ways_out(project, run_mlvc):
    """Git's marks in the lock are an error of their own."""
    lock = project / "mlvc.lock"
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text() + "=======\n>>>>>>> other\n")

    error = run_mlvc("status", "--json", check=2).json()["error"]

    assert "lock-conflict" == error["code"]
    assert "--ours" in error["hint"]


def test_diff_between_revisions_and_with_the_files(project, git, run_mlvc):
    """The same change, asked for in three ways, and narrowed to a path."""
    (project / "data" / "table.csv").write_text("a,b\n9,9\n")
    (project / "extra").write_text("x")
    run_mlvc("add", "extra")
    run_mlvc("commit", "-a", "-m", "second")

    def changes(*arguments):
        listed = run_mlvc("diff", *arguments, "--json").json()["changes"] if not arguments else None
        if listed is None:
            listed = run_mlvc("diff", "--json", *arguments).json()["changes"]
        return {change["path"]: change["change"] for change in listed}

    expected = {"data/table.csv": "modified", "extra": "added"}

    assert {} == changes()
    assert expected == changes("HEAD~1")
    assert expected == changes("HEAD~1", "HEAD")
    assert {"data/table.csv": "modified", "extra": "deleted"} == changes("HEAD", "HEAD~1")
    assert {"data/table.csv": "modified"} == changes("HEAD~1", "HEAD", "--", "data/table.csv")
    assert {} == changes("HEAD~1", "HEAD", "--", "data/deep")


@pytest.mark.parametrize(("arguments", "status"), [(("HEAD~1", "HEAD"), 1), (("HEAD", "HEAD"), 0)])
def test_diff_check_is_an_answer(project, run_mlvc, arguments, status):
    """Exit 1 if anything differs, 0 if not."""
    (project / "extra").write_text("x")
    run_mlvc("add", "extra")
    run_mlvc("commit", "-m", "second")

    run_mlvc("diff", "--check", *arguments, check=status)


def test_path_where_a_revision_belongs_is_explained(project, run_mlvc):
    """Paths come after `--`."""
    error = run_mlvc("diff", "data", "--json", check=2).json()["error"]

    assert "revision-missing" == error["code"]
