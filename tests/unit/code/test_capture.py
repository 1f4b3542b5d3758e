"""The code tree: exactly the code, as the work tree has it."""

import os
import socket
import subprocess

import pytest

from mlvc.code import snapshot
from mlvc.fsio import FileUnreadableError
from mlvc.model.tree import Kind
from mlvc.store.local import LocalStore

TRAIN = {b"train.py": (Kind.FILE, b"print(1)\n")}


def test_clean(project):
    """Without edits the code is HEAD's, and not dirty."""
    code = project.capture()

    assert project.git("rev-parse", "HEAD") == code.sha
    assert "main" == code.branch
    assert not code.dirty
    assert () == code.omitted
    assert TRAIN == project.files(code)


def test_uncommitted_edits(project):
    """Edits are in the tree, staged or not; git's index and the files stay as they are."""
    project.write("staged.py", "staged")
    project.git("add", "staged.py")
    project.write("train.py", "edited")
    before = project.git("status", "--porcelain=v2"), (project.root / ".git" / "index").read_bytes()

    code = project.capture()

    assert code.dirty
    assert {
        b"staged.py": (Kind.FILE, b"staged"),
        b"train.py": (Kind.FILE, b"edited"),
    } == project.files(code)
    assert before == (project.git("status", "--porcelain=v2"), (project.root / ".git" / "index").read_bytes())


def test_the_same_code_is_the_same_tree(project):
    """Where the code stands in git does not matter to its tree."""
    project.write("train.py", "two")
    edited = project.capture()
    project.commit_all()

    committed = project.capture()

    assert edited.tree == committed.tree
    assert (True, False) == (edited.dirty, committed.dirty)


@pytest.mark.parametrize(
    ("committed", "now", "is_dirty"),
    [
        (None, "/model\n", False),
        (None, "/model\n/notes\n", True),
        ("*.pyc", "*.pyc\n/model\n", False),
        ("/old\n*.pyc\n", "/old\n*.pyc\n/model\n", False),
        ("*.pyc\n", "/model\n", True),
        ("*.pyc\n/old\n", "/old\n*.pyc\n/model\n", True),
    ],
)
def test_lines_of_our_own_are_no_edit(project, committed, now, is_dirty):
    """Every other line has to be HEAD's, in its order; the tree has the file as it stands."""
    if committed is not None:
        project.write(".gitignore", committed)
        project.commit_all()
    project.write(".gitignore", now)

    code = project.capture(own_lines={b".gitignore": {b"/model"}})

    assert is_dirty == code.dirty
    assert now.encode() == project.files(code)[b".gitignore"][1]


def test_lines_of_our_own_excuse_no_other_edit(project):
    """Neither in another file nor where the ignoring file was deleted."""
    project.write(".gitignore", "/model\n")
    project.write("sub/.gitignore", "/model\n")
    elsewhere = project.capture(own_lines={b".gitignore": {b"/model"}})
    project.commit_all()
    (project.root / ".gitignore").unlink()

    deleted = project.capture(own_lines={b".gitignore": {b"/model"}})

    assert (True, True) == (elsewhere.dirty, deleted.dirty)


def test_touched_but_equal(project):
    """A new modification time alone is no edit."""
    os.utime(project.root / "train.py", ns=(1, 1))

    assert not project.capture().dirty


def test_deleted_and_renamed(project):
    """A deleted file is absent; a renamed one is there under its new name."""
    project.write("gone.py")
    project.commit_all()
    (project.root / "gone.py").unlink()
    project.git("mv", "train.py", "learn.py")

    code = project.capture()

    assert code.dirty
    assert {b"learn.py": (Kind.FILE, b"print(1)\n")} == project.files(code)


def test_executables_and_symlinks(project):
    """The executable bit and links are kept; a link is not followed."""
    project.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (project.root / "link").symlink_to("train.py")
    (project.root / "dangling").symlink_to("/nowhere/at all")
    project.commit_all()

    code = project.capture()

    assert not code.dirty
    assert {
        **TRAIN,
        b"run.sh": (Kind.EXECUTABLE, b"#!/bin/sh\n"),
        b"link": (Kind.SYMLINK, b"train.py"),
        b"dangling": (Kind.SYMLINK, b"/nowhere/at all"),
    } == project.files(code)


def test_a_changed_executable_bit(project):
    """Making a file executable is an edit."""
    (project.root / "train.py").chmod(0o755)

    code = project.capture()

    assert code.dirty
    assert {b"train.py": (Kind.EXECUTABLE, b"print(1)\n")} == project.files(code)


