"""Files of known formats: the same bytes have the same chunks in every container."""

import io
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mlvc.model.ids import BlobId
from mlvc.store import chunking
from mlvc.store.chunking import cut, cut_stream
from mlvc.store.local import LocalStore
from tests.support.containers import ARRAYS, CONTENTS, npz, safetensors, tar, zipped

GOLDEN = Path(__file__).parents[2] / "golden" / "store" / "cuts"


def chunks_of(data: bytes) -> list[bytes]:
    chunks = [bytes(chunk) for chunk in cut_stream(io.BytesIO(data))]
    assert b"".join(chunks) == data
    return chunks


@pytest.mark.parametrize(
    "contain",
    [
        safetensors,
        lambda members: safetensors(members, indent=2),
        lambda members: safetensors(members, is_header_reversed=True),
        tar,
        lambda members: tar(members, tarfile.GNU_FORMAT),
        lambda members: tar(members, tarfile.USTAR_FORMAT),
        lambda members: tar({"long/" * 40 + name: data for name, data in members.items()}),
        lambda members: tar(
            {"long/" * 40 + name: data for name, data in members.items()}, tarfile.GNU_FORMAT
        ),
        zipped,
        lambda members: zipped(members, is_streamed=True),
        lambda members: zipped(members, is_zip64=True),
        lambda members: zipped(members, is_streamed=True, is_zip64=True),
        lambda members: tar({"inner.zip": zipped(members)}),
        lambda members: zipped({"inner.tar": tar(members)}),
    ],
    ids=[
        "safetensors",
        "safetensors with white space",
        "safetensors with another order in its header",
        "pax",
        "gnu",
        "ustar",
        "pax with long names",
        "gnu with long names",
        "zip",
        "zip that was streamed",
        "zip64",
        "zip64 that was streamed",
        "zip in tar",
        "tar in zip",
    ],
)
def test_what_is_in_a_container_has_the_chunks_that_it_has_by_itself(contain):
    """In any order, and whatever stands before it: small members, or such as the container pads."""
    small = {f"small/{number}": b"little" * number for number in range(20)}
    for members in (CONTENTS, {**small, **dict(reversed(CONTENTS.items())), **small}):
        chunks = set(chunks_of(contain(members)))
        for data in CONTENTS.values():
            assert set(chunks_of(data)) <= chunks


def test_an_array_has_the_same_chunks_in_every_container():
    """In an npy, an npz, a safetensors, and a tar of either; below 64 KiB a file is one chunk with its header."""
    numbers = {name: array.tobytes() for name, array in ARRAYS.items()}
    alone = {chunk for data in numbers.values() for chunk in chunks_of(data)}
    assert alone <= set(chunks_of(safetensors(numbers)))
    assert alone <= set(chunks_of(npz(ARRAYS)))
    assert alone <= set(chunks_of(tar({"model.npz": npz(ARRAYS), "README": b"text"})))
    file = io.BytesIO()
    np.save(file, ARRAYS["layer.4"])
    assert chunks_of(file.getvalue())[1:] == chunks_of(numbers["layer.4"])


def test_a_small_array_in_a_tar_is_one_chunk_as_its_file_is():
    """A tar is rather made of files, and a file of up to 64 KiB is not cut."""
    file = io.BytesIO()
    np.save(file, np.arange(5_000.0))
    assert file.getvalue() in chunks_of(tar({"array.npy": file.getvalue(), **CONTENTS}))


def test_a_damaged_member_spoils_no_cuts_behind_it():
    """What is understood of a member ends where the member does: here one of unknown length that never ends."""
    damaged = zipped({"long": CONTENTS["files/700000"]}, is_streamed=True)[:600_000]
    chunks = set(chunks_of(tar({"damaged.zip": damaged, **CONTENTS})))
    for data in CONTENTS.values():
        assert set(chunks_of(data)) <= chunks


