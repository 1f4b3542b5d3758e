"""A repository that an attacker made: checkout, pull and clone write nothing outside, and end with one clear error."""

import contextlib
import os
import shutil
import struct
import subprocess

import pytest

from mlvc.model.ids import BlobId, TreeId
from mlvc.ports import RecordKind
from mlvc.repo import Repo
from mlvc.store.pack import NewRecord, encode_records
from mlvc.store.pack_writer import PackWriter
from tests.support.command import child_environment
from tests.support.folding import NoFoldingError, mount_folding
from tests.support.reporter import RecordingReporter
from tests.support.zygote import Zygote

FILE, EXECUTABLE, SYMLINK, DIRECTORY, DEVICE = range(1, 6)
PAYLOAD = b"payload"
BLOB = BlobId.of(PAYLOAD).digest
OUTSIDE = b"../../outside"


@pytest.fixture(scope="module")
def zygote():
    running = Zygote()
    yield running
    running.close()


def raw_tree(*entries):
    """Returns the encoding of a tree, in the order given and without any check."""
    parts = [struct.pack("<8sHI", b"MLVCTREE", 1, len(entries))]
    for name, kind, digest, size in entries:
        parts += [struct.pack("<BH", kind, len(name)), name, struct.pack("<32sQ", digest, size)]
    return b"".join(parts)


class Attacker:
    """Makes a repository whose lock names a tree of anything."""

    def __init__(self, project):
        self.repo = Repo.open(project, reporter=RecordingReporter(), environment={})
        self._records = []
        with self.repo.store.writer() as writer:
            writer.add_blob(PAYLOAD)
            writer.add_blob(OUTSIDE)

    def store(self, data):
        """Stores bytes as a tree."""
        digest = TreeId.of(data).digest
        self._records.append(NewRecord(RecordKind.TREE, 0, digest, data))
        return digest

    def tree(self, *entries):
        return self.store(raw_tree(*entries))

    def lock(self, *lines):
        """Makes these the lines of the lock: (kind, digest, path)."""
        text = "".join(f"{kind} b3:{digest.hex()} 1 7 - {path}\n" for kind, digest, path in lines)
        (self.repo.root / "mlvc.lock").write_text("mlvc-lock 1\n" + text)
        if self._records:
            writer = PackWriter(self.repo.store.layout, is_data=False)
            writer.append(*encode_records(self._records))
            writer.publish(contextlib.nullcontext())


def _names(*names):
    def make(attacker):
        entries = [(name, FILE, BLOB, 7) for name in names]
        attacker.lock(("directory", attacker.tree(*entries), "data"))

    return make


def _below(name):
    """The name is that of a directory."""

    def make(attacker):
        inner = attacker.tree((b"x", FILE, BLOB, 7))
        attacker.lock(("directory", attacker.tree((name, DIRECTORY, inner, 7)), "data"))

    return make


def _link_and_directory(attacker):
    inner = attacker.tree((b"victim", FILE, BLOB, 7))
    link = BlobId.of(OUTSIDE).digest
    attacker.lock(
        ("directory", attacker.tree((b"l", SYMLINK, link, 13), (b"l", DIRECTORY, inner, 7)), "data")
    )


def _link_in_the_lock(attacker):
    attacker.lock(
        ("symlink", BlobId.of(OUTSIDE).digest, "l"),
        ("directory", attacker.tree((b"x", FILE, BLOB, 7)), "l/x"),
    )


def _link_of_git(attacker):
    """Git itself brings a link that leads outside, and the lock a file below it."""
    (attacker.repo.root / "l").symlink_to("../outside")
    attacker.lock(("file", BLOB, "l/victim"))


def _device(attacker):
    attacker.lock(("directory", attacker.tree((b"null", DEVICE, BLOB, 7)), "data"))


def _deep(attacker):
    tree = attacker.tree((b"x", FILE, BLOB, 7))
    for _ in range(1_200):
        tree = attacker.tree((b"d", DIRECTORY, tree, 7))
    attacker.lock(("directory", tree, "data"))


def _bomb(attacker):
    """Forty trees name 2^40 files."""
    tree = attacker.tree((b"x", FILE, BLOB, 7))
    for _ in range(40):
        tree = attacker.tree((b"a", DIRECTORY, tree, 7), (b"b", DIRECTORY, tree, 7))
    attacker.lock(("directory", tree, "data"))


def _empty_bomb(attacker):
    """The same without a single file."""
    tree = attacker.tree()
    for _ in range(20):
        tree = attacker.tree(*((b"%d" % number, DIRECTORY, tree, 0) for number in range(9)))
    attacker.lock(("directory", tree, "data"))


def _tree_as_a_file(attacker):
    tree = attacker.tree((b"x", FILE, BLOB, 7))
    attacker.lock(("file", tree, "data"))


def _blob_as_a_directory(attacker):
    attacker.lock(("directory", attacker.tree((b"d", DIRECTORY, BLOB, 7)), "data"))


def _cut_short(attacker):
    attacker.lock(("directory", attacker.store(raw_tree((b"x", FILE, BLOB, 7))[:-9]), "data"))


def _many(attacker):
    attacker.lock(("directory", attacker.store(struct.pack("<8sHI", b"MLVCTREE", 1, 0xFFFFFFFF)), "data"))


