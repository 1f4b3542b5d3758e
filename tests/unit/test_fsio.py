"""Replacing a file, whatever happened to those who tried before."""

import os
import signal

from mlvc import fsio


def test_what_killed_writers_left_is_removed(tmp_path):
    """Promise 7: the next writer of the same file removes the temporary files of dead ones, and of no one else."""
    path = tmp_path / "mlvc.lock"
    dead = tmp_path / ".mlvc.lock.0123456789ab.tmp"
    living = tmp_path / ".mlvc.lock.ba9876543210.tmp"
    others = [tmp_path / ".mlvc.lock.tmp", tmp_path / ".other.0123456789ab.tmp"]
    for file in (dead, living, *others):
        file.write_bytes(b"half")
    os.mkfifo(tmp_path / ".mlvc.lock.aaaaaaaaaaaa.tmp")
    with living.open("rb") as held:
        assert fsio.claim(living, held.fileno())
        fsio.atomic_write(path, b"new")
    assert b"new" == path.read_bytes()
    assert not dead.exists()
    assert all(file.exists() for file in (living, *others))


def test_a_file_that_was_taken_for_abandoned_is_not_claimed(tmp_path):
    """Between its creation and the claim a file may be removed by another process: its writer begins again."""
    path = tmp_path / "temporary"
    with path.open("xb") as file:
        fsio.remove_abandoned(path)
        assert not fsio.claim(path, file.fileno())
    assert not path.exists()


def test_killed_while_replacing(tmp_path, monkeypatch):
    """The old bytes stay until the new ones are complete."""
    path = tmp_path / "file"
    fsio.atomic_write(path, b"old")
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(fsio, "rename", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        fsio.atomic_write(path, b"new")
    os.waitpid(pid, 0)
    assert b"old" == path.read_bytes()
    assert 2 == len(os.listdir(tmp_path))
    fsio.atomic_write(path, b"newer")
    assert ["file"] == os.listdir(tmp_path)