def test_odd_names(project):
    """Newlines, tabs, quotes, blanks and bytes that are not UTF-8 survive, tracked or not."""
    names = [b"a\nb.py", b"tab\tin.py", b'"quoted".py', b"caf\xe9.py", b" x ", b"-> y", b"dir\nnewline/z.py"]
    top = os.fsencode(project.root)
    os.mkdir(top + b"/dir\nnewline")
    for name in names:
        with open(top + b"/" + name, "wb") as file:
            file.write(name)
    untracked = project.capture()
    project.commit_all()

    tracked = project.capture()

    expected = TRAIN | {name: (Kind.FILE, name) for name in names}
    assert expected == project.files(untracked)
    assert expected == project.files(tracked)
    assert (True, False) == (untracked.dirty, tracked.dirty)


def test_untracked_and_ignored(project):
    """An untracked script is code, and makes the code dirty; what git ignores is neither."""
    project.write(".gitignore", "*.log\n/build/\n")
    project.commit_all()
    project.write("new/script.py", "new")
    project.write("a.log")
    project.write("build/out.o")

    code = project.capture()

    assert code.dirty
    assert {*TRAIN, b".gitignore", b"new/script.py"} == project.files(code).keys()


SECRETS = [
    ".env",
    ".env.production",
    "server.pem",
    "SERVER.PEM",
    "private.key",
    "id_rsa",
    "sub/id_ed25519.pub",
    ".netrc",
    ".aws/credentials",
    "credentials.json",
    "infra/terraform.tfstate",
    "infra/terraform.tfstate.backup",
    ".env.d/token",
]


def test_secrets_are_left_out_and_named(project):
    """What looks like a secret is named and not stored, and leaves the code clean."""
    for name in SECRETS:
        project.write(name, "top secret")

    code = project.capture()

    assert tuple(f"{name}\tlooks like a secret" for name in sorted(SECRETS)) == code.omitted
    assert TRAIN == project.files(code)
    assert not code.dirty
    assert b"top secret" not in project.store.objects.values()


def test_a_tracked_file_is_code_whatever_its_name(project):
    """Who committed a file has decided that it is no secret."""
    project.write(".env", "public")
    project.commit_all()

    code = project.capture()

    assert () == code.omitted
    assert b".env" in project.files(code)


def test_large_untracked_files_are_left_out(project):
    """One file over 1 MB is named; a file of exactly 1 MB, and a large tracked one, are code."""
    project.write("tracked.bin", bytes(snapshot.LARGEST_UNTRACKED_BYTES + 1))
    project.commit_all()
    project.write("limit.bin", bytes(snapshot.LARGEST_UNTRACKED_BYTES))
    project.write("over.bin", bytes(snapshot.LARGEST_UNTRACKED_BYTES + 1))

    code = project.capture()

    assert ("over.bin\tlarger than 1 MB",) == code.omitted
    assert {b"tracked.bin", b"limit.bin", b"train.py"} == project.files(code).keys()


def test_many_untracked_files_are_left_out(project):
    """Together the untracked files stay under 20 MB, in the order of their names; a small one may still fit."""
    for number in range(21):
        project.write(f"{number:02}.bin", bytes([number]) * (snapshot.LARGEST_UNTRACKED_BYTES - 10))
    project.write("small.py", "x" * 100)

    code = project.capture()

    assert ("20.bin\tover 20 MB of untracked files",) == code.omitted
    assert b"small.py" in project.files(code)


def test_untracked_all(project):
    """`all` takes secrets and large files too."""
    project.write(".env")
    project.write("over.bin", bytes(snapshot.LARGEST_UNTRACKED_BYTES + 1))

    code = project.capture(untracked="all")

    assert () == code.omitted
    assert {b".env", b"over.bin", b"train.py"} == project.files(code).keys()


def test_untracked_none(project):
    """`none` neither takes nor names what git does not track."""
    project.write("new.py")

    code = project.capture(untracked="none")

    assert (False, ()) == (code.dirty, code.omitted)
    assert TRAIN == project.files(code)


def test_the_lock_is_no_code(project):
    """`mlvc.lock` at the top changes with each run of the same code; the settings are code."""
    project.write("mlvc.toml", "[project]\n")
    project.write("mlvc.lock", "one")
    project.write("sub/mlvc.lock", "another project's")
    project.commit_all()
    before = project.capture()
    project.write("mlvc.lock", "two")

    after = project.capture()

    assert before == after
    assert {b"mlvc.toml", b"sub/mlvc.lock", b"train.py"} == project.files(after).keys()


def test_tracked_data_is_no_code(project):
    """Data is left out with all below it, and is no edit; a name that only starts the same is code."""
    for name in ("data/a.csv", "data/sub/b.csv", "database.py", "model.bin"):
        project.write(name)

    code = project.capture(exclude=[b"data", b"model.bin"])

    assert () == code.omitted
    assert {b"database.py", b"train.py"} == project.files(code).keys()


