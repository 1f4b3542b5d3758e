"""Large files as a user meets them: shared with the store by reflink, by hard link, or copied."""

import os
import random
import shutil
import subprocess

import pytest

from mlvc.store.raw import RAW_FROM_BYTES
from tests.support.command import Mlvc

SIZE_BYTES = RAW_FROM_BYTES + 7_777
NOISE = random.Random(8).randbytes(SIZE_BYTES)


def configure(home, text):
    path = home / ".config" / "mlvc" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def packs_of(project):
    return project / ".git" / "mlvc" / "store" / "packs"


def store_file(project):
    """Returns the file of the store that holds the large file's bytes."""
    (found,) = [path for path in packs_of(project).glob("*.pack") if path.stat().st_size == SIZE_BYTES]
    return found


@pytest.fixture
def large(project, run_mlvc):
    """A project whose large file is committed, and on a remote beside it."""
    (project / "model.bin").write_bytes(NOISE)
    run_mlvc("add", "model.bin")
    run_mlvc("commit", "-m", "large")
    run_mlvc("remote", "add", "far", str(project.parent / "far"))
    return project


def test_a_large_file_comes_back(large, run_mlvc):
    """Its bytes are one file of the store; a checkout makes a file of its own, which may be written to."""
    assert store_file(large).read_bytes() == NOISE
    (large / "model.bin").unlink()
    run_mlvc("checkout")
    assert (large / "model.bin").read_bytes() == NOISE
    with (large / "model.bin").open("r+b") as file:
        file.write(b"an edit")
    assert store_file(large).read_bytes() == NOISE
    assert run_mlvc("status", "--json").json()["clean"] is False
    run_mlvc("checkout", "--force")
    assert (large / "model.bin").read_bytes() == NOISE
    run_mlvc("fsck")


def test_a_damaged_copy_is_named_and_not_handed_out(large, run_mlvc):
    """Checkout refuses, naming the file of the store; nothing stands in the work tree; repair takes the remote's."""
    run_mlvc("push")
    path = store_file(large)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damage")
    (large / "model.bin").unlink()
    refused = run_mlvc("checkout", check=False)
    assert 2 == refused.exit
    assert path.name in refused.stderr
    assert not (large / "model.bin").exists()
    run_mlvc("fsck", "--repair")
    run_mlvc("checkout")
    assert (large / "model.bin").read_bytes() == NOISE


def test_a_clone_gets_the_large_file_as_it_is(large, run_mlvc, tmp_path):
    """A pull brings the one file, which the clone's store has under the same name."""
    run_mlvc("push")
    clone = tmp_path / "clone"
    run_mlvc("clone", str(large), str(clone))
    other = Mlvc(cwd=clone)
    other("remote", "add", "far", str(large.parent / "far"))
    other("pull")
    assert (clone / "model.bin").read_bytes() == NOISE
    assert store_file(large).name == store_file(clone).name


@pytest.fixture
def linked(large, run_mlvc, home):
    """The large file is a hard link of the store's."""
    configure(home, '[checkout]\nlink = "hardlink"\n')
    run_mlvc("push")
    (large / "model.bin").unlink()
    run_mlvc("checkout")
    assert os.path.samefile(large / "model.bin", store_file(large))
    return large


def test_no_link_is_made_of_what_no_remote_has(large, run_mlvc, home):
    """A write through it could not be mended then; without the setting, neither is one of what a remote has."""
    configure(home, '[checkout]\nlink = "hardlink"\n')
    (large / "model.bin").unlink()
    run_mlvc("checkout")
    assert 1 == store_file(large).stat().st_nlink
    run_mlvc("push")
    configure(home, "")
    (large / "model.bin").unlink()
    run_mlvc("checkout")
    assert 1 == store_file(large).stat().st_nlink


def test_a_link_is_read_only_and_clean(linked, run_mlvc):
    """Nothing is changed, the file cannot be written to by accident, and deleting it deletes nothing of the store."""
    assert 0 == (linked / "model.bin").stat().st_mode & 0o222
    assert run_mlvc("status", "--json").json()["clean"] is True
    (linked / "model.bin").unlink()
    run_mlvc("checkout")
    assert os.path.samefile(linked / "model.bin", store_file(linked))
    assert (linked / "model.bin").read_bytes() == NOISE


def write_through(path):
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"written through the link")
    path.chmod(0o444)


