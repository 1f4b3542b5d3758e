"""Storing files and directories."""

import os
import socket
import stat

import pytest
from blake3 import blake3

from mlvc.errors import FormatError, NotFoundError
from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import BlobId
from mlvc.model.tree import Kind
from mlvc.worktree.capture import UnstorableError
from mlvc.worktree.contents import hash_contents
from mlvc.worktree.scan import BeyondLinkError, FileChangedError, TooDeepError
from mlvc.worktree.trees import flatten

ODD_NAMES = [
    b"a space",
    b"a\nnewline",
    b"\xff\xfe not UTF-8",
    "é".encode(),
    "e\u0301".encode(),
    b"%41",
    b"-rf",
    b"\\",
]


def test_a_file_is_stored_under_the_blake3_of_its_bytes(place):
    """The entry of a file names its kind, id, size, and no run."""
    place.write("model.bin", b"weights")
    entry = place.capture("model.bin")
    assert (entry.path, entry.kind, entry.files, entry.size_bytes, entry.run) == (
        b"model.bin", Kind.FILE, 1, 7, None,
    )  # fmt: skip
    assert blake3(b"weights").digest() == entry.id.digest
    assert place.store.read_blob(entry.id) == b"weights"


def test_the_kinds_of_single_paths(place):
    """An executable and a link are kinds of their own; the link is not followed, and need not lead anywhere."""
    place.write("tool", executable=True)
    (place.root / "link").symlink_to("nowhere at all")
    assert place.capture("tool").kind is Kind.EXECUTABLE
    link = place.capture("link")
    assert link.kind is Kind.SYMLINK
    assert place.store.read_blob(link.id) == b"nowhere at all"


def test_a_directory_with_everything_that_a_tree_can_hold(place):
    """Nested and empty directories, odd names, links, empty files: all are in the tree, counted and summed up."""
    for name in ODD_NAMES:
        place.write(os.fsdecode(b"data/odd/" + name), name)
    place.write("data/empty file", b"")
    place.write("data/deep/er/tool", b"#!", executable=True)
    (place.root / "data/none/in here").mkdir(parents=True)
    (place.root / "data/link").symlink_to("deep/er")
    entry = place.capture("data")
    found = {path: (item.kind, item.size_bytes) for path, item in flatten(place.store, entry)}
    odd = {b"data/odd/" + name: (Kind.FILE, len(name)) for name in ODD_NAMES}
    odd_bytes = sum(map(len, ODD_NAMES))
    assert found == odd | {
        b"data": (Kind.DIRECTORY, odd_bytes + 9),
        b"data/odd": (Kind.DIRECTORY, odd_bytes),
        b"data/empty file": (Kind.FILE, 0),
        b"data/deep": (Kind.DIRECTORY, 2),
        b"data/deep/er": (Kind.DIRECTORY, 2),
        b"data/deep/er/tool": (Kind.EXECUTABLE, 2),
        b"data/none": (Kind.DIRECTORY, 0),
        b"data/none/in here": (Kind.DIRECTORY, 0),
        b"data/link": (Kind.SYMLINK, 7),
    }
    assert (entry.files, entry.size_bytes) == (len(ODD_NAMES) + 3, odd_bytes + 9)


