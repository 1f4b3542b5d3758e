"""`mlvc://`: fsspec's own tests of reading, what a write is told, links, revisions, and bytes from a remote."""

import _thread
import errno
import multiprocessing
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

import mlvc
from mlvc.errors import MlvcError
from mlvc.filesystem import MlvcFileSystem
from tests.support.command import Mlvc


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory):
    """A repository with the trees that fsspec's tests read, each under a name of its own."""
    folder = tmp_path_factory.mktemp("abstract")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    run, local, fixtures = Mlvc(cwd=folder), LocalFileSystem(auto_mkdir=True), AbstractFixtures()
    run("init")
    for name, make in {
        "bulk": fixtures._bulk_operations_scenario_0,
        "glob": fixtures._glob_edge_cases_files,
        "prefix": fixtures._dir_and_file_with_same_name_prefix,
        "hashed": fixtures._10_files_with_hashed_names,
    }.items():
        make(local, os.path.join, str(folder / "data" / name))
    local.touch(str(folder / "data" / "src" / "file"))
    run("add", "data")
    shutil.rmtree(folder / "data")
    return folder


class Prepared(MlvcFileSystem):
    """Takes the preparations of a test that writes what is there already."""

    def mkdir(self, path, *_, **__):
        assert self.isdir(path)

    def touch(self, path, *_, **__):
        assert self.isfile(path)


