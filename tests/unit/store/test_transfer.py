"""Steps that run at once, and what they return in order; a file that is hashed on its way."""

import threading

import pytest
from blake3 import blake3

from mlvc.fsio import FileUnreadableError
from mlvc.store.errors import DamagedFileError
from mlvc.store.outgoing import Outgoing
from mlvc.store.remote_files import RemoteUnreachableError
from mlvc.store.transfer import in_order

JOBS = 3


def test_results_come_in_the_order_of_the_items():
    """Even where the first takes longest: it ends only when the others of its turn have."""
    others = threading.Barrier(JOBS)

    def step(number):
        if number < JOBS:
            others.wait(30)
        return number * 10

    assert [number * 10 for number in range(20)] == list(in_order(step, range(20), JOBS))


def test_no_more_is_taken_than_there_are_jobs_and_one():
    """So what waits for its turn holds no memory."""
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    for count, number in enumerate(in_order(int, items(), JOBS)):
        assert count == number
        assert len(taken) <= count + JOBS + 1


def test_the_first_error_is_raised_and_the_rest_left_out():
    """In its turn; what had begun ends."""
    done = []

    def step(number):
        if number == 5:
            raise RemoteUnreachableError("the cable was pulled")
        done.append(number)
        return number

    steps = in_order(step, range(1000), JOBS)

    assert [0, 1, 2, 3, 4] == [next(steps) for _ in range(5)]
    with pytest.raises(RemoteUnreachableError):
        next(steps)
    assert len(done) < 20


@pytest.mark.parametrize("size_bytes", [0, 1, 4096, 10_000])
def test_a_file_is_yielded_in_pieces_of_the_buffers(tmp_path, size_bytes):
    """The last one is cut to what is left; nothing is taken for an empty file."""
    data = bytes(number % 251 for number in range(size_bytes))
    (tmp_path / "file").write_bytes(data)
    source = Outgoing(tmp_path / "file", blake3(data).digest())

    pieces = [bytes(piece) for piece in source.pieces(lambda: bytearray(4096))]

    assert data == b"".join(pieces)
    assert all(len(piece) == 4096 for piece in pieces[:-1])
    assert size_bytes == source.size_bytes


@pytest.mark.parametrize("change", ["flipped", "shorter", "longer"])
def test_a_file_that_is_not_what_it_should_be_is_found_out_at_its_end(tmp_path, change):
    """Also one that changes between the look at it and the end."""
    data = bytes(10_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    source = Outgoing(path, blake3(data).digest())
    pieces = source.pieces(lambda: bytearray(4096))
    next(pieces)
    path.write_bytes({"flipped": data[:-1] + b"x", "shorter": data[:5_000], "longer": data}[change])
    if change == "longer":
        source = Outgoing(path, blake3(data[:-1]).digest())
        pieces = source.pieces(lambda: bytearray(4096))

    with pytest.raises(DamagedFileError, match="was not sent"):
        list(pieces)


def test_a_file_that_is_gone_is_said(tmp_path):
    """With its name."""
    with pytest.raises(FileUnreadableError, match="gone"):
        Outgoing(tmp_path / "gone", bytes(32))
