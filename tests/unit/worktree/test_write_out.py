"""Writing many files in several processes gives what writing them one by one gives."""

import errno
import os
import random
import signal
import stat
import time

import pytest

from mlvc import forks
from mlvc.errors import IntegrityError
from mlvc.store.local import LocalStore
from mlvc.worktree import write_out
from mlvc.worktree.apply import Applier
from mlvc.worktree.scan import FileChangedError
from mlvc.worktree.trees import flatten
from mlvc.worktree.worktree import UnsavedFilesError
from tests.unit.worktree.conftest import Place


@pytest.fixture(autouse=True, params=[7, 100], ids=["split", "whole"])
def _always_worth_it(request, monkeypatch):
    """Directories are split among tasks, or those without others in them are filled before they have a name."""
    monkeypatch.setattr(forks, "processors", lambda: 2)
    monkeypatch.setattr(write_out, "_WORTH_FILES", 1)
    monkeypatch.setattr(write_out, "_TASK_FILES", request.param)


whole_directories = pytest.mark.parametrize("_always_worth_it", [100], indirect=True, ids=["whole"])


@pytest.fixture
def origin(tmp_path):
    """A work tree over a store on disk, with files of all kinds and sizes."""
    place = Place(tmp_path / "origin", LocalStore.create(tmp_path / "store"))
    rng = random.Random(3)
    for number in range(60):
        place.write(f"data/{number % 4}/{number}.txt", b"line %d\n" % number * number)
        place.write(f"data/{number % 4}/deep/er/{number}", b"%d" % number)
    place.write("data/large", rng.randbytes(700_000))
    place.write("data/tool", b"#!", executable=True)
    (place.root / "data/link").symlink_to("tool")
    (place.root / "data/3/empty").mkdir()
    return place


@pytest.fixture
def target(tmp_path, origin):
    return Place(tmp_path / "target", origin.store)


