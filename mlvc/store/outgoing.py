"""A file on its way to a remote: read once, and hashed as it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.fsio import translate_os_errors
from mlvc.store.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Outgoing"]

_CHECKED_BYTES = 1 << 20


class Outgoing:
    """A file that must not arrive unless its bytes are those that its name stands for.

    Attributes:
        path: The file.
        size_bytes: Its length.
        advance: Is told by who sends it how many bytes more have arrived.
    """

    def __init__(self, path: Path, digest: bytes, advance: Callable[[int], None] = lambda _: None) -> None:
        """Looks at the file.

        Args:
            path: The file.
            digest: The BLAKE3 of its contents.
            advance: As the attribute; may be called in any thread.

        Raises:
            FileUnreadableError: It cannot be read.
        """
        self.path = path
        self.advance = advance
        self._digest = digest
        with translate_os_errors(f"read {path}"):
            self.size_bytes = path.stat().st_size

    def pieces(self, take: Callable[[], bytearray]) -> Iterator[bytearray]:
        """Yields the contents, in order, and checks them before it ends: who sends them waits for the end.

        Args:
            take: Returns a buffer, which a piece fills; that of the last is cut to its length. Called once for each.

        Raises:
            DamagedFileError: In the place of the end: these are other bytes.
            FileUnreadableError: They cannot be read.
        """
        hasher = blake3()
        left = self.size_bytes
        with translate_os_errors(f"read {self.path}"), self.path.open("rb", buffering=0) as file:
            while left > 0:
                buffer = take()
                del buffer[left:]
                done = 0
                # Not through a mapping: each page of it that was read would count as this process's memory.
                while done < len(buffer) and (count := file.readinto(memoryview(buffer)[done:])):
                    done += count
                if done < len(buffer):
                    break  # It has become shorter; what the buffer held before is not of it.
                hasher.update(buffer)
                left -= done
                yield buffer
        if hasher.digest() != self._digest:
            raise DamagedFileError(self.path, "it holds other bytes than its name says, and was not sent")

    def check(self) -> None:
        """Reads all of it, for those who cannot while they send; raises as `pieces` does."""
        buffer = bytearray(_CHECKED_BYTES)
        for _ in self.pieces(lambda: buffer):
            pass
