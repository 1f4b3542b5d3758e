"""What cuts at the tensors, members and pages of known formats save, beside FastCDC alone, at two sizes of chunks.

python tests/benchmarks/cuts.py [CASE ...]
python tests/benchmarks/cuts.py --sizes

Not part of the test run: it asserts nothing. Needs numpy, pyarrow, safetensors and torch, which write the files.
With `--sizes` it compares more sizes of chunks instead, on what most decides about them.
Each case adds the files of a first version to an empty store and then those of a second version, each as the next
version of the file of its name. The figures are what the second one adds to the store, records, recipes and deltas
included, as a share of the second version's size.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from blake3 import blake3

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from mlvc.store import chunking
from mlvc.store.local import LocalStore
from tests.benchmarks import samples
from tests.benchmarks.samples import Files  # the line above makes it importable from anywhere

SIZES = (64, 16)
MORE_SIZES = (8, 16, 32, 64, 128, 256)
"""The averages that are aimed at, in KiB; a quarter is the least and four times as much the most."""

# --------------------------------------------------------------------------------------------------------- the cases

Make = Callable[[], Any]
Write = Callable[[Any], Files]
Versions = Callable[[], tuple[Files, Files]]

CONTAINERS: dict[str, Write] = {
    "npy": samples.as_npy,
    "npz": samples.as_npz,
    "safetensors": samples.as_safetensors,
    "torch": samples.as_torch,
}
ARCHIVES: dict[str, Write] = {"tar": samples.as_tar, "zip": samples.as_zip}
TABLES: dict[str, Write] = {
    "Parquet": samples.as_parquet,
    "Parquet, not compressed": samples.as_plain_parquet,
    "Parquet, content-defined pages": samples.as_chunked_parquet,
}
TENSORS: dict[str, Make] = {"large tensors": samples.transformer, "small tensors": samples.adapter}


def changed(write: Write, make: Make, change: Callable[[Any], Any]) -> Versions:
    return lambda: (write(make()), write(change(make())))


def rewritten(before: Write, after: Write, make: Make) -> Versions:
    return lambda: (before(make()), after(make()))


def cases() -> Iterator[tuple[str, str, Versions]]:
    """Yields each case: the format, what is different in the second version, and what makes both."""
    for what, tensors in TENSORS.items():
        for name in ("safetensors", "torch", "npz"):
            for change in (samples.one_changed, samples.first_resized, samples.reordered):
                yield f"{name}, {what}", _said(change), changed(CONTAINERS[name], tensors, change)
        for names in (("safetensors", "torch"), ("torch", "npz"), ("npz", "safetensors"), ("npy", "npz")):
            before, after = (CONTAINERS[name] for name in names)
            yield f"{names[0]}, {what}", f"as {names[1]}", rewritten(before, after, tensors)
    yield (
        "torch, large tensors",
        "in a tar",
        rewritten(samples.as_torch, lambda made: samples.as_tar(samples.as_torch(made)), samples.transformer),
    )
    for name, write in ARCHIVES.items():
        for alter in (samples.one_file_changed, samples.one_file_first):
            yield name, _said(alter), changed(write, samples.images, alter)
        yield "files", f"as {name}", rewritten(dict, write, samples.images)
    for alter in (samples.one_text_changed, samples.one_text_first):
        yield "zip, deflated", _said(alter), changed(samples.as_deflated, samples.texts, alter)
    for name, write in TABLES.items():
        for edit in (
            samples.column_changed,
            samples.column_dropped,
            samples.rows_appended,
            samples.rows_in_front,
        ):
            yield name, _said(edit), changed(write, samples.table, edit)


def _said(change: Callable[..., object]) -> str:
    return change.__name__.replace("_", " ")


# ------------------------------------------------------------------------------------------------------- measuring


@contextlib.contextmanager
def settings(average_kib: int, *, is_format_aware: bool) -> Iterator[None]:
    """Cuts in another way while it lasts."""
    with contextlib.ExitStack() as stack:
        for name, value in (
            ("_AVERAGE_BYTES", average_kib << 10),
            ("_MIN_BYTES", average_kib << 8),
            ("_MAX_BYTES", average_kib << 12),
            ("WHOLE_BYTES", average_kib << 10),
        ):
            stack.enter_context(mock.patch.object(chunking, name, value))
        if not is_format_aware:
            stack.enter_context(mock.patch.object(chunking, "recognise", return_value=None))
        yield


def shares_added(before: Files, after: Files, *, has_deltas: bool = True) -> tuple[float, float]:
    """Returns what the first version took and the second added, each as a share of its own size."""
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore.create(Path(folder) / "store")
        with store.writer() as writer:
            blobs = {name: writer.add_stream(io.BytesIO(data))[0] for name, data in before.items()}
            writer.flush()
            first = writer.stored_bytes
        with store.writer() as writer:
            for name, data in after.items():
                writer.add_stream(io.BytesIO(data), blobs.get(name) if has_deltas else None)
            writer.flush()
            second = writer.stored_bytes
    return first / sum(map(len, before.values())), second / sum(map(len, after.values()))


def print_sizes() -> None:
    """Prints what chunks of each size cost, and what they save."""
    noise = np.random.default_rng(14).bytes(256 << 20)
    text, model = samples.lines(), samples.as_safetensors(samples.transformer())
    edits = [
        (text, samples.lines_edited(text), True),
        (text, samples.lines_edited(text), False),
        (model, samples.region_changed(model), True),
        (samples.images(), samples.as_tar(samples.images()), True),
    ]
    print("| average, KiB | cut and hashed, GiB/s | kept about each chunk | ", end="")
    print("lines edited | the same without deltas | 5 % of a checkpoint | files as tar |")
    print("|---|---|---|---|---|---|---|")
    for size in MORE_SIZES:
        with settings(size, is_format_aware=True):
            seconds = min(_cut_and_hash(noise) for _ in range(5))
            overhead = shares_added({"noise": noise}, {"": b"-"})[0] - 1
            cells = [
                f"{shares_added(before, after, has_deltas=has_deltas)[1]:.2%}"
                for before, after, has_deltas in edits
            ]
        print(
            f"| {size} | {len(noise) / seconds / 2**30:.2f} | {overhead:.2%} | {' | '.join(cells)} |",
            flush=True,
        )


def _cut_and_hash(data: bytes) -> float:
    """Returns the seconds of processor time that it takes."""
    begin = time.process_time()
    for chunk in chunking.cut_stream(io.BytesIO(data)):
        blake3(chunk).digest()
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what format-aware cuts save.")
    parser.add_argument("case", nargs="*", help="part of a format's name; default: all")
    parser.add_argument("--sizes", action="store_true", help="compare sizes of chunks")
    options = parser.parse_args()
    if options.sizes:
        print_sizes()
        return
    wanted = options.case
    titles = [f"{cuts}, {size} KiB" for size in SIZES for cuts in ("FastCDC", "with cuts")]
    print("| first version | second version | " + " | ".join(titles) + " | the first itself |")
    print("|---|---|" + "---|" * len(titles) + "---|")
    for format_, change, make in cases():
        if wanted and not any(part in format_ for part in wanted):
            continue
        before, after = make()
        firsts, seconds = [], []
        for size in SIZES:
            for is_format_aware in (False, True):
                with settings(size, is_format_aware=is_format_aware):
                    first, second = shares_added(before, after)
                firsts.append(first)
                seconds.append(f"{second:.2%}")
        overhead = max(
            with_cuts - without for without, with_cuts in zip(firsts[::2], firsts[1::2], strict=True)
        )
        print(f"| {format_} | {change} | " + " | ".join(seconds) + f" | {overhead:+.2%} |", flush=True)


if __name__ == "__main__":
    main()