def listing(root):
    """Returns every path below a directory with what it is."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[path.relative_to(root)] = os.readlink(path)
        else:
            found[path.relative_to(root)] = (
                path.stat().st_mode,
                path.read_bytes() if path.is_file() else None,
            )
    return found


def test_the_same_files(origin, target):
    """Files, links, bits and empty directories are the same; each is counted; afterwards nothing differs."""
    entry = origin.capture("data")
    result = target.materialise([entry])
    assert listing(origin.root / "data") == listing(target.root / "data")
    assert (entry.files, 0, 0) == (result.written, result.deleted, result.unchanged)
    assert entry.size_bytes == target.reporter.advanced
    assert target.differences(entry) == []


def test_files_among_others(origin, target):
    """In directories that are there, new files come, others stay, what changed is replaced, what went is deleted."""
    before = origin.capture("data")
    target.materialise([before])
    target.write("data/1/mine", b"mine")
    for number in range(100, 140):
        origin.write(f"data/{number % 4}/deep/{number}", b"new")
    origin.write("data/2/2.txt", b"changed")
    (origin.root / "data/0/0.txt").unlink()
    after = origin.capture("data")
    result = target.materialise([after], [before])
    assert (41, 1) == (result.written, result.deleted)
    assert target.differences(after) == [(b"data/1/mine", "added")]


def test_what_cannot_be_written_is_told(origin, target):
    """Damaged contents are not written, and named; everything else is there, and a second try says the same."""
    entry = origin.capture("data")
    damaged = 0
    for pack in origin.store.layout.packs.glob("*.pack"):
        data = bytearray(pack.read_bytes())
        at = data.find(b"line 59\n")
        if at >= 0:
            data[at] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(data)
            damaged += 1
    assert damaged == 1
    for _ in range(2):
        with pytest.raises(IntegrityError):
            target.materialise([entry])
        assert not (target.root / "data/3/59.txt").exists()


def test_nothing_is_written_through_a_link(origin, target, tmp_path):
    """A link that appears where a directory is wanted is not followed by any process."""
    entry = origin.capture("data")
    (tmp_path / "outside").mkdir()
    (target.root / "data").mkdir()
    (target.root / "data/1").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsavedFilesError, match="data/1"):
        target.materialise([entry])
    assert [] == list((tmp_path / "outside").iterdir())


def refuse(*_args, **_kwargs):
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


@pytest.mark.parametrize("refused", ["open_descriptors", "write_whole"])
def test_a_file_system_without_nameless_files(origin, target, monkeypatch, refused):
    """Where files cannot be made without a name, the same files are written under temporary names."""
    entry = origin.capture("data")
    monkeypatch.setattr(write_out, refused, refuse)
    assert entry.files == target.materialise([entry]).written
    assert listing(origin.root / "data") == listing(target.root / "data")


def test_the_umask_counts(origin, target):
    """New files and directories have no bits that the umask takes."""
    entry = origin.capture("data")
    before = os.umask(0o027)
    try:
        target.materialise([entry])
    finally:
        os.umask(before)
    assert 0o640 == stat.S_IMODE((target.root / "data/1/1.txt").stat().st_mode)
    assert 0o750 == stat.S_IMODE((target.root / "data/tool").stat().st_mode)
    assert 0o750 == stat.S_IMODE((target.root / "data/1").stat().st_mode)


@pytest.mark.parametrize("nameless", [True, False])
def test_a_killed_process(origin, target, monkeypatch, nameless):
    """The caller is told; every file that stands there is whole; a second checkout completes it."""
    entry = origin.capture("data")
    write, link = Applier.write, os.link

    def die(self, fd, name, *rest):
        if name == "30.txt":
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, fd, name, *rest)

    def die_before_it_has_a_name(source, name, **kwargs):
        if name == "30.txt":
            os.kill(os.getpid(), signal.SIGKILL)
        link(source, name, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Applier, "write", die)
        patch.setattr(os, "link", die_before_it_has_a_name)
        if not nameless:
            patch.setattr(write_out, "open_descriptors", refuse)
        with pytest.raises(forks.WorkerFailedError):
            target.materialise([entry])
    written = [path for path in (target.root / "data").rglob("*") if path.is_file() and path.name[0] != "."]
    assert written
    for path in written:
        assert (origin.root / path.relative_to(target.root)).read_bytes() == path.read_bytes()
    target.materialise([entry])
    assert target.differences(entry) == []


LEAF = "data/2/deep/er"


def kill_this_process(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def temporaries(root):
    """Returns the directories that are being filled."""
    return [path for path in root.rglob(".mlvc-tmp-*") if path.is_dir()]


def die_at(doomed, write):
    def die(directory, name, *rest):
        if name == doomed:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(directory, name, *rest)

    return die


@whole_directories
def test_a_process_that_is_killed_while_it_fills_a_directory(origin, target, monkeypatch):
    """Nothing of the directory is to be seen, not under another name either; a second checkout completes it."""
    entry = origin.capture("data")
    with monkeypatch.context() as patch:
        patch.setattr(write_out, "write_new", die_at("30", write_out.write_new))
        with pytest.raises(forks.WorkerFailedError):
            target.materialise([entry])
    assert not (target.root / LEAF).exists()
    assert temporaries(target.root) == []
    target.materialise([entry])
    assert target.differences(entry) == []


@whole_directories
def test_nothing_is_left_beside_a_tracked_directory(origin, target, monkeypatch):
    """What a killed checkout leaves lies in tracked directories, which git ignores, and nowhere else."""
    for number in range(40):
        origin.write(f"a/flat/{number}", b"%d" % number)
    entry = origin.capture("a/flat")
    monkeypatch.setattr(write_out, "new_directory", kill_this_process)
    assert 40 == target.materialise([entry]).written
    assert target.differences(entry) == []


@whole_directories
def test_all_processes_killed_while_one_fills_a_directory(origin, target, monkeypatch):
    """Promise 7: what is left is no content to anybody, and gone with the next checkout."""
    entry = origin.capture("data")
    with monkeypatch.context() as patch:
        patch.setattr(write_out, "write_new", die_at("30", write_out.write_new))
        patch.setattr(write_out, "_remove_unnamed", lambda *_: None)
        with pytest.raises(forks.WorkerFailedError):
            target.materialise([entry])
    # The other process may have been filling another one.
    (left,) = [path for path in temporaries(target.root) if path.parent == (target.root / LEAF).parent]
    assert not [path for path, _ in target.differences(entry) if b".mlvc-tmp-" in path]
    assert not [path for path, _ in flatten(target.store, target.capture("data")) if b".mlvc-tmp-" in path]
    (left / "a directory of somebody's").mkdir()
    target.materialise([entry])
    assert ["a directory of somebody's"] == [path.name for path in left.iterdir()]
    (left / "a directory of somebody's").rmdir()
    target.materialise([entry])
    assert temporaries(target.root) == []
    assert target.differences(entry) == []


@whole_directories
def test_no_room_while_a_directory_is_filled(origin, target, monkeypatch):
    """What was written of it makes room again, and its files are tried once more one by one."""
    entry = origin.capture("data")
    write_new = write_out.write_new

    def refuse_one(directory, name, mode, data):
        if name == "30":
            write_new(directory, name, mode, data[:1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_new(directory, name, mode, data)

    monkeypatch.setattr(write_out, "write_new", refuse_one)
    assert entry.files == target.materialise([entry]).written
    assert listing(origin.root / "data") == listing(target.root / "data")


@whole_directories
def test_a_directory_that_is_there_stays_the_same(origin, target):
    """A person's empty directory is filled, and keeps its rights."""
    entry = origin.capture("data")
    (target.root / LEAF).mkdir(parents=True)
    (target.root / LEAF).chmod(0o2750)
    before = (target.root / LEAF).stat()
    target.materialise([entry])
    after = (target.root / LEAF).stat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert target.differences(entry) == []


