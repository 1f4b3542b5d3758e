"""Where things stand in a store's directory, and how its files are named.

    format          `mlvc-store 1` and a newline
    lock            held (flock) while packs are published
    packs/HEX.pack  packs, named by the BLAKE3 of the whole file
    packs/HEX.idx   their indexes; a pack without one does not count
    tmp/            files that are being written, each locked by its writer

Format page: docs/format/store.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlvc.model.ids import DIGEST_BYTES, PackId

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["INDEX_SUFFIX", "PACK_SUFFIX", "Layout", "parse_pack_name"]

PACK_SUFFIX = ".pack"
INDEX_SUFFIX = ".idx"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store."""

    directory: Path

    @property
    def format(self) -> Path:
        """The file that says what this is, and its version."""
        return self.directory / "format"

    @property
    def lock(self) -> Path:
        """The lock of those who publish packs."""
        return self.directory / "lock"

    @property
    def packs(self) -> Path:
        """The directory of packs and indexes."""
        return self.directory / "packs"

    @property
    def temporaries(self) -> Path:
        """The directory of what is being written."""
        return self.directory / "tmp"

    def pack(self, pack: PackId) -> Path:
        """The path of a pack."""
        return self.packs / (pack.hex + PACK_SUFFIX)

    def index(self, pack: PackId) -> Path:
        """The path of a pack's index."""
        return self.packs / (pack.hex + INDEX_SUFFIX)


def parse_pack_name(name: str, suffix: str) -> PackId | None:
    """Returns the pack that a file name with `suffix` stands for, or None if it is no such name."""
    stem = name.removesuffix(suffix)
    if stem == name or len(stem) != 2 * DIGEST_BYTES or stem.strip("0123456789abcdef"):
        return None
    return PackId(bytes.fromhex(stem))
