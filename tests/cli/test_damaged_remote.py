"""A remote with damage, and data that is only there: what `verify`, `pull`, `push` and `fsck` say of it."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from mlvc.repo import Repo
from mlvc.verbs.verify import verify
from tests.support.command import Mlvc, child_environment
from tests.support.reporter import RecordingReporter


@pytest.fixture
def far(tmp_path):
    return tmp_path / "far"


@pytest.fixture
def pushed(project, run_mlvc, far):
    """The project, with a file in several chunks, on a remote."""
    (project / "big.bin").write_bytes(random.Random(0).randbytes(700_000))
    run_mlvc("add", "big.bin")
    run_mlvc("commit", "-m", "second")
    run_mlvc("remote", "add", "team", far)
    run_mlvc("push")
    return run_mlvc


@pytest.fixture
def clone(pushed, tmp_path, far):
    """A clone that has fetched: records, and no data."""
    subprocess.run(["git", "clone", "--quiet", pushed.cwd, tmp_path / "clone"], check=True)
    run = Mlvc(cwd=tmp_path / "clone")
    run("remote", "add", "team", far)
    run("fetch")
    return run


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def pack_of(far, needle):
    """Returns the data pack that holds some bytes, and where."""
    for path in (far / "data").glob("*.pack"):
        if needle in path.read_bytes():
            return path, path.read_bytes().index(needle)
    raise AssertionError(needle)


def test_deep_verify_names_pack_object_and_paths(clone, far):
    """Exit 1; without --deep nothing is seen, because nothing is read. Nothing is stored."""
    path, start = pack_of(far, b"a,b\n1,2\n")
    flip(path, start)
    before = contents(clone.cwd / ".git" / "mlvc" / "store")
    assert True is clone("verify", "--remote", "--json").json()["ok"]

    (problem,) = clone("verify", "--remote", "--deep", "--json", check=1).json()["problems"]
    text = clone("verify", "--remote", "--deep", check=1)

    assert "remote-damaged" == problem["kind"]
    assert f"data/{path.name}" in problem["message"]
    assert problem["object"] in problem["message"]
    assert "data/table.csv in mlvc.lock" in problem["reaches"]
    assert any(place.startswith("data/table.csv in commit ") for place in problem["reaches"])
    assert "reaches data/table.csv in mlvc.lock" in text.stdout
    assert "push --repair" in text.stderr
    assert before == contents(clone.cwd / ".git" / "mlvc" / "store")


def test_every_file_of_the_remote_is_read(clone, far, monkeypatch):
    """One flipped bit in the header, a record, the end: of packs and indexes, data and metadata; and the marker."""
    monkeypatch.chdir(clone.cwd)
    repo = Repo.open(Path.cwd(), reporter=RecordingReporter(), environment=child_environment({}))
    assert () == verify(repo, remote=True, deep=True).problems
    files = [path for path in far.rglob("*") if path.suffix in {".pack", ".idx"}]
    assert len(files) >= 8
    for path in files:
        sound = path.read_bytes()
        for position in (3, 20, 50, len(sound) // 2, len(sound) - 1):
            flip(path, position)

            problems = verify(repo, remote=True, deep=True).problems

            assert {"remote-damaged"} == {problem.kind for problem in problems}, (path, position)
            assert {path.name} == {
                problem.message.partition(" ")[0].rpartition("/")[2] for problem in problems
            }, (path, position)
            path.write_bytes(sound)
    marker = far / "mlvc-remote-1"
    marker.chmod(0o644)
    marker.write_bytes(b"\1")
    assert "mlvc-remote-1" in verify(repo, remote=True, deep=True).problems[0].message
    marker.unlink()
    assert "mlvc-remote-1" in verify(repo, remote=True, deep=True).problems[0].message


@pytest.mark.parametrize("hurt", ["flip", "cut", "remove pack", "remove index", "marker"])
def test_damage_is_mended_by_the_command_that_is_named(pushed, clone, far, hurt):
    """What a listing shows, by `push`; the rest by `push --repair`. The remote is then as it was, byte for byte."""
    before = contents(far)
    path, start = pack_of(far, b"a,b\n1,2\n")
    path.chmod(0o644)
    match hurt:
        case "flip":
            flip(path, start)
        case "cut":
            path.write_bytes(path.read_bytes()[:-3])
        case "remove pack":
            path.unlink()
        case "remove index":
            path.with_suffix(".idx").unlink()
        case "marker":
            (far / "mlvc-remote-1").unlink()
    listing_shows = hurt not in {"flip", "marker"}
    assert listing_shows is not clone("verify", "--remote", "--json", check=False).json()["ok"]
    assert False is clone("verify", "--remote", "--deep", "--json", check=1).json()["ok"]

    pushed("push", *(() if listing_shows else ("--repair",)))

    assert before == contents(far)
    assert True is clone("verify", "--remote", "--deep", "--json").json()["ok"]
    clone("pull")
    assert "a,b\n1,2\n" == (clone.cwd / "data" / "table.csv").read_text()


def test_pull_names_the_damage_and_what_needs_it(clone, far):
    """Exit 2 and no file; another path can be pulled, and the good records stay."""
    path, start = pack_of(far, b"a,b\n1,2\n")
    flip(path, start)

    error = clone("pull", "--json", check=2).json()["error"]

    assert "remote-damaged" == error["code"]
    assert path.name in error["message"]
    assert "data/table.csv" in error["message"]
    assert "push --repair" in error["hint"]
    assert not list((clone.cwd / "data").glob("*"))
    assert "remote-damaged" == clone("pull", "--json", "data", check=2).json()["error"]["code"]
    assert 0 == clone("pull", "--json", "big.bin").json()["packs"]
    assert (clone.cwd / "big.bin").is_file()


def test_damage_that_nothing_needs_is_only_told(clone, far):
    """The header of a pack says nothing that a record does not."""
    for path in (far / "data").glob("*.pack"):
        flip(path, 3)

    told = clone("pull")

    assert "is damaged" in told.stderr
    assert "a,b\n1,2\n" == (clone.cwd / "data" / "table.csv").read_text()


def test_deep_is_of_a_remote(clone):
    """`fsck` is the other one."""
    refused = clone("verify", "--deep", check=2)

    assert "mlvc fsck" in refused.stderr


# ---------------------------------------------------------------------------------- data that is only there


def test_fsck_counts_what_was_never_fetched(clone, pushed):
    """Exit 0, one line with the command; `verify` still says that it is missing."""
    answer = clone("fsck", "--json").json()
    text = clone("fsck").stdout

    assert [] == answer["problems"]
    # Four of data, and those of the code.
    assert 9 == answer["absent"]["objects"]
    assert 700_000 < answer["absent"]["bytes"] < 710_000
    assert "9 files, 70" in text
    assert "`mlvc pull`" in text
    assert "missing-object" in clone("verify", check=1).stdout
    clone("fetch", "--data")
    assert {"objects": 0, "bytes": 0} == clone("fsck", "--json").json()["absent"]


def test_fsck_after_a_pull_of_one_path(clone):
    """The rest is still only there; what came is checked."""
    clone("pull", "data")
    answer = clone("fsck", "--json").json()
    assert [] == answer["problems"]
    assert 0 < answer["absent"]["objects"] < 9
    store = clone.cwd / ".git" / "mlvc" / "store" / "packs"
    (pack,) = [path for path in store.glob("*.pack") if b"a,b\n1,2\n" in path.read_bytes()]
    flip(pack, pack.read_bytes().index(b"a,b\n1,2\n"))

    problems = clone("fsck", "--json", check=1).json()["problems"]

    assert any("data/table.csv in mlvc.lock" in problem["reaches"] for problem in problems)


def test_fsck_tells_lost_from_absent(clone, far, pushed):
    """What no remote is known to have is missing, with what needs it."""
    shutil.rmtree(clone.cwd / ".git" / "mlvc" / "cache" / "remote-indexes")

    answer = clone("fsck", "--json", check=1).json()

    assert {"missing-object", "missing-chunk"} == {problem["kind"] for problem in answer["problems"]}
    assert 0 == answer["absent"]["objects"]