def test_detached_head(project):
    """On a detached head the SHA is there and the branch is not."""
    project.git("checkout", "--quiet", "--detach")

    code = project.capture()

    assert (project.git("rev-parse", "HEAD"), None) == (code.sha, code.branch)


def test_unborn_branch(unborn):
    """Before the first commit the files are code without a SHA."""
    unborn.write("train.py", "print(1)\n")
    unborn.write("staged.py", "s")
    unborn.git("add", "staged.py")

    code = unborn.capture()

    assert (None, True, "main") == (code.sha, code.dirty, code.branch)
    assert TRAIN | {b"staged.py": (Kind.FILE, b"s")} == unborn.files(code)


def test_empty_repository(unborn):
    """No file at all is an empty tree."""
    code = unborn.capture()

    assert (None, False, {}) == (code.sha, code.dirty, unborn.files(code))


def test_linked_worktree(project, tmp_path):
    """Each worktree has its own files and its own HEAD."""
    linked = tmp_path / "linked"
    project.git("worktree", "add", "--quiet", "-b", "other", str(linked))
    (linked / "train.py").write_text("other\n")

    code = type(project)(linked).capture()

    assert (True, "other") == (code.dirty, code.branch)
    assert not project.capture().dirty


@pytest.fixture
def with_submodule(project, tmp_path):
    """The project with a submodule at lib/sub, which has a submodule of its own."""
    inner, middle = tmp_path / "inner", tmp_path / "middle"
    allow = ("-c", "protocol.file.allow=always")
    for root, name in ((inner, "inner.py"), (middle, "middle.py")):
        subprocess.run(["git", "init", "--quiet", "-b", "main", root], check=True)
        project.git("config", "user.name", "Test User", cwd=root)
        project.git("config", "user.email", "test@example.org", cwd=root)
        (root / name).write_text(name)
        project.git("add", name, cwd=root)
        project.git("commit", "--quiet", "--message", name, cwd=root)
    project.git(*allow, "submodule", "--quiet", "add", str(inner), "deep", cwd=middle)
    project.git("commit", "--quiet", "--message", "sub", cwd=middle)
    project.git(*allow, "submodule", "--quiet", "add", str(middle), "lib/sub")
    project.git(*allow, "submodule", "--quiet", "update", "--init", "--recursive")
    project.commit_all("submodule")
    return project


SUBMODULE_FILES = {
    b".gitmodules",
    b"lib/sub/.gitmodules",
    b"lib/sub/deep/inner.py",
    b"lib/sub/middle.py",
    b"train.py",
}


def test_submodules(with_submodule):
    """The files of submodules are code, all the way down."""
    code = with_submodule.capture()

    assert (False, ()) == (code.dirty, code.omitted)
    assert SUBMODULE_FILES == with_submodule.files(code).keys()


def test_edits_in_submodules(with_submodule):
    """An edit, a new script and a secret in a submodule count as they do outside."""
    with_submodule.write("lib/sub/deep/inner.py", "edited")
    with_submodule.write("lib/sub/new.py")
    with_submodule.write("lib/sub/.env")

    code = with_submodule.capture()

    assert (True, ("lib/sub/.env\tlooks like a secret",)) == (code.dirty, code.omitted)
    assert SUBMODULE_FILES | {b"lib/sub/new.py"} == with_submodule.files(code).keys()
    assert (Kind.FILE, b"edited") == with_submodule.files(code)[b"lib/sub/deep/inner.py"]


def test_a_submodule_at_another_commit(with_submodule):
    """A submodule that was moved makes the code dirty, although its own files are clean."""
    sub = with_submodule.root / "lib/sub"
    with_submodule.write("lib/sub/middle.py", "two")
    with_submodule.git(
        "-c", "user.name=T", "-c", "user.email=t@e", "commit", "--quiet", "-am", "two", cwd=sub
    )

    assert with_submodule.capture().dirty


def test_a_submodule_that_is_not_checked_out(with_submodule):
    """A submodule without files is named, and the repository around it is not mistaken for it."""
    with_submodule.git("submodule", "--quiet", "deinit", "--force", "lib/sub")

    code = with_submodule.capture()

    assert ("lib/sub\ta submodule that is not checked out",) == code.omitted
    assert {b".gitmodules", b"train.py"} == with_submodule.files(code).keys()