class TestAsFsspecReads(AbstractGetTests, AbstractFixtures):
    """The read side of fsspec's abstract suite."""

    @pytest.fixture
    def fs(self, scenarios):
        return Prepared(scenarios)

    @pytest.fixture
    def fs_path(self):
        return "data"

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self):
        return "data/bulk/source"

    @pytest.fixture
    def fs_glob_edge_cases_files(self):
        return "data/glob/source"

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self):
        return "data/prefix/source"

    @pytest.fixture
    def fs_10_files_with_hashed_names(self):
        return "data/hashed/source"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Data in two versions, of which the work tree has none any more; made once, because it takes many processes."""
    folder = tmp_path_factory.mktemp("first") / "repo"
    data = folder / "data"
    (data / "empty").mkdir(parents=True)
    (data / "deep").mkdir()

    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=folder, check=True)

    git("init", "--quiet", "--initial-branch=main")
    git("config", "user.name", "Test User")
    git("config", "user.email", "test@example.org")
    run = Mlvc(cwd=folder)
    run("init")
    (data / "table.csv").write_text("a,b\n1,2\n")
    (data / "large.bin").write_bytes(random.Random(1).randbytes(3 << 20))
    (data / "deep" / "link.csv").symlink_to("../table.csv")
    (data / "deep" / "out").symlink_to("../../../etc/passwd")
    (data / "deep" / "absolute").symlink_to("/etc/passwd")
    (data / "deep" / "round").symlink_to("round")
    (data / "deep" / "gone").symlink_to("nothing")
    (data / os.fsdecode(b"caf\xe9")).write_bytes(b"not UTF-8")
    (folder / "models" / "a").mkdir(parents=True)
    (folder / "models" / "a" / "model.bin").write_bytes(b"model")
    run("add", "data", "models/a/model.bin")
    run("commit", "-m", "first")
    git("tag", "v1")
    (data / "table.csv").write_text("a,b\n3,4\n")
    run("add", "data")
    run("commit", "-m", "second")
    shutil.rmtree(data)
    shutil.rmtree(folder / "models")
    return folder


@pytest.fixture
def project(first, tmp_path):
    return shutil.copytree(first, tmp_path / "repo", symlinks=True)


@pytest.fixture
def run_mlvc(project):
    return Mlvc(cwd=project)


@pytest.fixture
def files(project):
    return fsspec.filesystem("mlvc", repo=project)


def test_the_protocol_is_registered_and_every_way_in_gives_the_bytes(project, files):
    """By URL, by file system, and by `mlvc.open`; from any directory."""
    assert isinstance(files, MlvcFileSystem)
    with fsspec.open("mlvc://data/table.csv", "rb", repo=str(project)) as file:
        assert b"a,b\n3,4\n" == file.read()
    with fsspec.open("mlvc://data/table.csv", "rt", repo=str(project), rev="v1") as file:
        assert "a,b\n1,2\n" == file.read()
    with mlvc.open("data/table.csv", rev="v1", repo=project) as file:
        assert b"a,b\n1,2\n" == file.read()
    with mlvc.open("data/table.csv", mode="r", repo=project) as file:
        assert ["a,b\n", "3,4\n"] == list(file)
    assert random.Random(1).randbytes(3 << 20) == files.cat_file("data/large.bin")


def test_directories_are_listed_with_types_and_ids(files):
    """Also those above a tracked path, which no tree describes; names come back as they were given."""
    assert ["data", "models"] == files.ls("", detail=False)
    assert ["models/a"] == files.ls("mlvc://models/", detail=False)
    assert [] == files.ls("data/empty")
    assert ("file", 5) == (files.info("models/a/model.bin")["type"], files.info("models/a/model.bin")["size"])
    assert ("directory", None) == (files.info("models")["type"], files.info("models")["id"])
    assert ("link", True) == (
        files.info("data/deep/link.csv")["type"],
        files.info("data/deep/link.csv")["islink"],
    )
    assert True is files.exists("data/table.csv")
    assert False is files.exists("data/table.csv/x")
    assert b"not UTF-8" == files.cat_file("data/" + os.fsdecode(b"caf\xe9"))
    assert ["data/table.csv"] == files.glob("data/*.csv")
    assert "b3:" == files.ukey("data/table.csv")[:3]


def test_a_file_is_read_in_any_order(files):
    """Seeks, lines, and reads past the end, as of any other file."""
    data = random.Random(1).randbytes(3 << 20)
    with files.open("data/large.bin") as file:
        assert (3 << 20, False) == (file.size, file.proven)
        assert data[-10:] == (file.seek(-10, os.SEEK_END), file.read())[1]
        assert b"" == file.read(10)
        file.seek(1 << 20)
        assert (1 << 20, data[1 << 20 : (1 << 20) + 5]) == (file.tell(), file.read(5))
        assert b"" == (file.seek(10 << 20), file.read())[1]
        with pytest.raises(OSError, match="Invalid argument"):
            file.seek(-1)
        file.seek(0)
        assert (data, True) == (file.read(), file.proven)


def seek_natively(file, position):
    """Seeks as native code does from a thread of its own: without a Python frame below."""
    _thread.start_new_thread(file.seek, (position,))
    while file.tell() != position:
        time.sleep(0.001)


def test_threads_of_native_code_do_not_move_each_other(files):
    """Each seeks and then reads, and another one seeks in between, as in DuckDB."""
    data = random.Random(1).randbytes(3 << 20)
    with files.open("data/large.bin") as file:
        file.seek(1000)
        seek_natively(file, 2_000_000)
        assert data[1000:1010] == file.read(10)
        seek_natively(file, 50)
        assert data[1010:1020] == file.read(10)
        buffer = bytearray(10)
        file.seek(5)
        seek_natively(file, 1 << 20)
        assert (10, data[5:15]) == (file.readinto(buffer), buffer)


def test_a_file_is_handed_from_thread_to_thread(files):
    """As an asynchronous program does: whichever thread comes next goes on where the last one stopped."""
    data = random.Random(1).randbytes(3 << 20)
    with (
        files.open("data/large.bin") as file,
        ThreadPoolExecutor(1) as one,
        ThreadPoolExecutor(1) as other,
    ):
        assert 3 << 20 == one.submit(file.seek, 0, os.SEEK_END).result()
        assert 7 == other.submit(file.seek, 7).result()
        assert data[7:17] == one.submit(file.read, 10).result()
        assert data[17:27] == other.submit(file.read, 10).result()
        # Also where native code opened it: one that did not seek reads on from the position of the file.
        seek_natively(file, 100)
        assert data[100:110] == one.submit(file.read, 10).result()
        assert data[110:120] == other.submit(file.read, 10).result()


def test_a_link_opens_what_it_leads_to_and_nothing_outside(files):
    """A link of a stranger's tree reads no file of this machine."""
    assert b"a,b\n3,4\n" == files.cat_file("data/deep/link.csv")
    for name in ("out", "absolute", "round"):
        with pytest.raises(MlvcError, match=name):
            files.open(f"data/deep/{name}")
    with pytest.raises(FileNotFoundError):
        files.open("data/deep/gone")


def test_errors_are_those_of_files(project, files):
    """What a program that knows `open` expects."""
    for path in ("data/nothing", "nothing", "data/table.csv/below"):
        with pytest.raises(FileNotFoundError):
            files.open(path)
    with pytest.raises(FileNotFoundError):
        files.info("data/nothing")
    with pytest.raises(IsADirectoryError):
        files.open("data")
    with pytest.raises(ValueError, match="not for reading"):
        mlvc.open("data/table.csv", mode="w", repo=project)
    with pytest.raises(MlvcError, match="v9"):
        mlvc.open("data/table.csv", rev="v9", repo=project)
    for write in (
        lambda: files.open("data/new", "wb"),
        lambda: files.pipe("data/new", b""),
        lambda: files.rm("data/table.csv"),
        lambda: files.mkdir("new"),
        lambda: files.touch("data/new"),
        lambda: files.mv("data/table.csv", "data/other"),
        lambda: files.put(str(project / "mlvc.lock"), "data/new"),
    ):
        with pytest.raises(OSError, match="read-only") as caught:
            write()
        assert errno.EROFS == caught.value.errno