def test_a_member_of_unknown_length_may_end_anywhere():
    """Also where the search for its end goes on in the next block."""
    for length in range(98_298, 98_310):
        data = random.Random(length).randbytes(length)
        chunks = chunks_of(zipped({"first": data, **CONTENTS}, is_streamed=True))
        assert set(chunks_of(data)) <= set(chunks)


def test_a_checkpoint_of_torch_shares_its_tensors_with_one_of_safetensors():
    """Both files hold two large tensors; torch states their lengths only behind them."""
    shared = set(chunks_of((GOLDEN / "checkpoint.pt").read_bytes())) & set(
        chunks_of((GOLDEN / "model.safetensors").read_bytes())
    )
    assert {40_004, 80_000} == {len(chunk) for chunk in shared}


def test_compressed_members_are_cut_as_well():
    """A member that did not change is found again, though what stands before it has another length."""
    texts = {f"{seed}.csv": b"%d\n" * 3 % (seed, seed, seed) + CONTENTS["files/90001"] for seed in range(5)}
    for is_streamed in (False, True):
        before = chunks_of(zipped(texts, is_streamed=is_streamed, method=zipfile.ZIP_DEFLATED))
        texts_after = {"new": b"new" * 20_000, **texts}
        after = chunks_of(zipped(texts_after, is_streamed=is_streamed, method=zipfile.ZIP_DEFLATED))
        assert sum(map(len, set(after) - set(before))) < 2_000


