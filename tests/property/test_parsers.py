"""Any bytes, and nearly right ones, raise only our errors, at once, and take no more memory than they are long.

A longer run: pytest tests/property --hypothesis-profile=deep. With atheris: see tests/support/parsers.py.
"""

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.errors import MlvcError
from tests.support.parsers import PARSERS

MEMORY_BYTES = 8 << 20
"""More than any of them needs for so little, and less than what a length of four bytes can ask for."""

LENGTHS = [
    bytes(4),
    b"\x01\0\0\0",
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\0\0\0\x10",
    bytes(8),
    b"\xff" * 8,
]


@st.composite
def damaged(draw, examples):
    """Returns an example in which a few things were changed: bytes, lengths, the end, pieces twice or gone."""
    data = bytearray(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["byte", "length", "cut", "insert", "repeat", "drop"])):
            case "byte" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "length":
                length = draw(st.sampled_from(LENGTHS))
                data[at : at + len(length)] = length
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 60))]
            case "drop":
                del data[at : at + draw(st.integers(1, 60))]
    return bytes(data)


def parse(parser, data):
    """Parses, and returns the most memory that it took."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    with contextlib.suppress(MlvcError):
        parser.parse(data)
    return tracemalloc.get_traced_memory()[1] - before


@pytest.fixture(scope="module", autouse=True)
def _traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("name", PARSERS)
def test_examples_are_taken(name):
    """What is changed below is right before: else it would be refused for another reason."""
    for example in PARSERS[name].examples:
        PARSERS[name].parse(example)
        if PARSERS[name].seal is not None:
            assert example == PARSERS[name].seal(example)


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
def test_damaged_bytes(name, data):
    """Only our errors, and no allocation from a length that was not checked."""
    parser = PARSERS[name]
    changed = data.draw(damaged(parser.examples))
    assert parse(parser, changed) < MEMORY_BYTES
    if parser.seal is not None and len(changed) >= 8:
        # What somebody made on purpose has a right checksum.
        assert parse(parser, parser.seal(changed)) < MEMORY_BYTES


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.binary(max_size=200))
def test_any_bytes(name, data):
    """Only our errors, and no allocation from a length that was not checked."""
    assert parse(PARSERS[name], data) < MEMORY_BYTES
