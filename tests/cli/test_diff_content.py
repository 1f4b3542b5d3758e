"""`mlvc diff --content` says what differs inside of files: between two revisions, and with the work tree."""

import json

import numpy as np
import pytest


@pytest.fixture
def project(run_mlvc, git_repo):
    """A table, an array and a text, committed twice and changed once more."""
    run_mlvc("init")
    for step in (1, 2):
        (git_repo / "table.csv").write_text(f"name,count\na,1\nb,{step}\n")
        np.save(git_repo / "array.npy", np.array([1.0, 2.0, 3.0]) * (1 + step * 1e-12))
        (git_repo / "only.txt").write_text("the same\n")
        run_mlvc("add", "table.csv", "array.npy", "only.txt")
        run_mlvc("commit", "-m", f"step {step}")
    (git_repo / "table.csv").write_text("name,count\na,1\nb,9\n")
    return git_repo


def test_two_revisions(project, run_mlvc):
    """Each changed file with its verdict and the places that differ."""
    done = run_mlvc("diff", "HEAD~1", "HEAD", "--content")

    assert [
        "modified  array.npy",
        "  close",
        "    numeric   3 of 3 differ, float64, relative error 1e-12, 6754 ulp",
        "modified  table.csv",
        "  different",
        "    value     column count row 2: 1 → 2 (1 of 2 differ)",
    ] == done.stdout.splitlines()


def test_paths_after_two_revisions_need_no_dashes(project, run_mlvc):
    """As git takes them; what stands after dashes comes besides."""
    one = run_mlvc("diff", "HEAD~1", "HEAD", "--content", "table.csv").stdout
    both = run_mlvc("diff", "HEAD~1", "HEAD", "array.npy", "--", "table.csv").stdout

    assert one == run_mlvc("diff", "HEAD~1", "HEAD", "--content", "--", "table.csv").stdout
    assert "modified  table.csv" == one.splitlines()[0]
    assert ["modified  array.npy", "modified  table.csv"] == both.splitlines()


def test_the_work_tree_as_json(project, run_mlvc):
    """The bytes of the file are in no object yet; an unchanged file is not named."""
    done = run_mlvc("diff", "--content", "--json", "--", "table.csv")
    (change,) = json.loads(done.stdout)["changes"]

    assert "different" == change["content"]["verdict"]
    assert ("column count row 2", "2", "9") == tuple(
        change["content"]["differences"][0][key] for key in ("where", "recorded", "reproduced")
    )


def test_a_file_on_one_side_has_no_content_to_compare(project, run_mlvc):
    """It is named as without the option."""
    (project / "table.csv").unlink()

    assert ["deleted   table.csv"] == run_mlvc("diff", "--content").stdout.splitlines()