def test_it_travels_to_other_processes(project, files, monkeypatch, tmp_path):
    """As the schedulers and data loaders that use fsspec send it, to whom the working directory is another."""
    monkeypatch.chdir(project)
    sent = [files, fsspec.filesystem("mlvc"), fsspec.filesystem("mlvc", repo="."), MlvcFileSystem(".", "v1")]
    data = [pickle.dumps(each) for each in sent]
    monkeypatch.chdir(tmp_path)

    for each in map(pickle.loads, data):
        assert b"model" == each.cat_file("models/a/model.bin")
    assert ["v1"] == [each._rev for each in map(pickle.loads, data[3:])]


def read_on(file):
    """Runs in another process."""
    return file.path, file.size, file.tell(), file.read(10), file.proven


def test_an_open_file_travels_to_other_processes(project, files, run_mlvc, monkeypatch, tmp_path):
    """At its position; the same bytes, whatever the lock says by then. Nothing is opened before somebody reads."""
    data = random.Random(1).randbytes(3 << 20)
    file = files.open("data/large.bin")
    file.seek(2 << 20)
    file.read(3)
    opened = mlvc.open("data/table.csv", repo=project)
    (project / "data").mkdir()
    (project / "data" / "table.csv").write_text("a,b\n5,6\n")
    run_mlvc("add", "data")
    monkeypatch.chdir(tmp_path)

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in range(2):
            position = (2 << 20) + 3
            assert ("data/large.bin", 3 << 20, position, data[position:][:10], False) == pool.submit(
                read_on, file
            ).result()
            assert ("data/table.csv", 8, 0, b"a,b\n3,4\n", True) == pool.submit(read_on, opened).result()

    assert data[position:][:10] == file.read(10)
    travelled = pickle.loads(pickle.dumps([file, opened]))
    assert travelled[0].fs is travelled[1].fs
    project.rename(tmp_path / "away")
    assert [position + 10, 8] == [travelled[0].seek(0, os.SEEK_CUR), travelled[1].seek(0, os.SEEK_END)]
    with pytest.raises(MlvcError):
        travelled[0].read(1)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(file)


def test_the_present_lock_is_seen_again_after_a_change(project, files, run_mlvc):
    """`mlvc.open` looks each time; a file system when it is told to."""
    assert b"model" == files.cat_file("models/a/model.bin")
    (project / "models" / "a").mkdir(parents=True)
    (project / "models" / "a" / "model.bin").write_bytes(b"newer")
    run_mlvc("add", "models/a/model.bin")

    with mlvc.open("models/a/model.bin", repo=project) as file:
        assert b"newer" == file.read()
    assert b"model" == files.cat_file("models/a/model.bin")
    files.invalidate_cache()
    assert b"newer" == files.cat_file("models/a/model.bin")


@pytest.fixture
def clone(project, run_mlvc, tmp_path):
    """A git clone without any data, and a remote that has it."""
    run_mlvc("remote", "add", "team", tmp_path / "far")
    run_mlvc("push")
    subprocess.run(["git", "clone", "--quiet", project, tmp_path / "clone"], check=True)
    Mlvc(cwd=tmp_path / "clone")("remote", "add", "team", tmp_path / "far")
    return tmp_path / "clone"


def test_a_clone_reads_what_only_the_remote_has_and_keeps_it(clone, tmp_path):
    """Without a pull; a second program finds it in the store, even with the remote gone."""
    with mlvc.open("data/deep/link.csv", rev="v1", repo=clone) as file:
        assert b"a,b\n1,2\n" == file.read()
    files = fsspec.filesystem("mlvc", repo=clone)
    with files.open("data/large.bin") as file:
        file.seek(2 << 20)
        assert random.Random(1).randbytes(3 << 20)[2 << 20 :][:1000] == file.read(1000)
    assert 2 == len(files.cat(["data/table.csv", "models/a/model.bin"]))
    files._snapshot.store.keep()
    (tmp_path / "far").rename(tmp_path / "away")

    again = fsspec.filesystem("mlvc", repo=clone)

    assert [b"a,b\n3,4\n", b"model"] == list(again.cat(["data/table.csv", "models/a/model.bin"]).values())
    with again.open("data/large.bin") as file, pytest.raises(MlvcError):
        file.read()


def test_a_program_that_ends_keeps_what_it_read(clone, tmp_path):
    """Nothing has to be closed for it."""
    script = "import mlvc, sys; print(len(mlvc.open('data/table.csv', repo=sys.argv[1]).read()))"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script, clone], check=True, capture_output=True, text=True, cwd=tmp_path
        )
        assert ("8\n", "") == (done.stdout, done.stderr)
        if (tmp_path / "far").exists():
            (tmp_path / "far").rename(tmp_path / "away")