def test_a_write_through_a_link_is_found_and_mended(linked, run_mlvc):
    """Status and fsck tell; checkout hands nothing wrong out; the remote has the bytes."""
    write_through(linked / "model.bin")
    told = run_mlvc("status", "--json")
    assert told.json()["clean"] is False
    assert "was written to" in told.stderr
    assert store_file(linked).name.removesuffix(".pack") in told.stderr

    found = run_mlvc("fsck", check=False)
    assert 1 == found.exit
    assert "model.bin in mlvc.lock" in found.stdout

    edited = (linked / "model.bin").read_bytes()
    refused = run_mlvc("checkout", "--force", check=False)
    assert 2 == refused.exit
    assert (linked / "model.bin").read_bytes() in {edited, NOISE}

    run_mlvc("fsck", "--repair")
    run_mlvc("checkout", "--force")
    assert (linked / "model.bin").read_bytes() == NOISE
    told = run_mlvc("status", "--json")
    assert (True, "") == (told.json()["clean"], told.stderr)


def test_a_write_that_keeps_the_time_is_found_as_well(linked, run_mlvc):
    """A file of the same size and mtime has another ctime: status reads it again, and so does fsck."""
    before = (linked / "model.bin").stat()
    write_through(linked / "model.bin")
    os.utime(linked / "model.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run_mlvc("status", "--json").json()["clean"] is False
    assert 1 == run_mlvc("fsck", check=False).exit


def test_an_executable_is_no_link(linked, run_mlvc):
    """Its mode is not the store's: it becomes a file of its own, and one again when it is executable no more."""
    (linked / "model.bin").unlink()
    (linked / "model.bin").write_bytes(NOISE)
    (linked / "model.bin").chmod(0o755)
    run_mlvc("add", "model.bin")
    (linked / "model.bin").unlink()
    run_mlvc("checkout")
    assert 1 == (linked / "model.bin").stat().st_nlink
    assert os.access(linked / "model.bin", os.X_OK)
    assert 0 == store_file(linked).stat().st_mode & 0o111


def test_the_output_of_a_run_is_no_link_any_more(linked, run_mlvc):
    """A command that writes to it in place changes nothing in the store."""
    run_mlvc("run", "-o", "model.bin", "--", "sh", "-c", "printf changed 1<>model.bin")
    assert (linked / "model.bin").read_bytes() == b"changed" + NOISE[7:]
    assert store_file(linked).parent == packs_of(linked)
    run_mlvc("fsck")


def used_bytes(folder):
    subprocess.run(["sync", "-f", folder], check=True)
    facts = os.statvfs(folder)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


@pytest.fixture
def shared(project, xfs, tmp_path):
    """The project on a file system that shares bytes between files."""
    place = xfs / tmp_path.name
    shutil.copytree(project, place, symlinks=True)
    yield place
    shutil.rmtree(place)


def test_a_file_system_that_can_shares_the_bytes(shared, home):
    """Neither add nor checkout, verified or trusted, takes more than a hundredth of the file; each side is its own."""
    mlvc = Mlvc(cwd=shared)
    model = shared / "model.bin"
    model.write_bytes(NOISE)
    before = used_bytes(shared)
    mlvc("add", "model.bin")
    assert used_bytes(shared) - before < SIZE_BYTES / 100
    for verify in ("always", "once"):
        configure(home, f'[checkout]\nverify = "{verify}"\n')
        model.unlink()
        mlvc("checkout")
        assert model.read_bytes() == NOISE
        assert used_bytes(shared) - before < SIZE_BYTES / 100
    with model.open("r+b") as file:
        file.write(b"an edit")
    assert store_file(shared).read_bytes() == NOISE
    mlvc("fsck")


def test_a_copy_that_changed_is_not_trusted(shared, home):
    """`once` is no longer so for a file of the store that was written to, whatever its mtime says."""
    mlvc = Mlvc(cwd=shared)
    configure(home, '[checkout]\nverify = "once"\n')
    model = shared / "model.bin"
    model.write_bytes(NOISE)
    mlvc("add", "model.bin")
    before = store_file(shared).stat()
    write_through(store_file(shared))
    os.utime(store_file(shared), ns=(before.st_atime_ns, before.st_mtime_ns))
    model.unlink()
    refused = mlvc("checkout", check=False)
    assert 2 == refused.exit
    assert store_file(shared).name in refused.stderr
    assert not model.exists()


def test_a_setting_that_is_none(project, run_mlvc, home):
    """The values are named."""
    configure(home, '[checkout]\nlink = "symlink"\n')
    refused = run_mlvc("status", check=False)
    assert 2 == refused.exit
    assert "`checkout.link` must be none or hardlink" in refused.stderr