def test_special_files_are_refused_all_at_once(place):
    """One error names every socket and pipe, and nothing is stored."""
    place.write("data/file")
    os.mkfifo(place.root / "data/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(place.root / "data/door"))
        with pytest.raises(UnstorableError) as caught:
            place.capture("data")
    assert caught.value.reasons == {b"data/pipe": "named pipe", b"data/door": "socket"}
    assert "data/pipe (named pipe)" in caught.value.message
    assert "data/door (socket)" in caught.value.message
    assert place.store.objects == {}


def test_a_single_special_file_is_refused(place):
    """A pipe is never opened, so the command does not hang."""
    os.mkfifo(place.root / "pipe")
    with pytest.raises(UnstorableError) as caught:
        place.capture("pipe")
    assert caught.value.reasons == {b"pipe": "named pipe"}


@pytest.mark.parametrize("name", [".git", ".GIT", ".mlvc", "git~1"])
def test_names_that_no_tree_may_hold_are_refused(place, name):
    """A repository inside the data is named, not stored."""
    place.write(f"data/sub/{name}/config")
    with pytest.raises(UnstorableError) as caught:
        place.capture("data")
    assert list(caught.value.reasons) == [os.fsencode(f"data/sub/{name}")]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", ".git/config", "a//b", "a/", "a\nb"])
def test_paths_that_cannot_be_tracked_are_refused(place, path):
    """A path is plain and relative."""
    with pytest.raises(FormatError):
        place.capture(path)


def test_a_missing_path(place):
    """The error names it, also where its directory is missing."""
    for path in ("nothing", "nor/thing"):
        with pytest.raises(NotFoundError, match=path):
            place.capture(path)


def test_a_path_through_a_link_is_refused(place, tmp_path):
    """No component of a tracked path is followed through a link."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_bytes(b"x")
    (place.root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BeyondLinkError, match="link/file"):
        place.capture("link/file")


def test_an_unreadable_file_is_named(place):
    """A file that the user may not read ends the command with its name."""
    place.write("data/secret").chmod(0)
    if os.geteuid() == 0:
        # Root may read everything, so a child plays another user; it tells what it saw by its exit status.
        os.chmod(place.root, 0o755)
        os.chown(place.root / "data", 65534, 65534)
        fd = os.open(place.root / "data", os.O_RDONLY)
        pid = os.fork()
        if pid == 0:
            os.setegid(65534)
            os.seteuid(65534)
            os._exit(
                23 if _is_refused(lambda: hash_contents(fd, "secret", b"data/secret", lambda _: None)) else 1
            )
        os.close(fd)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 23
    else:
        assert _is_refused(lambda: place.capture("data"))


def _is_refused(call):
    try:
        call()
    except FileUnreadableError as error:
        return "data/secret" in error.message
    except BaseException:  # noqa: BLE001  # in a forked child nothing may reach pytest
        return False
    return False


class ChangingWriter:
    """A writer in whose hands the file changes while it is being added, so many times."""

    def __init__(self, writer, file, times):
        self.writer, self.file, self.times = writer, file, times

    def __getattr__(self, name):
        return getattr(self.writer, name)

    def add_file(self, source, previous=None):
        return self.add_stream(source, previous)

    def add_stream(self, source, previous=None):
        result = self.writer.add_stream(source, previous)
        if self.times:
            self.times -= 1
            with self.file.open("ab") as file:
                file.write(b"more")
        return result


def test_a_file_that_changes_once_is_read_again(place):
    """The entry names bytes that the file really had at one time: the later ones."""
    file = place.write("log", b"x" * 100_000)
    with place.store.writer() as writer:
        entry = place.worktree.capture(b"log", ChangingWriter(writer, file, 1))
    assert BlobId.of(b"x" * 100_000 + b"more") == entry.id
    assert entry.size_bytes == 100_004


def test_a_file_that_keeps_changing_is_an_error(place):
    """After a few attempts the file is named."""
    file = place.write("data/log", b"x" * 100_000)
    with place.store.writer() as writer, pytest.raises(FileChangedError, match="data/log"):
        place.worktree.capture(b"data", ChangingWriter(writer, file, 99))


def test_directories_that_nest_too_deeply(place):
    """A tree of hundreds of levels is one clear error, not a crash."""
    fd = os.open(place.root, os.O_RDONLY)
    for _ in range(250):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(TooDeepError):
        place.capture("d")


def test_an_unchanged_directory_is_not_read_again(place):
    """The second capture reads no file and gives the same entry."""
    for number in range(20):
        place.write(f"data/{number % 3}/{number}", b"%d" % number)
    place.settle()
    first = place.capture("data")
    assert place.bytes_read(lambda: place.capture("data")) == 0
    assert place.capture("data") == first


def test_only_the_changed_file_is_read(place):
    """One changed file of many costs its own bytes."""
    for number in range(20):
        place.write(f"data/{number % 3}/{number}", b"0123456789")
    place.settle()
    before = place.capture("data")
    place.write("data/1/4", b"9876543210!")
    place.settle()
    after = None

    def capture():
        nonlocal after
        after = place.capture("data")

    assert place.bytes_read(capture) == 11
    assert after.id != before.id
    assert after.size_bytes == before.size_bytes + 1


def test_a_cached_file_that_the_store_lost_is_stored_again(place):
    """The stat cache is not believed where the store does not have what it names."""
    place.write("data/a", b"one")
    place.write("single", b"two")
    place.settle()
    entries = place.capture("data"), place.capture("single")
    place.store.objects.clear()
    assert (place.capture("data"), place.capture("single")) == entries
    assert place.store.read_blob(BlobId.of(b"one")) == b"one"
    assert place.store.read_blob(BlobId.of(b"two")) == b"two"
    assert place.store.has_tree(entries[0].id)


def test_a_change_within_one_tick_of_the_clock_is_seen(place):
    """Bytes that change without changing size or time stamps are noticed: a fresh file is not trusted (racy-clean)."""
    for attempt in range(50):
        file = place.write("data/file", b"%05d" % attempt)
        first = place.capture("data")
        with file.open("r+b") as handle:
            handle.write(b"other")
        assert place.capture("data").id != first.id
        assert place.differences(first) == [(b"data/file", "modified")]


def test_a_restored_mtime_does_not_hide_a_change(place):
    """Other bytes of the same size and with the old mtime are noticed by their ctime."""
    file = place.write("data/file", b"first")
    place.settle()
    entry = place.capture("data")
    status = file.stat()
    place.settle()
    file.write_bytes(b"other")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert place.differences(entry) == [(b"data/file", "modified")]
    assert place.capture("data").id != entry.id


def test_a_nested_capture_does_not_confuse_the_one_around_it(place):
    """Ids that were found below a directory do not stand in for its own."""
    place.write("data/sub/file", b"1")
    place.settle()
    outer = place.capture("data")
    place.write("data/sub/file", b"2")
    place.settle()
    place.capture("data/sub")
    assert place.capture("data").id != outer.id
    assert place.differences(outer) == [(b"data/sub/file", "modified")]


def test_half_written_files_of_a_killed_checkout_are_no_content(place):
    """What a crash left behind under a temporary name is neither stored nor reported."""
    place.write("data/file")
    entry = place.capture("data")
    place.write("data/.mlvc-tmp-0123456789abcdef")
    assert place.differences(entry) == []
    assert place.capture("data") == entry


def test_what_only_looks_half_written_is_content(place):
    """A person's file is stored and reported, however it is called; one that no tree can hold is refused."""
    place.write("data/file")
    place.write("data/.mlvc-tmp-notes")
    entry = place.capture("data")
    assert entry.files == 2
    place.write("data/.mlvc-tmp-0123456789ABCDEF")
    assert place.differences(entry) == [(b"data/.mlvc-tmp-0123456789ABCDEF", "added")]
    os.mkfifo(place.root / "data/.mlvc-tmp-0123456789abcdef")
    with pytest.raises(UnstorableError, match="named pipe"):
        place.capture("data")


def test_hard_links_become_files(place):
    """Two names of one file are two files."""
    place.write("data/a", b"x")
    os.link(place.root / "data/a", place.root / "data/b")
    assert place.capture("data").files == 2


def test_only_the_owner_s_bit_makes_an_executable(place):
    """Other mode bits are not kept."""
    file = place.write("tool")
    file.chmod(stat.S_IRUSR | stat.S_IXGRP | stat.S_IXOTH)
    assert place.capture("tool").kind is Kind.FILE


class GrowingWriter(ChangingWriter):
    """A writer that adds to the file, at each read, more than it read."""

    def add_stream(self, source, previous=None):
        file = self.file

        class Source:
            def read(self, size):
                data = source.read(size)
                with file.open("ab") as handle:
                    handle.write(b"y" * (len(data) + 1))
                return data

        return self.writer.add_stream(Source(), previous)


def test_a_file_that_grows_for_ever_ends(place):
    """Reading stops at the size that the file had when it was opened."""
    file = place.write("log", b"x" * 100_000)
    with place.store.writer() as writer, pytest.raises(FileChangedError, match="log"):
        place.worktree.capture(b"log", GrowingWriter(writer, file, 0))
