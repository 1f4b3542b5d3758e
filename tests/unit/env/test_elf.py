import os
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.env.elf import read_elf


def an_elf_file():
    candidates = [Path(os.path.realpath(sys.executable)), Path("/bin/sh")]
    return next(path for path in candidates if path.read_bytes()[:4] == b"\x7fELF")


def test_a_real_program_names_its_libraries_and_the_glibc_it_needs():
    """Every dynamic program on this machine needs libc, in some version."""
    elf = read_elf(str(an_elf_file()))

    assert elf is not None
    assert any(name.startswith("libc.") for name in elf.needed)
    assert any(version.startswith(("GLIBC_", "MUSL")) for version in elf.versions)


def build_elf(order, *, is_64):
    """A whole dynamic library: one segment over all of the file, libneeded.so.1 and GLIBC_2.17 of it."""
    strings = b"\0libneeded.so.1\0libself.so.2\0GLIBC_2.17\0"
    word = "Q" if is_64 else "I"
    header_bytes, entry_bytes = (64, 56) if is_64 else (52, 32)
    table = header_bytes + 2 * entry_bytes
    versions = table + len(strings)
    verneed = struct.pack(order + "HHIII", 1, 1, 1, 16, 0) + struct.pack(order + "IHHII", 0, 0, 2, 29, 0)
    dynamic_at = versions + len(verneed)
    entries = [
        (1, 1),
        (14, 16),
        (5, table),
        (10, len(strings)),
        (0x6FFFFFFE, versions),
        (0x6FFFFFFF, 1),
        (0, 0),
    ]
    dynamic = b"".join(struct.pack(order + word * 2, *entry) for entry in entries)
    total = dynamic_at + len(dynamic)
    identity = b"\x7fELF" + bytes([2 if is_64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    header = identity + struct.pack(
        order + "HHI" + word * 3 + "IHHHHHH",
        3,
        62,
        1,
        0,
        header_bytes,
        0,
        0,
        header_bytes,
        entry_bytes,
        2,
        0,
        0,
        0,
    )

    def segment(kind, offset, size):
        if is_64:
            return struct.pack(order + "IIQQQQQQ", kind, 4, offset, offset, offset, size, size, 8)
        return struct.pack(order + "IIIIIIII", kind, offset, offset, offset, size, size, 4, 4)

    segments = segment(1, 0, total) + segment(2, dynamic_at, len(dynamic))
    return header + segments + strings + verneed + dynamic


@pytest.mark.parametrize("is_64", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_class_and_byte_order_is_read(tmp_path, order, is_64):
    """Wheels of another architecture are read as well as this machine's."""
    path = tmp_path / "libself.so.2"
    path.write_bytes(build_elf(order, is_64=is_64))

    elf = read_elf(str(path))

    assert (elf.soname, elf.needed, elf.versions) == ("libself.so.2", ("libneeded.so.1",), {"GLIBC_2.17"})


@given(data=st.binary(max_size=200), cut=st.integers(0, 400), position=st.integers(0, 400))
def test_garbage_is_no_library_and_no_error(tmp_path_factory, data, cut, position):
    """A damaged library is answered with None or with less, never with an exception."""
    whole = build_elf("<", is_64=True)
    path = tmp_path_factory.getbasetemp() / "garbage.so"
    path.write_bytes((whole[:position] + data + whole[position + len(data) :])[: max(4, len(whole) - cut)])

    elf = read_elf(str(path))

    assert elf is None or isinstance(elf.needed, tuple)


def test_what_is_no_file_is_no_library(tmp_path):
    """A directory, a missing file and a pipe have no libraries, and none of them blocks."""
    os.mkfifo(tmp_path / "pipe")

    assert [read_elf(str(tmp_path)), read_elf(str(tmp_path / "no")), read_elf(str(tmp_path / "pipe"))] == [
        None
    ] * 3
