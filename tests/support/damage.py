"""Bytes that are nearly right: what a parser is fed besides nonsense."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

__all__ = ["damaged"]

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
def damaged(draw: st.DrawFn, examples: Sequence[bytes]) -> bytes:
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
