"""Where things stand in a store's directory, and how its files are named.

    format          `mlvc-store 1` and a newline
    lock            held (flock) while packs are published
    use             held (flock, shared) by whoever relies on what is stored; alone by gc while it deletes
    gc              held (flock) by the one gc that runs
    unreached       since when gc has found which records unreachable
    verified        which raw packs were found intact
condemned       the packs that a gc has begun to delete; they do not count
    damaged/        packs that a repair has replaced; they do not count
    repositories/   who uses the store: one file for each work tree
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
    def use(self) -> Path:
        """The lock of those who rely on what is stored, which gc takes alone to delete."""
        return self.directory / "use"

    @property
    def gc(self) -> Path:
        """The lock of the one gc that runs."""
        return self.directory / "gc"

    @property
    def unreached(self) -> Path:
        """What gc found unreachable, and when first."""
        return self.directory / "unreached"

    @property
    def verified(self) -> Path:
        """Which raw packs were found intact."""
        return self.directory / "verified"

    @property
    def condemned(self) -> Path:
        """The list of packs that a gc has begun to delete."""
        return self.directory / "condemned"

    @property
    def damaged(self) -> Path:
        """The directory of packs that a repair has replaced."""
        return self.directory / "damaged"

    @property
    def repositories(self) -> Path:
        """The directory of those who use the store."""
        return self.directory / "repositories"

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