@whole_directories
def test_a_directory_that_appears_meanwhile_stays(origin, target, monkeypatch):
    """A file in a directory that somebody makes while it is being filled stays, beside those that belong there."""
    entry = origin.capture("data")
    write_new = write_out.write_new

    def interfere(directory, name, *rest):
        if name == "30":
            target.write(f"{LEAF}/mine", b"mine")
        return write_new(directory, name, *rest)

    monkeypatch.setattr(write_out, "write_new", interfere)
    target.materialise([entry])
    assert b"mine" == (target.root / LEAF / "mine").read_bytes()
    assert target.differences(entry) == [(f"{LEAF}/mine".encode(), "added")]
    assert temporaries(target.root) == []


@whole_directories
def test_an_interrupted_checkout_leaves_no_half_directory(origin, target, monkeypatch):
    """Whatever ends it in the first process, the others are ended first, and what they were filling is removed."""
    entry = origin.capture("data")
    write_new = write_out.write_new

    def wait(directory, name, *rest):
        if name == "30":
            time.sleep(60)
        return write_new(directory, name, *rest)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(write_out, "write_new", wait)
    monkeypatch.setattr(write_out, "_fill_in", interrupt)
    with pytest.raises(KeyboardInterrupt):
        target.materialise([entry])
    assert not (target.root / LEAF).exists()
    assert temporaries(target.root) == []


def test_a_file_that_appears_meanwhile_stays(origin, target, monkeypatch):
    """A file that somebody makes after the plan was made is not overwritten."""
    entry = origin.capture("data")
    fan_out = forks.fan_out

    def interfere(tasks, work):
        target.write("data/2/2.txt", b"mine")
        return fan_out(tasks, work)

    monkeypatch.setattr(write_out.forks, "fan_out", interfere)
    with pytest.raises(FileChangedError):
        target.materialise([entry])
    assert b"mine" == (target.root / "data/2/2.txt").read_bytes()
