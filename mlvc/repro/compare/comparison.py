"""What comparing two files found out; the vocabulary of the modules beside this one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from mlvc.model.names import encode_name
from mlvc.model.objects import VERDICTS, Difference

__all__ = ["PIECE_BYTES", "Comparison", "iter_pieces", "shown", "worst"]

PIECE_BYTES = 1 << 20
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing found.

    Attributes:
        verdict: One of `VERDICTS`.
        detail: What differs, for a person.
        differences: The places that differ, the gravest first, as many as are worth keeping.
    """

    verdict: str
    detail: str = ""
    differences: tuple[Difference, ...] = ()


def worst(verdicts: Iterator[str]) -> str:
    """Returns the worst of some verdicts; `identical` where there are none."""
    return max(verdicts, key=VERDICTS.index, default=VERDICTS[0])


def iter_pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yields the rest of a file in pieces of bounded size."""
    while piece := file.read(PIECE_BYTES):
        yield piece


def shown(text: str) -> str:
    """Returns a piece of foreign text for one line of a message: shortened, without control characters."""
    cut = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return encode_name(cut.encode("utf-8", "surrogatepass"))