ATTACKS = {
    "parent": _names(b".."),
    "slash": _names(b"a/../../../outside/victim"),
    "absolute": _names(b"/tmp/mlvc-victim"),
    "git": _below(b".git"),
    "git-case": _below(b".GIT"),
    "git-dot": _below(b".git."),
    "git-short": _below(b"GIT~1"),
    "git-hfs": _below(b".g\xe2\x80\x8cit"),
    "mlvc": _below(b".mlvc"),
    "parent-directory": _below(b".."),
    "empty": _names(b""),
    "nul": _names(b"a\0b"),
    "twice": _names(b"a", b"a"),
    "unsorted": _names(b"b", b"a"),
    "link-and-directory": _link_and_directory,
    "link-in-the-lock": _link_in_the_lock,
    "link-of-git": _link_of_git,
    "device": _device,
    "deep": _deep,
    "bomb": _bomb,
    "empty-bomb": _empty_bomb,
    "tree-as-a-file": _tree_as_a_file,
    "blob-as-a-directory": _blob_as_a_directory,
    "cut-short": _cut_short,
    "many": _many,
}


@pytest.fixture(params=ATTACKS)
def attacked(request, project, git):
    """The project with an attack committed, everything around it, and what must not change."""
    outside = project.parent / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"whole")
    shutil.rmtree(project / "data")
    attacker = Attacker(project)
    ATTACKS[request.param](attacker)
    git("add", "-A")
    git("commit", "-q", "-m", "attack")
    return project


def around(folder, *besides):
    """Returns every file below a folder with its bytes, but for those of some directories in it."""
    found = {}
    for path in folder.rglob("*"):
        if path.relative_to(folder).parts[0] not in besides:
            found[path] = path.read_bytes() if path.is_file() and not path.is_symlink() else None
    return found


def git_files(project):
    """Returns git's own files that decide what is executed."""
    return {
        path: path.read_bytes()
        for part in ("hooks", "config")
        for path in [project / ".git" / part, *(project / ".git" / part).rglob("*")]
        if path.is_file()
    }


def refused(outcome):
    """Whether a command ended with one error, and no bug."""
    assert outcome.status == 2, outcome
    assert 1 == outcome.stderr.count("error: "), outcome
    assert "bug" not in outcome.stderr
    return True


@pytest.mark.parametrize("forked", [False, True], ids=["alone", "forked"])
def test_checkout(attacked, zygote, forked):
    """Also with --force, and when the files are written by several processes."""
    before, own = around(attacked.parent, attacked.name), git_files(attacked)
    for argv in (["checkout"], ["checkout", "--force"]):
        assert refused(zygote(attacked, *argv, forked=forked))
        assert (before, own) == (around(attacked.parent, attacked.name), git_files(attacked))
    assert not (attacked / "data").exists() or [] == [
        path for path in (attacked / "data").rglob("*") if path.is_file()
    ]


@pytest.mark.parametrize("forked", [False, True], ids=["alone", "forked"])
def test_pull_and_clone(attacked, zygote, forked):
    """What comes from a remote is not trusted more: nothing appears outside the clone, nor in its `.git`."""
    remote, clone, other = (attacked.parent / name for name in ("remote", "clone", "other"))
    assert zygote(attacked, "remote", "add", "disk", f"file://{remote}").status == 0
    assert zygote(attacked, "push").status == 0
    subprocess.run(
        ["git", "clone", "-q", attacked, clone], check=True, env=child_environment({}), capture_output=True
    )
    assert zygote(clone, "remote", "add", "disk", f"file://{remote}").status == 0
    besides = (attacked.name, "clone", "other")
    before, own = around(attacked.parent, *besides), git_files(clone)
    assert refused(zygote(clone, "pull", forked=forked))
    outcome = zygote(clone, "pull", "--force", forked=forked)
    # A link of git's gives way to a directory; its target was saved.
    assert "saved l" in outcome.stdout or refused(outcome)
    assert (before, own) == (around(attacked.parent, *besides), git_files(clone))
    outcome = zygote(attacked.parent, "clone", str(attacked), str(other), forked=forked)
    assert outcome.status in {0, 2}
    assert "bug" not in outcome.stderr
    assert before == around(attacked.parent, *besides)
    assert not os.path.lexists("/tmp/mlvc-victim")


def test_what_only_looks(attacked, zygote):
    """Other commands have an answer too, in a moment."""
    for argv in (["status"], ["diff"], ["ls"], ["ls", "HEAD:data"], ["fsck"], ["verify"], ["log"]):
        outcome = zygote(attacked, *argv)
        assert outcome.status in {0, 1, 2}
        assert "bug" not in outcome.stderr, (argv, outcome)


@pytest.fixture
def folding(tmp_path):
    """A directory in which `A` and `a` are one name."""
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(mount_folding(tmp_path))
        except NoFoldingError as exc:
            if os.environ.get("MLVC_TESTS_REQUIRE_FOLDING") == "1":
                raise
            pytest.skip(f"NOT TESTED: no file system that folds case can be mounted: {exc}")
        yield place


@pytest.mark.parametrize("attack", ["files", "link-and-directory"])
def test_names_that_are_one_on_the_disk(folding, zygote, attack):
    """One error, nothing outside the work tree, and no file that holds another's bytes unseen."""
    project = folding / "repo"
    project.mkdir()
    outside = folding / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"whole")
    for argv in (["init", "-q"], ["config", "core.hooksPath", "/nonexistent"]):
        subprocess.run(["git", *argv], cwd=project, check=True, env=child_environment({}))
    assert zygote(project, "init").status == 0
    attacker = Attacker(project)
    link = BlobId.of(b"../../outside").digest
    inner = attacker.tree((b"victim", FILE, BLOB, 7))
    entries = {
        "files": [(b"A", FILE, BLOB, 7), (b"a", FILE, link, 13)],
        "link-and-directory": [(b"A", SYMLINK, link, 13), (b"a", DIRECTORY, inner, 7)],
    }[attack]
    attacker.lock(("directory", attacker.tree(*entries), "data"))
    assert refused(zygote(project, "checkout"))
    assert refused(zygote(project, "checkout", "--force"))
    assert {outside / "victim": b"whole"} == around(outside)
