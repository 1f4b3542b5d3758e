"""Any bytes, and nearly right ones, raise only our errors, at once, and take no more memory than they are long.

A longer run: pytest tests/property --hypothesis-profile=deep. With atheris: see tests/support/fuzz.py.
"""

import contextlib
import tracemalloc

import numpy as np  # noqa: F401  # the first comparison of numbers loads it, which is no allocation of a parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.errors import MlvcError
from tests.support.damage import damaged
from tests.support.parsers import PARSERS

MEMORY_BYTES = 8 << 20
"""More than any of them needs for so little, and less than what a length of four bytes can ask for."""


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