def test_another_repository_inside(project):
    """A repository below that is no submodule is named, not taken in."""
    other = project.root / "other"
    subprocess.run(["git", "init", "--quiet", other], check=True)
    (other / "file.py").write_text("x")

    code = project.capture()

    assert ("other/\tanother git repository",) == code.omitted
    assert TRAIN == project.files(code)


def test_line_ends_and_filters(project):
    """The bytes of the work tree count, not what git's filters make of them, and a filter is no edit."""
    project.git("config", "filter.upper.smudge", "tr a-z A-Z")
    project.git("config", "filter.upper.clean", "tr A-Z a-z")
    project.write(".gitattributes", "*.txt text eol=crlf\n*.up filter=upper\n")
    project.write("lines.txt", "one\ntwo\n")
    project.write("word.up", "word")
    project.commit_all()
    for name in ("lines.txt", "word.up"):
        (project.root / name).unlink()
    project.git("checkout", "--", "lines.txt", "word.up")

    code = project.capture()

    assert not code.dirty
    assert (Kind.FILE, b"one\r\ntwo\r\n") == project.files(code)[b"lines.txt"]
    assert (Kind.FILE, b"WORD") == project.files(code)[b"word.up"]


def test_a_link_in_place_of_a_directory(project, tmp_path):
    """Where a link replaced a tracked directory, the link is code and nothing behind it is."""
    project.write("lib/a.py", "mine")
    project.commit_all()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.py").write_text("not mine")
    (project.root / "lib" / "a.py").unlink()
    (project.root / "lib").rmdir()
    (project.root / "lib").symlink_to(tmp_path / "elsewhere")

    code = project.capture()

    assert code.dirty
    assert {**TRAIN, b"lib": (Kind.SYMLINK, os.fsencode(tmp_path / "elsewhere"))} == project.files(code)


def test_a_directory_in_place_of_a_file(project):
    """Where a directory replaced a tracked file, its files are code."""
    (project.root / "train.py").unlink()
    project.write("train.py/main.py", "x")

    assert {b"train.py/main.py": (Kind.FILE, b"x")} == project.files(project.capture())


def test_special_files(project):
    """A pipe or socket in place of a tracked file is named, and reading it does not hang."""
    project.write("pipe")
    project.write("sock")
    project.commit_all()
    (project.root / "pipe").unlink()
    os.mkfifo(project.root / "pipe")
    (project.root / "sock").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(project.root / "sock"))

        code = project.capture()

    assert ("pipe\tneither file nor symlink", "sock\tneither file nor symlink") == code.omitted
    assert TRAIN == project.files(code)


class Demoting:
    """A writer that stops being the superuser, who may read everything, once it has the first file."""

    def __init__(self, writer):
        self.writer = writer

    def add_blob(self, data):
        if os.geteuid() == 0:
            os.seteuid(65534)
        return self.writer.add_blob(data)


def test_a_file_that_cannot_be_read(project):
    """Code that cannot be read as a whole is an error that names the file, not a smaller tree."""
    project.write("zzz.py", "x").chmod(0)
    user = os.geteuid()
    try:
        with (
            project.store.writer() as writer,
            pytest.raises(FileUnreadableError, match=r"cannot read zzz\.py: Permission denied"),
        ):
            project.code.capture(Demoting(writer))
    finally:
        os.seteuid(user)


def test_deep_directories(project):
    """More levels than Python can recurse are a tree like any other."""
    depth = 1_200
    fd = os.open(project.root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with open(os.open("x.py", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd), "w") as file:
        file.write("deep")
    os.close(fd)

    code = project.capture()
    subprocess.run(["rm", "-rf", project.root / "d"], check=True)  # pytest would recurse into it.

    assert TRAIN | {b"d/" * depth + b"x.py": (Kind.FILE, b"deep")} == project.files(code)


def test_a_conflict(project):
    """During a merge with conflicts a file counts once, as the work tree has it."""
    project.git("checkout", "--quiet", "-b", "side")
    project.write("train.py", "side\n")
    project.commit_all()
    project.git("checkout", "--quiet", "main")
    project.write("train.py", "main\n")
    project.commit_all()
    subprocess.run(["git", "merge", "--quiet", "side"], cwd=project.root, check=False, capture_output=True)

    code = project.capture()

    assert code.dirty
    assert b"<<<<<<< HEAD" in project.files(code)[b"train.py"][1]


def test_into_a_real_store(project, tmp_path):
    """The tree is durable in a local store once the writer is left, a large file included."""
    project.write("large.bin", os.urandom(3 << 20))
    project.commit_all()
    project.store = LocalStore.create(tmp_path / "store")

    code = project.capture()

    project.store = LocalStore(tmp_path / "store")
    assert (project.root / "large.bin").read_bytes() == project.files(code)[b"large.bin"][1]
