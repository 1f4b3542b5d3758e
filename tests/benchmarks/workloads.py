"""The files that the benchmarks work on: seeded, so that every run and every machine has the same ones."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "make_files",
    "mutate_files",
    "write_changed_region",
    "write_csv",
    "write_edited_csv",
    "write_incompressible",
]

_BLOCK_BYTES = 8 << 20
_FILES_PER_FOLDER = 1000
_MEAN_FILE_BYTES = 11_000
_CHANGES_PER_FILES = 1000
_VOWELS, _CONSONANTS = "aeiou", "bdfglmnrstvz"
_SPECIES = ("setosa", "versicolor", "virginica", "unknown")


@functools.cache
def _sentences() -> list[str]:
    """Returns 50,000 sentences of some 8,000 words, a few of which are frequent, as in any language."""
    rng = random.Random("vocabulary")
    syllables = ["".join(pair) for pair in itertools.product(_CONSONANTS, _VOWELS)]
    words = sorted({"".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(9000)})
    rng.shuffle(words)
    weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
    return [
        " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(5, 18))).capitalize() + ".\n"
        for _ in range(50_000)
    ]


def _csv_row(rng: random.Random, number: int) -> str:
    a, b, c = rng.random(), rng.random(), rng.getrandbits(20)
    day = f"2024-{c % 12 + 1:02}-{c % 28 + 1:02}"
    return f"{number},{day},{_SPECIES[c & 3]},{a * 10:.4f},{b * 100:.3f},{c},{'yes' if c & 16 else 'no'}\n"


class _Contents:
    """Makes the bytes of one file after the other: a quarter sentences, a quarter CSV rows, half incompressible."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def next(self, number: int, mean_bytes: int) -> tuple[str, bytes]:
        """Returns the suffix and the bytes of a file."""
        rng = self._rng
        # The mean of this log-normal distribution is `mean_bytes` but for the few that are cut off.
        size = int(min(20 * mean_bytes, mean_bytes * rng.lognormvariate(-0.32, 0.8))) + 1
        if number % 2:
            return ".bin", rng.randbytes(size)
        if number % 4:
            return ".csv", "".join(_csv_row(rng, row) for row in range(size // 48 + 1)).encode()
        return ".txt", "".join(rng.choices(_sentences(), k=size // 75 + 1)).encode()


def make_files(folder: Path, count: int, seed: int, mean_bytes: int = _MEAN_FILE_BYTES) -> None:
    """Writes `count` files into directories of a thousand each."""
    contents = _Contents(seed)
    for number in range(count):
        if number % _FILES_PER_FOLDER == 0:
            below = folder / f"{number // _FILES_PER_FOLDER:04}"
            below.mkdir(parents=True)
        suffix, body = contents.next(number, mean_bytes)
        (below / f"{number:07}{suffix}").write_bytes(body)


def mutate_files(
    folder: Path, seed: int, counts: tuple[int, int, int] | None = None, mean_bytes: int = _MEAN_FILE_BYTES
) -> None:
    """Changes, adds and deletes as many files as `counts` says; by default one of 1,000 of each.

    A changed file is written anew and not in place: it may be a hard link into somebody's store.
    """
    rng = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    changed, added, deleted = counts or (max(1, len(files) // _CHANGES_PER_FILES),) * 3
    chosen = rng.sample(files, min(changed + deleted, len(files)))
    contents = _Contents(seed)
    for number, path in enumerate(chosen):
        path.unlink()
        if number < changed:
            path.write_bytes(contents.next(number, mean_bytes)[1])
    folders = sorted({path.parent for path in files})
    for number in range(added):
        suffix, body = contents.next(number, mean_bytes)
        (rng.choice(folders) / f"new-{seed}-{number}{suffix}").write_bytes(body)


def write_incompressible(path: Path, size_bytes: int, seed: int) -> None:
    rng = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for begin in range(0, size_bytes, _BLOCK_BYTES):
            file.write(rng.randbytes(min(_BLOCK_BYTES, size_bytes - begin)))


def write_changed_region(source: Path, target: Path, share: float, seed: int) -> None:
    """Copies a file with one region of `share` of its length, begun at two fifths of it, written anew."""
    size_bytes = source.stat().st_size
    begin, length = size_bytes * 2 // 5, int(size_bytes * share)
    rng = random.Random(seed)
    with source.open("rb") as old, target.open("wb") as new:
        for block in iter(lambda: old.read(_BLOCK_BYTES), b""):
            new.write(block)
        new.seek(begin)
        for done in range(0, length, _BLOCK_BYTES):
            new.write(rng.randbytes(min(_BLOCK_BYTES, length - done)))


def write_csv(path: Path, rows: int, seed: int) -> None:
    """Writes a table of about 83 bytes a row."""
    rng = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii", newline="") as file:
        file.write("row,name,day,species,length,weight,code,seen\n")
        for row in range(rows):
            file.write(_wide_row(rng, row))


def _wide_row(rng: random.Random, row: int) -> str:
    return f"sample-{rng.getrandbits(64):016x}-{row % 97:02},{_csv_row(rng, row)}"


def write_edited_csv(source: Path, target: Path, rows: int, seed: int) -> None:
    """Copies a table with 0.1 % of its rows edited all over it, 100 inserted at the start and 1 % appended."""
    rng = random.Random(seed)
    edited = set(rng.sample(range(rows), max(1, rows // 1000)))
    with (
        source.open(encoding="ascii", newline="") as old,
        target.open("w", encoding="ascii", newline="") as new,
    ):
        new.write(next(old))
        new.writelines(_wide_row(rng, rows + row) for row in range(min(100, rows)))
        new.writelines(_edited(rng, old, edited))
        new.writelines(_wide_row(rng, 2 * rows + row) for row in range(rows // 100))


def _edited(rng: random.Random, lines: Iterator[str], edited: set[int]) -> Iterator[str]:
    for row, line in enumerate(lines):
        if row in edited:
            head, _, tail = line.rpartition(",")
            yield f"{head}{rng.randint(0, 99)},{tail}"
        else:
            yield line
