"""The benchmark itself works: what it generates, what it measures, and that every work ends in a table."""

import os
import subprocess
import sys

import pytest

from tests.benchmarks.measure import CommandError, census, move_aside, run, stored_bytes
from tests.benchmarks.workloads import (
    make_files,
    mutate_files,
    write_changed_region,
    write_csv,
    write_edited_csv,
    write_incompressible,
)
from tests.support.command import child_environment


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run_bench(root, tmp_path):
    """Runs the script at a thousandth of the size; returns the rows of its table as lists of cells."""

    quick = ("--scale", "0.001", "--repeat", "1", "--directory", tmp_path)

    def runner(*arguments):
        done = subprocess.run(
            [sys.executable, root / "tests/benchmarks/bench.py", *arguments, *quick],
            env=child_environment({}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]

    return runner


@pytest.mark.slow
@pytest.mark.timeout(600)  # Each step waits until the disk has all of it, whoever else is writing.
def test_every_quick_work_of_every_tool_is_a_row(run_bench, tmp_path):
    """Each tool has a row in each work that it can do, none failed, and nothing is left on the disk."""
    rows = run_bench(
        *("add-files", "status", "add-again", "checkout-files", "checkout-changed"),
        *("add-large", "csv", "checkpoint", "--peers", "cp,git"),
    )

    both, all_three = {"mlvc", "git"}, {"mlvc", "git", "cp"}
    expected = {
        "add-files": all_three,
        "status": both,
        "add-again": both,
        "checkout-files": all_three,
        "checkout-changed": both,
        "add-large": all_three,
        "csv": both,
        "checkpoint": both,
    }
    assert expected == {work: {row[1] for row in rows if row[0] == work} for work in expected}
    assert [] == [row for row in rows if row[2] == "failed"]
    assert all("at most" in row[5] for row in rows if row[1] == "mlvc")
    assert [] == list(tmp_path.iterdir())


def test_a_tool_that_fails_is_a_row_with_the_reason(run_bench):
    """A peer that does not work costs its own row and no other."""
    rows = run_bench("add-large", "--peers", "cp,restic", "--peer-path", "restic=/bin/false")

    assert {("cp", False), ("mlvc", False), ("restic", True)} == {
        (row[1], row[2] == "failed") for row in rows
    }
    assert ["`/bin/false init -q -r` exit 1: nothing printed"] == [
        row[8] for row in rows if row[1] == "restic"
    ]


def test_the_same_seed_makes_the_same_files(tmp_path):
    """Files and changes are the same every time, and half of the files are incompressible."""
    for name in ("a", "b"):
        make_files(tmp_path / name, 40, seed=5)
    before = contents(tmp_path / "a")

    assert 40 == len(before)
    assert before == contents(tmp_path / "b")
    assert 20 == sum(path.suffix == ".bin" for path in before)

    for name in ("a", "b"):
        mutate_files(tmp_path / name, seed=6, counts=(4, 3, 2))
    after = contents(tmp_path / "a")

    assert after == contents(tmp_path / "b")
    assert 4 == sum(path in after and after[path] != body for path, body in before.items())
    assert 3 == len(after.keys() - before.keys())
    assert 2 == len(before.keys() - after.keys())


def test_the_second_table_has_edited_inserted_and_appended_rows(tmp_path):
    """Of 2,000 rows 2 are edited, 100 stand before them, and 20 after."""
    write_csv(tmp_path / "1.csv", 2000, seed=1)
    write_edited_csv(tmp_path / "1.csv", tmp_path / "2.csv", 2000, seed=2)
    old = (tmp_path / "1.csv").read_text().splitlines()
    new = (tmp_path / "2.csv").read_text().splitlines()

    assert 2001 + 100 + 20 == len(new)
    assert old[0] == new[0]
    assert 2 == sum(a != b for a, b in zip(old[1:], new[101:2101], strict=True))


def test_the_second_checkpoint_differs_in_one_region(tmp_path):
    """A region of 5 % begins at two fifths of the file; all around it is as before."""
    write_incompressible(tmp_path / "1", 100_000, seed=1)
    write_changed_region(tmp_path / "1", tmp_path / "2", 0.05, seed=2)
    old, new = (tmp_path / "1").read_bytes(), (tmp_path / "2").read_bytes()

    assert len(old) == len(new)
    assert old[:40_000] == new[:40_000]
    assert old[40_000:45_000] != new[40_000:45_000]
    assert old[45_000:] == new[45_000:]


def test_the_memory_of_child_processes_counts(tmp_path):
    """The peak is that of the whole process tree, and what was written is that of the command and its children."""
    child = "import time; block = b'x' * (64 << 20); time.sleep(1)"
    script = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {child!r}])
open("f", "w").write("y" * 5000)
"""
    sample = run([[sys.executable, "-c", script]], tmp_path, os.environ)

    assert 64 << 20 < sample.peak_bytes < 160 << 20
    assert 5000 <= sample.written_bytes < 100_000
    assert sample.seconds > 1


def test_a_command_that_fails_is_named_with_what_it_printed(tmp_path):
    """The end of its output is the reason."""
    with pytest.raises(CommandError, match="exit 3: no luck"):
        run([[sys.executable, "-c", "import sys; print('no luck'); sys.exit(3)"]], tmp_path, os.environ)


def test_a_tree_that_is_moved_aside_gives_its_space_back_but_no_shared_bytes(tmp_path):
    """Large files are cut to nothing and none is deleted; one that has another name elsewhere keeps its bytes."""
    tree, mega = tmp_path / "tree", 1 << 20
    tree.mkdir()
    (tree / "own").write_bytes(bytes(2 * mega))
    (tree / "shared").write_bytes(bytes(3 * mega))
    (tree / "twice").write_bytes(bytes(4 * mega))
    (tree / "small").write_bytes(b"x" * 10)
    os.link(tree / "twice", tree / "twice again")
    os.link(tree / "shared", tmp_path / "kept")
    move_aside(tree, tmp_path / "aside")

    assert not tree.exists()
    assert bytes(3 * mega) == (tmp_path / "kept").read_bytes()
    assert (5, 3 * mega + 10) == census(tmp_path / "aside")


def test_a_file_of_two_names_is_stored_once(tmp_path):
    """Bytes stored are told by file, not by name."""
    (tmp_path / "a").write_bytes(b"x" * 100)
    os.link(tmp_path / "a", tmp_path / "b")

    assert 100 == stored_bytes(tmp_path)
    assert (2, 200) == census(tmp_path)
