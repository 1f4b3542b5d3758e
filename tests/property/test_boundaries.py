"""Laws of cuts in files of known formats, whole, damaged or made to deceive: nothing is lost, and chunks stay few."""

import io
import random
import zipfile
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from mlvc.store import chunking
from mlvc.store.chunking import cut_stream
from tests.support.containers import ARRAYS, CONTENTS, npz, safetensors, tar, zipped

GOLDEN = Path(__file__).parents[1] / "golden" / "store" / "cuts"
SMALL = {f"small/{number}": b"x" * (700 * number) for number in range(60)}
FILES = [
    *((GOLDEN / name).read_bytes() for name in ("checkpoint.pt", "model.safetensors", "table.parquet")),
    safetensors({**SMALL, **CONTENTS}),
    tar({**CONTENTS, **SMALL, "model.npz": npz(ARRAYS)}),
    zipped({**CONTENTS, **SMALL, "model.npz": npz(ARRAYS)}),
    zipped({**SMALL, **CONTENTS}, is_streamed=True),
    zipped({**SMALL, **CONTENTS}, is_streamed=True, method=zipfile.ZIP_DEFLATED),
    npz(ARRAYS),
]
HEADS = [data[:600] for data in FILES]
PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"PK\x03\x04", b"PK\x07\x08", b"\xff" * 8, b"\0" * 1024, *HEADS]),
    st.builds(
        lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 9), st.integers(0, 90_000)
    ),
)


@st.composite
def mutated(draw):
    """Files with bytes overwritten, taken out and put in, anywhere but more often near headers."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.one_of(st.integers(0, 700), st.integers(0, len(data))))
        new = draw(PIECES)
        data[at : at + draw(st.sampled_from([0, len(new), 50_000]))] = new
    return bytes(data)


@given(st.one_of(mutated(), st.builds(lambda head, rest: head + b"".join(rest), PIECES, st.lists(PIECES))))
def test_whatever_a_file_holds_its_chunks_make_it_again(data):
    """However it is read; none is longer than the longest, and few are short."""
    chunks = [bytes(chunk) for chunk in cut_stream(io.BytesIO(data))]
    assert data == b"".join(chunks)
    assert max(map(len, chunks), default=0) <= 256 << 10
    # In 16 KiB there are at most the end of a member, a header, that of an array in it, and a chunk by FastCDC.
    assert len(chunks) <= 4 * (len(data) // (16 << 10)) + 8
    with mock.patch.object(chunking, "_PIECE_BYTES", 70_001):
        assert chunks == [bytes(chunk) for chunk in cut_stream(io.BytesIO(data))]
