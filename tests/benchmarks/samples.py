"""Files of the formats that are cut at their parts, as the usual libraries write them, and second versions of them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch

__all__ = [
    "Files",
    "Tensors",
    "adapter",
    "as_chunked_parquet",
    "as_deflated",
    "as_npy",
    "as_npz",
    "as_parquet",
    "as_plain_parquet",
    "as_safetensors",
    "as_tar",
    "as_torch",
    "as_zip",
    "column_changed",
    "column_dropped",
    "first_resized",
    "images",
    "lines",
    "lines_edited",
    "one_changed",
    "one_file_changed",
    "one_file_first",
    "one_text_changed",
    "one_text_first",
    "region_changed",
    "reordered",
    "rows_appended",
    "rows_in_front",
    "table",
    "texts",
    "transformer",
]

Files = Mapping[str, bytes]
Tensors = dict[str, torch.Tensor]

MEMBER_TIMES = ((2026, 1, 1, 0, 0, 0), 1_767_225_600)

# ---------------------------------------------------------------------------------------------- what is in the files


def transformer(layers: int = 12, width: int = 256) -> Tensors:
    """Returns 46 MB of weights: matrices of 256 KiB and 1 MiB, small vectors, and a large embedding in front."""
    torch.manual_seed(1)
    tensors = {"embedding.weight": torch.randn(8000, width)}
    for number in range(layers):
        for name in "qkvo":
            tensors[f"layers.{number:02}.{name}.weight"] = torch.randn(width, width)
        tensors[f"layers.{number:02}.up.weight"] = torch.randn(4 * width, width)
        tensors[f"layers.{number:02}.down.weight"] = torch.randn(width, 4 * width)
        tensors[f"layers.{number:02}.norm.weight"] = torch.randn(width)
    return tensors


def adapter() -> Tensors:
    """Returns the 13 MB of a low-rank adapter: 400 matrices of 32 KiB."""
    torch.manual_seed(2)
    return {f"layers.{number:03}.lora.weight": torch.randn(8, 1024) for number in range(400)}


def one_changed(tensors: Tensors) -> Tensors:
    name = sorted(tensors)[len(tensors) // 2]
    return {**tensors, name: torch.randn(tensors[name].shape)}


def first_resized(tensors: Tensors) -> Tensors:
    name = min(tensors)
    return {**tensors, name: torch.cat([tensors[name], torch.randn(3, tensors[name].shape[1])])}


def reordered(tensors: Tensors) -> Tensors:
    """Returns the same under names that sort the other way round."""
    return {
        f"{len(tensors) - number:03}.{name}": tensors[name] for number, name in enumerate(sorted(tensors))
    }


def images(count: int = 150) -> dict[str, bytes]:
    """Returns files of 20 to 300 KB that do not compress."""
    generator = np.random.default_rng(3)
    sizes = generator.integers(20_000, 300_000, count)
    return {f"images/{number:05}.jpg": generator.bytes(int(size)) for number, size in enumerate(sizes)}


def one_file_changed(files: Files) -> Files:
    name = sorted(files)[len(files) // 2]
    return {**files, name: np.random.default_rng(4).bytes(len(files[name]))}


def one_file_first(files: Files) -> Files:
    return {"images/00000-new.jpg": np.random.default_rng(5).bytes(100_001), **files}


def texts() -> dict[str, bytes]:
    """Returns files of 100 KB to 1 MB that compress."""
    generator = np.random.default_rng(6)
    return {
        f"texts/{number:03}.csv": b"\n".join(
            b"%d,%d,%d" % tuple(row) for row in generator.integers(0, 1000, (int(rows), 3))
        )
        for number, rows in enumerate(generator.integers(10_000, 100_000, 60))
    }


def one_text_changed(files: Files) -> Files:
    name = sorted(files)[len(files) // 2]
    return {**files, name: files[name].replace(b"7,", b"8,")}


def one_text_first(files: Files) -> Files:
    return {"texts/000-new.csv": b"1,2,3\n" * 3000, **files}


def table(rows: int = 1_000_000, seed: int = 7) -> pa.Table:
    generator = np.random.default_rng(seed)
    words = np.array([f"word {number}" for number in range(5000)])
    return pa.table(
        {
            "id": np.arange(rows),
            "x": generator.normal(size=rows),
            "y": generator.normal(size=rows).astype("f4"),
            "label": generator.integers(0, 10, rows),
            "word": words[generator.integers(0, len(words), rows)],
            "score": generator.normal(size=rows).round(2),
        }
    )


def column_changed(rows: pa.Table) -> pa.Table:
    changed = np.random.default_rng(8).normal(size=rows.num_rows).astype("f4")
    return rows.set_column(2, "y", pa.array(changed))


def column_dropped(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["y"])


def rows_appended(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows, table(10_000, 9)])


def lines() -> Files:
    """Returns a table as text: 65 MB in 1,000,000 lines."""
    generator = np.random.default_rng(11)
    numbers, digits = generator.normal(size=(1_000_000, 3)), generator.integers(0, 1000, 1_000_000)
    return {
        "lines": b"".join(
            b"%d,%d,%.9f,%.9f,%.9f\n" % (number, digit, *row)
            for number, (digit, row) in enumerate(zip(digits, numbers, strict=True))
        )
    }


def lines_edited(files: Files) -> Files:
    """Returns the table with one line in a thousand changed, in scattered places."""
    edited = files["lines"].splitlines(keepends=True)
    for number in np.random.default_rng(12).integers(0, len(edited), len(edited) // 1000):
        edited[number] = b"%d,edited\n" % number
    return {"lines": b"".join(edited)}


def region_changed(files: Files) -> Files:
    """Returns files of which 5 % were overwritten in one place."""
    return {
        name: data[: len(data) // 2]
        + np.random.default_rng(13).bytes(len(data) // 20)
        + data[len(data) // 2 + len(data) // 20 :]
        for name, data in files.items()
    }


def rows_in_front(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([table(1_000, 10), rows])


# ------------------------------------------------------------------------------------------------------- the formats


def as_safetensors(tensors: Tensors) -> Files:
    return {"model": safetensors.torch.save(tensors)}


def as_torch(tensors: Tensors) -> Files:
    file = io.BytesIO()
    torch.save(tensors, file)
    return {"model": file.getvalue()}


def as_npz(tensors: Tensors) -> Files:
    file = io.BytesIO()
    np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
    return {"model": file.getvalue()}


def as_npy(tensors: Tensors) -> Files:
    files = {}
    for name, tensor in tensors.items():
        file = io.BytesIO()
        np.save(file, tensor.numpy())
        files[f"{name}.npy"] = file.getvalue()
    return files


def as_tar(members: Files) -> Files:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), MEMBER_TIMES[1]
            archive.addfile(member, io.BytesIO(data))
    return {"archive": file.getvalue()}


def as_zip(members: Files, method: int = zipfile.ZIP_STORED) -> Files:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, MEMBER_TIMES[0]), data, method)
    return {"archive": file.getvalue()}


def as_deflated(members: Files) -> Files:
    return as_zip(members, zipfile.ZIP_DEFLATED)


def as_parquet(rows: pa.Table, **options: object) -> Files:
    file = io.BytesIO()
    pq.write_table(rows, file, row_group_size=100_000, **options)
    return {"table": file.getvalue()}


def as_chunked_parquet(rows: pa.Table) -> Files:
    return as_parquet(rows, use_content_defined_chunking=True)


def as_plain_parquet(rows: pa.Table) -> Files:
    return as_parquet(rows, compression="none", use_dictionary=False)
