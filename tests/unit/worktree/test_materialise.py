"""Making the files what a lock says, without losing or leaking a byte."""

import os
import stat
import struct
import subprocess

import pytest

from mlvc.errors import FormatError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.tree import Kind, TreeEntry
from mlvc.worktree.contents import ObstructedError
from mlvc.worktree.plan import MissingObjectsError
from mlvc.worktree.scan import FileChangedError, TooDeepError
from mlvc.worktree.worktree import UnsavedFilesError

REAL_DIRECTORIES = [
    "/usr/sbin",
    "/usr/lib/git-core",
    "/usr/share/zoneinfo",
    "/usr/lib/python3",
    "/usr/share/perl",
]


def listing(top):
    """Everything below a directory: kind, executable bit and contents by path."""
    found = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                content = ("link", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                content = ("directory",)
            else:
                with open(path, "rb") as file:
                    content = ("file", bool(status.st_mode & 0o100), file.read())
            found[os.path.relpath(path, os.fsencode(top))] = content
    return found


@pytest.fixture
def entry(place):
    place.write("data/a", b"old a")
    place.write("data/sub/b", b"old b")
    place.write("data/tool", b"#!", executable=True)
    (place.root / "data/empty/er").mkdir(parents=True)
    (place.root / "data/link").symlink_to("sub/b")
    place.write(os.fsdecode(b"data/\xff\nodd"), b"odd")
    place.settle()
    return place.capture("data")


def test_a_round_trip(place, another, entry):
    """A second work tree gets the same files, bits, links and empty directories; then nothing differs."""
    result = another.materialise([entry])
    assert listing(place.root / "data") == listing(another.root / "data")
    assert (result.written, result.deleted, result.unchanged) == (5, 0, 0)
    assert another.differences(entry) == []
    assert another.bytes_read(lambda: another.differences(entry)) == 0
    assert another.capture("data") == entry


def test_real_files_round_trip(place, another):
    """Thousands of files of this machine: contents, executable bits, links and directories."""
    sources = [path for path in REAL_DIRECTORIES if os.path.isdir(path)]
    subprocess.run(["cp", "-r", "--no-dereference", *sources, place.root], check=True)
    (place.root / "git-core/empty").mkdir(parents=True)
    entries = [place.capture(os.path.basename(path)) for path in sources]
    assert sum(entry.files for entry in entries) > 1_000
    another.materialise(entries)
    for entry in entries:
        assert listing(place.root / entry.name) == listing(another.root / entry.name)
        assert another.differences(entry) == []


def test_only_what_differs_is_written(place, entry):
    """Unchanged files keep their inode."""
    place.write("data/a", b"new a")
    new = place.capture("data")
    inode = (place.root / "data/sub/b").stat().st_ino
    result = place.materialise([entry], [new])
    assert (result.written, result.deleted, result.unchanged) == (1, 0, 4)
    assert (place.root / "data/a").read_bytes() == b"old a"
    assert (place.root / "data/sub/b").stat().st_ino == inode
    assert place.materialise([entry], [entry]).written == 0


@pytest.mark.parametrize("settled", [True, False])
def test_going_to_and_fro(place, entry, settled):
    """Whether the stat cache tells that the files are those of a tree or they are read: the same is done."""
    place.write("data/a", b"new a")
    place.write("data/empty/er/full", b"full")
    place.write("data/more/c", b"c")
    (place.root / "data/tool").chmod(0o644)
    (place.root / "data/link").unlink()
    place.write("data/link/inner", b"now a directory")
    place.settle()
    new = place.capture("data")
    wanted = listing(place.root / "data")
    if settled:
        place.settle()
        assert new == place.capture("data")
    results = []
    for target, current in ((entry, new), (new, entry)):
        result = place.materialise([target], [current])
        results.append((result.written, result.deleted, result.unchanged))
        assert place.differences(target) == []
        place.settle()
    assert [(3, 3, 2), (5, 1, 2)] == results
    assert listing(place.root / "data") == wanted


def test_an_executable_bit_is_set_without_writing_the_bytes(place, entry):
    """The inode stays, the bit changes, in both directions."""
    inode = (place.root / "data/a").stat().st_ino
    (place.root / "data/a").chmod(0o755)
    (place.root / "data/tool").chmod(0o644)
    assert place.materialise([entry], [entry]).written == 2
    assert (place.root / "data/a").stat().st_ino == inode
    assert not (place.root / "data/a").stat().st_mode & 0o111
    assert (place.root / "data/tool").stat().st_mode & 0o100
    assert place.differences(entry) == []


def test_files_that_the_target_lacks_are_deleted_and_others_stay(place, entry):
    """Deleted: what the old lock brought. Kept: files that mlvc never stored, and their directories."""
    place.write("data/later/c", b"c")
    place.write("data/later2/d", b"d")
    newer = place.capture("data")
    place.write("data/later2/notes", b"never stored")
    place.write("data/scratch", b"never stored either")
    result = place.materialise([entry], [newer])
    assert result.deleted == 2
    assert not (place.root / "data/later").exists()
    assert sorted(os.listdir(place.root / "data/later2")) == ["notes"]
    assert (place.root / "data/scratch").read_bytes() == b"never stored either"


def test_unsaved_bytes_stop_everything(place, entry):
    """Nothing at all is touched when one file would be lost; the error names all such files (promise 5)."""
    place.write("data/a", b"precious a")
    place.write("data/sub/b", b"precious b")
    (place.root / "data/tool").unlink()
    before = listing(place.root)
    with pytest.raises(UnsavedFilesError) as caught:
        place.materialise([entry], [entry])
    assert caught.value.paths == (b"data/a", b"data/sub/b")
    assert "mlvc add" in caught.value.hint
    assert {path: item for path, item in listing(place.root).items() if not path.startswith(b".git")} == {
        path: item for path, item in before.items() if not path.startswith(b".git")
    }


def test_force_saves_the_old_bytes_first(place, entry):
    """With force the files are as wanted, and the journal names objects that hold what was there."""
    place.write("data/a", b"precious a")
    result = place.materialise([entry], [entry], force=True)
    assert (place.root / "data/a").read_bytes() == b"old a"
    (saved,) = place.worktree.saved()
    assert (saved,) == result.saved
    assert (saved.path, place.store.read_blob(saved.id)) == (b"data/a", b"precious a")


def test_bytes_that_the_store_has_may_be_overwritten(place, entry):
    """A file whose bytes are in an object is no reason to stop, although no lock names it."""
    place.write("data/a", b"stored under another name")
    place.write("elsewhere", b"stored under another name")
    place.capture("elsewhere")
    assert place.materialise([entry], [entry]).written == 1
    assert (place.root / "data/a").read_bytes() == b"old a"


def test_a_modified_file_is_not_deleted(place, entry):
    """Removing an entry refuses while a file of it holds unsaved bytes, and deletes all of it otherwise."""
    place.write("data/a", b"precious")
    with pytest.raises(UnsavedFilesError):
        place.worktree.remove(entry)
    assert (place.root / "data/sub/b").exists()
    place.write("data/a", b"old a")
    assert place.worktree.remove(entry).deleted == 5
    assert not (place.root / "data").exists()


def test_files_and_directories_change_places(place):
    """A directory where a file was, a file where a directory was, and a link where either was."""
    place.write("data/x", b"file")
    place.write("data/y/inner", b"inner")
    place.write("data/z/inner", b"z")
    first = place.capture("data")
    for command in (["rm", "-r", "x", "y", "z"], ["mkdir", "x"]):
        subprocess.run(command, cwd=place.root / "data", check=True)
    place.write("data/x/inner", b"now inside")
    place.write("data/y", b"now a file")
    (place.root / "data/z").symlink_to("x")
    second = place.capture("data")
    wanted = listing(place.root / "data")
    place.materialise([first], [second])
    assert place.differences(first) == []
    place.materialise([second], [first])
    assert listing(place.root / "data") == wanted


def test_a_directory_of_unsaved_files_is_not_replaced_by_a_file(place):
    """What stands below a path in the way is unsaved too."""
    place.write("data", b"file")
    entry = place.capture("data")
    (place.root / "data").unlink()
    place.write("data/deep/notes", b"precious")
    with pytest.raises(UnsavedFilesError) as caught:
        place.materialise([entry], [entry])
    assert caught.value.paths == (b"data/deep/notes",)
    place.materialise([entry], [entry], force=True)
    assert (place.root / "data").read_bytes() == b"file"
    assert [saved.path for saved in place.worktree.saved()] == [b"data/deep/notes"]


def test_a_tracked_path_moves_below_itself(place):
    """A lock with a/b follows a lock with a, and back."""
    place.write("a", b"file a")
    first = place.capture("a")
    (place.root / "a").unlink()
    place.write("a/b", b"file a/b")
    second = place.capture("a/b")
    place.materialise([first], [second])
    assert (place.root / "a").read_bytes() == b"file a"
    place.materialise([second], [first])
    assert (place.root / "a/b").read_bytes() == b"file a/b"


def test_missing_objects_are_found_before_anything_is_touched(place, entry):
    """All paths without contents are named, and no file changed."""
    place.write("data/a", b"stored a")
    newer = place.capture("data")
    for blob in (b"old a", b"odd"):
        del place.store.objects[BlobId.of(blob)]
    (place.root / os.fsdecode(b"data/\xff\nodd")).unlink()
    with pytest.raises(MissingObjectsError) as caught:
        place.materialise([entry], [newer])
    assert caught.value.paths == [b"data/a", b"data/\xff\nodd"]
    assert (place.root / "data/a").read_bytes() == b"stored a"


def test_a_missing_tree_is_a_missing_object(place, another, entry):
    """A directory whose tree is not here is named."""
    del place.store.objects[entry.id]
    with pytest.raises(MissingObjectsError) as caught:
        another.materialise([entry])
    assert caught.value.paths == [b"data"]
    assert not (another.root / "data").exists()


def test_special_files_in_the_way(place, entry):
    """A pipe is neither opened, nor overwritten, nor deleted, force or not."""
    (place.root / "data/a").unlink()
    os.mkfifo(place.root / "data/a")
    for force in (False, True):
        with pytest.raises(ObstructedError, match="data/a"):
            place.materialise([entry], [entry], force=force)
    assert stat.S_ISFIFO((place.root / "data/a").lstat().st_mode)


def test_a_file_that_appears_meanwhile_is_not_overwritten(place, another, entry):
    """An edit between the check and the write is seen, and stays."""

    class Appearing:
        def __init__(self, store):
            self.store = store

        def __getattr__(self, name):
            return getattr(self.store, name)

        def iter_blob(self, blob):
            another.write("data/tool", b"precious")
            return self.store.iter_blob(blob)

    another.store = Appearing(another.store)
    with pytest.raises(FileChangedError, match="data/tool"):
        another.materialise([entry])
    assert (another.root / "data/tool").read_bytes() == b"precious"
    assert not list((another.root / "data").glob(".mlvc-tmp-*"))


def test_damage_is_never_shown(place, another, entry):
    """When the store fails in the middle of a file, neither the file nor a temporary one is left."""

    class Damaged:
        def __init__(self, store):
            self.store = store

        def __getattr__(self, name):
            return getattr(self.store, name)

        def iter_blob(self, blob):
            yield b"ol"
            raise FormatError("damaged")

    another.store = Damaged(another.store)
    with pytest.raises(FormatError):
        another.materialise([entry])
    assert [
        path for path, item in listing(another.root).items() if item[0] == "file" and b".git" not in path
    ] == []


# ------------------------------------------------------------------------------------ hostile trees


def raw_tree(store, *items):
    """Stores a tree without any check of its names, as an attacker would."""
    data = struct.pack("<8sHI", b"MLVCTREE", 1, len(items))
    for name, kind, item_id, size in items:
        data += struct.pack("<BH", kind, len(name)) + name + struct.pack("<32sQ", item_id.digest, size)
    tree = TreeId.of(data)
    store.objects[tree] = data
    return tree


@pytest.mark.parametrize(
    "name", [b"..", b".", b"", b"a/b", b"/etc", b".git", b".GIT", b".Git ", b".mlvc", b"git~1", b"a\0b"]
)
@pytest.mark.parametrize("kind", [Kind.FILE, Kind.DIRECTORY])
def test_hostile_names_write_nothing(place, another, name, kind):
    """A tree with a name that could reach outside is refused before anything is written."""
    place.write("evil", b"evil")
    blob = place.capture("evil").id
    inner = raw_tree(place.store, (b"hooks", Kind.FILE, blob, 4)) if kind is Kind.DIRECTORY else blob
    tree = raw_tree(place.store, *sorted([(name, kind, inner, 4), (b"ok", Kind.FILE, blob, 4)]))
    before = listing(another.root)
    with pytest.raises(FormatError):
        another.materialise([TrackedPath(b"data", Kind.DIRECTORY, tree, 2, 8)])
    with pytest.raises(FormatError):
        another.worktree.export(tree, another.root / "out")
    assert {path for path in listing(another.root) if path != b"out"} - before.keys() == set()


@pytest.mark.parametrize(
    "path", [b"../evil", b"/tmp/evil", b".git/hooks/pre-commit", b".GIT/x", b"a/../../evil"]
)
def test_hostile_lock_paths_write_nothing(place, path):
    """A lock path is checked as tree names are."""
    place.write("evil", b"evil")
    blob = place.capture("evil").id
    for target, current in ([path, None], [None, path]):
        with pytest.raises(FormatError):
            place.materialise(
                [TrackedPath(target, Kind.FILE, blob, 1, 4)] if target else [],
                [TrackedPath(current, Kind.FILE, blob, 1, 4)] if current else [],
            )


def test_a_link_and_then_a_file_below_it(place, another, tmp_path):
    """A tree that is replaced by one with a link in a directory's place leads no later write outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    place.write("evil", b"evil")
    blob = place.capture("evil").id
    (place.root / "lnk").symlink_to(outside)
    link = place.capture("lnk").id
    inner = raw_tree(place.store, (b"f", Kind.FILE, blob, 4))
    first = TrackedPath(b"d", Kind.DIRECTORY, raw_tree(place.store, (b"x", Kind.SYMLINK, link, 1)), 1, 1)
    second = TrackedPath(b"d", Kind.DIRECTORY, raw_tree(place.store, (b"x", Kind.DIRECTORY, inner, 4)), 1, 4)
    both = raw_tree(place.store, (b"x", Kind.SYMLINK, link, 1), (b"x", Kind.DIRECTORY, inner, 4))
    another.materialise([first])
    another.materialise([second], [first])
    with pytest.raises(FormatError):
        another.materialise([TrackedPath(b"e", Kind.DIRECTORY, both, 2, 5)])
    assert os.listdir(outside) == []
    assert (another.root / "d/x/f").read_bytes() == b"evil"


@pytest.mark.parametrize("force", [False, True])
def test_a_link_of_the_user_s_on_the_way_is_not_followed(place, another, tmp_path, force):
    """A tracked path below a link in the work tree is refused, and the link stays."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"victim")
    place.write("a/b", b"evil")
    entry = place.capture("a/b")
    (another.root / "a").symlink_to(outside)
    with pytest.raises(ObstructedError):
        another.materialise([entry], force=force)
    assert another.materialise([], [TrackedPath(b"a/victim", Kind.FILE, entry.id, 1, 4)]).deleted == 0
    assert listing(outside) == {b"victim": ("file", False, b"victim")}
    assert (another.root / "a").is_symlink()


def test_names_that_differ_by_case_are_two_files(place, another):
    """On a file system that tells them apart both are restored."""
    place.write("data/Name", b"1")
    place.write("data/name", b"2")
    another.materialise([place.capture("data")])
    assert listing(another.root / "data") == {b"Name": ("file", False, b"1"), b"name": ("file", False, b"2")}


def test_a_tree_of_absurd_depth_is_refused(place, another):
    """Thousands of nested trees are one clear error, before anything is written."""
    tree = raw_tree(place.store)
    for _ in range(3_000):
        tree = raw_tree(place.store, (b"d", Kind.DIRECTORY, tree, 0))
    with pytest.raises(TooDeepError):
        another.materialise([TrackedPath(b"data", Kind.DIRECTORY, tree, 0, 0)])
    assert not (another.root / "data").exists()


# ------------------------------------------------------------------------------ export and journal


def test_export_of_a_tree_and_of_entries(place, tmp_path, entry):
    """A tree's entries come to stand in the directory, an entry at its path below it; nothing is overwritten."""
    place.write("code/train.py", b"import x")
    code = place.capture("code")
    out = tmp_path / "a/new/place"
    place.worktree.export(code.id, out)
    place.worktree.export(entry, out)
    assert listing(out / "data") == listing(place.root / "data")
    assert (out / "train.py").read_bytes() == b"import x"
    (out / "train.py").write_bytes(b"mine")
    with pytest.raises(FileChangedError, match=r"train\.py"):
        place.worktree.export(code.id, out)
    assert (out / "train.py").read_bytes() == b"mine"


def test_export_checks_for_missing_objects_first(place, tmp_path, entry):
    """Nothing is written where something is missing."""
    del place.store.objects[BlobId.of(b"old a")]
    with pytest.raises(MissingObjectsError):
        place.worktree.export(entry, tmp_path / "out")
    assert listing(tmp_path / "out") == {}


def test_existing_outputs_are_saved_once(place):
    """What stands at the paths is stored and named in the journal, in order and without repetition."""
    place.write("out/model", b"v1")
    with place.store.writer() as writer:
        saved = place.worktree.save_existing([b"out/model", b"metrics.json"], writer)
        assert list(saved) == [b"out/model"]
        assert place.store.has_blob(BlobId.of(b"v1"))  # durable before the context ends
        place.worktree.save_existing([b"out/model"], writer)
        place.write("out/model", b"v2")
        place.worktree.save_existing([b"out", b"out/model"], writer)
    assert [(entry.path, entry.kind) for entry in place.worktree.saved()] == [
        (b"out/model", Kind.FILE),
        (b"out", Kind.DIRECTORY),
        (b"out/model", Kind.FILE),
    ]
    assert (place.state / "saved.log").read_text().startswith("mlvc-saved 1\nfile b3:")


def test_the_journal_takes_any_name(place):
    """A line ends only at a newline, whatever the name holds."""
    name = os.fsdecode("line\u2028separator\x85\x0bend \xff".encode() + b"\xfe")
    place.write(name, b"x")
    with place.store.writer() as writer:
        place.worktree.save_existing([os.fsencode(name)], writer)
    assert [entry.path for entry in place.worktree.saved()] == [os.fsencode(name)]


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_a_hundred_thousand_files(place, another):
    """100,000 files survive storing, deleting and restoring."""
    for folder in range(400):
        top = place.root / f"data/{folder // 20}/{folder % 20}"
        top.mkdir(parents=True)
        for number in range(250):
            (top / f"{number}.jpg").write_bytes(b"%d %d" % (folder, number))
    entry = place.capture("data")
    assert entry.files == 100_000
    assert another.materialise([entry]).written == 100_000
    assert another.differences(entry) == []
    assert listing(place.root / "data") == listing(another.root / "data")


def test_a_tree_entry_is_what_its_tree_says(place, entry):
    """A lying size in a tree does not enter what is captured afterwards."""
    blob = BlobId.of(b"old a")
    with place.store.writer() as writer:
        tree = writer.add_tree([TreeEntry(b"a", Kind.FILE, blob, 999)])
    place.materialise([TrackedPath(b"other", Kind.DIRECTORY, tree, 1, 999)])
    place.settle()
    assert place.capture("other").size_bytes == 5


def test_half_written_files_of_a_killed_checkout_are_removed(place, entry):
    """Promise 7: the next checkout removes them wherever it looks, and keeps what only looks like one."""
    place.write("single")
    single = place.capture("single")
    place.materialise([entry, single])
    place.settle()
    place.materialise([entry, single])
    leftovers = [".mlvc-tmp-0123456789abcdef", "data/sub/.mlvc-tmp-0123456789abcdef"]
    for path in leftovers:
        place.write(path, b"half")
    place.write("data/.mlvc-tmp-notes", b"a person's")
    result = place.materialise([entry, single])
    assert (0, 0) == (result.written, result.deleted)
    assert [False, False] == [(place.root / path).exists() for path in leftovers]
    assert b"a person's" == (place.root / "data/.mlvc-tmp-notes").read_bytes()


@pytest.mark.parametrize(
    "path", [".mlvc-tmp-0123456789abcdef", "data/.mlvc-tmp-0123456789abcdef/notes", "data/sub"]
)
def test_what_the_next_checkout_would_remove_is_not_brought(place, path):
    """Promise 5: a tree cannot have a person write into what mlvc takes for its own half-written files."""
    with place.store.writer() as writer:
        blob = writer.add_blob(b"theirs")
        inner = writer.add_tree([TreeEntry(b".mlvc-tmp-0123456789abcdef", Kind.FILE, blob, 6)])
    entry = TrackedPath(os.fsencode(path), Kind.FILE, blob, 1, 6)
    if path == "data/sub":
        entry = TrackedPath(b"data/sub", Kind.DIRECTORY, inner, 1, 6)
    with pytest.raises(FormatError, match="mlvc-tmp-0123456789abcdef"):
        place.materialise([entry])
    assert [".git"] == os.listdir(place.root)
    place.worktree.export(inner, place.root / "out")
    assert b"theirs" == (place.root / "out/.mlvc-tmp-0123456789abcdef").read_bytes()
    place.write(path if "tmp" in path else "data/sub/.mlvc-tmp-0123456789abcdef/notes", b"mine")
    named = path if "tmp" in path else "data/sub/.mlvc-tmp-0123456789abcdef"
    with pytest.raises(FormatError, match="not finished"):
        place.capture(named)


def test_a_half_written_file_does_not_keep_its_directory(place, entry):
    """A directory that holds one is deleted, or gives way to a file, as if that were not there (promise 7)."""
    other = place.write("data/other", b"a file")
    with place.store.writer() as writer:
        blob = writer.add_blob(other.read_bytes())
    other.unlink()
    place.write("data/.mlvc-tmp-0123456789abcdef")
    place.write("data/sub/.mlvc-tmp-0123456789abcdef")
    target = TrackedPath(b"data", Kind.FILE, blob, 1, 6)
    place.materialise([target], [entry])
    assert b"a file" == (place.root / "data").read_bytes()