def test_links_and_directories_of_a_tar_have_no_content():
    """GNU tar states the length of what a hard link is one of; nothing of it follows."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in CONTENTS.items():
            for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
                member = tarfile.TarInfo(f"{name}-{kind.decode()}")
                member.type, member.linkname, member.size = kind, "files/40000", 50_000
                archive.addfile(member)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    chunks = set(chunks_of(file.getvalue()))
    for data in CONTENTS.values():
        assert set(chunks_of(data)) <= chunks


def test_a_length_that_only_an_extended_header_or_a_binary_field_states_is_believed():
    """Members of more than 8 GiB; the length of a smaller one may be written so, too."""
    for name, data in list(CONTENTS.items())[1:]:
        plain = tarfile.TarInfo(name)
        plain.size = 1 << 40
        gnu = bytearray(plain.tobuf(tarfile.GNU_FORMAT))
        gnu[125:136] = len(data).to_bytes(11, "big")
        gnu[148:156] = b" " * 8
        gnu[148:156] = b"%06o\0 " % sum(gnu)
        plain.size = 0
        plain.pax_headers = {"size": str(len(data))}
        for header in (bytes(gnu), plain.tobuf(tarfile.PAX_FORMAT)):
            chunks = chunks_of(header + data + bytes(-len(data) % 512 + 1024))
            assert set(chunks_of(data)) <= set(chunks)


@pytest.mark.parametrize(
    "contain", [tar, zipped, lambda members: zipped(members, is_streamed=True), safetensors]
)
def test_small_members_make_no_small_chunks(contain):
    """They are cut as if no format was known."""
    data = contain({f"{number}": random.Random(number).randbytes(1_500) for number in range(2_000)})
    assert chunks_of(data) == [bytes(chunk) for chunk in cut(data)]


def test_after_very_many_small_members_nothing_is_cut_off_any_more():
    """Looking at each would take longer than cutting and hashing them."""
    many = {f"{number}": b"x" for number in range(2_000)}
    data = tar({**many, **CONTENTS})
    assert chunks_of(data) == [bytes(chunk) for chunk in cut(data)]


def test_chunks_do_not_depend_on_how_a_stream_is_read(monkeypatch):
    """Marks, headers and members that lie across two pieces are seen all the same."""
    tails = {f"{n}": random.Random(n).randbytes(60_000 + (n % 2) * (200_000 + 7_919 * n)) for n in range(20)}
    files = [
        tar(tails),
        tar({**CONTENTS, "model.npz": npz(ARRAYS)}),
        zipped(CONTENTS, is_streamed=True),
        safetensors(CONTENTS),
        npz(ARRAYS),
        *((GOLDEN / name).read_bytes() for name in ("checkpoint.pt", "model.safetensors", "table.parquet")),
    ]
    expected = [chunks_of(data) for data in files]
    for size in (70_001, 100_000, 262_143, 1 << 20):
        monkeypatch.setattr(chunking, "_PIECE_BYTES", size)
        assert expected == [chunks_of(data) for data in files]


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(struct.pack("<Q", (4 << 20) - 1) + b"{", id="safetensors-long-header"),
        pytest.param(
            struct.pack("<Q", 4 << 20) + b"{" + b'"data_offsets":[0,99999999999999]' * 1000, id="overlap"
        ),
        pytest.param(
            struct.pack("<Q", 200)
            + b'{"data_offsets":[0,90000] "data_offsets":[50000,150000] "data_offsets":[95000,91000]}'.ljust(
                200
            ),
            id="safetensors-overlap",
        ),
        pytest.param(
            struct.pack("<Q", 200)
            + b'{"data_offsets":[9223372036854775807,9999999999999999999]} "data_offsets":[70000,1]'.ljust(
                200
            ),
            id="safetensors-beyond",
        ),
        pytest.param(
            struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 0, 20)
            + struct.pack("<HHQQ", 1, 16, 2**64 - 1, 2**64 - 1),
            id="zip-beyond",
        ),
        pytest.param(
            struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 45, 8, 0, 0, 0, 0, 0, 0, 0, 0)
            + b"PK\x07\x08" * 70_000,
            id="zip-of-marks",
        ),
        pytest.param(
            struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 45, 0, *[0] * 8) * 60_000, id="zip-of-nothing"
        ),
        pytest.param(b"PAR1" + b"\x15\x00\x15\x00\x15\x00\x2c\x00\x00" * 60_000, id="parquet-of-nothing"),
        pytest.param(b"PAR1" + b"\x1c" * 100_000, id="parquet-deep"),
        pytest.param(
            b"PAR1" + (b"\x15\x00\x15\x00\x15\x00\x2c" + b"\x11" * 4_000 + b"\x00\x00") * 50,
            id="parquet-many-fields",
        ),
        pytest.param(b"PAR1" + b"\xff" * 100_000, id="parquet-long-number"),
        pytest.param(b"PAR1\x15\x00\x15\x00\x15" + b"\xff" * 8 + b"\x7f\x2c\x00\x00", id="parquet-beyond"),
        pytest.param(b"PAR1" + b"\x15\x00\x15\x00\x15\xff\x7f\x2c\x00\x00" * 9_000, id="parquet-backwards"),
        pytest.param(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", id="npy-beyond"),
        pytest.param(b"\x93NUMPY", id="npy-cut-short"),
    ],
)
def test_lengths_that_lie_cost_nothing_but_cuts(head):
    """A length beyond the end, or one that is said many times over, ends what is understood of the file."""
    data = head + random.Random(1).randbytes(500_000)
    for cut_short in (data, data[: len(head) + 70_000], data[:70_000]):
        chunks = chunks_of(cut_short)
        assert max(map(len, chunks)) <= 256 << 10
        assert len(chunks) <= 2 * len([*cut(cut_short)]) + 4


def test_a_file_of_a_known_format_is_read_back(tmp_path):
    """The store hands out the bytes that it was given, and what another container held is not stored again."""
    store = LocalStore.create(tmp_path / "store")
    with store.writer() as writer:
        for data in CONTENTS.values():
            writer.add_stream(io.BytesIO(data))
        writer.flush()
        before = writer.stored_bytes
        blob, length = writer.add_stream(io.BytesIO(tar(CONTENTS)))
        writer.flush()
        assert writer.stored_bytes - before < 4_000
    assert (BlobId.of(tar(CONTENTS)), len(tar(CONTENTS))) == (blob, length)
    assert store.read_blob(blob) == tar(CONTENTS)
