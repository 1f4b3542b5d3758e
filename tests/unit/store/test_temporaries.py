"""Files that are being written: what the disk is told of them before they are synced."""

import errno
import os

import pytest

from mlvc.store import temporaries
from mlvc.store.temporaries import Temporary


@pytest.fixture
def told(monkeypatch):
    """What the system is told of which part of a file; it does as it is told."""
    parts, advise = [], os.posix_fadvise

    def note(fd, offset, size, advice):
        parts.append((offset, size))
        advise(fd, offset, size, advice)

    monkeypatch.setattr(os, "posix_fadvise", note)
    monkeypatch.setattr(temporaries, "_WRITEBACK_BYTES", 1000)
    return parts


def test_writing_out_begins_with_each_part_once(tmp_path, told):
    """Parts follow each other without a gap, so that no page is told of that may have been written out already."""
    file = Temporary.create(tmp_path, ".pack")
    pieces = [bytes([number]) * size for number, size in enumerate([400, 700, 1, 999, 5000, 10])]
    for piece in pieces:
        file.write(piece)
    assert [(0, 1100), (1100, 1000), (2100, 5000)] == told
    file.sync()
    file.publish(tmp_path / "published")
    assert b"".join(pieces) == (tmp_path / "published").read_bytes()


def test_a_file_system_that_cannot_be_told(tmp_path, told, monkeypatch):
    """It is only a hint."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    file = Temporary.create(tmp_path, ".pack")
    file.write(b"x" * 3000)
    file.publish(tmp_path / "published")
    assert 3000 == (tmp_path / "published").stat().st_size
    assert [] == told


def test_where_there_is_no_such_call(tmp_path, monkeypatch):
    """macOS has none."""
    monkeypatch.delattr(os, "posix_fadvise")
    monkeypatch.setattr(temporaries, "_WRITEBACK_BYTES", 1000)
    file = Temporary.create(tmp_path, ".pack")
    file.write(b"x" * 3000)
    file.publish(tmp_path / "published")
    assert 3000 == (tmp_path / "published").stat().st_size
