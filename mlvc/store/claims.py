"""Which records several forked writers have taken on, so that none of them is stored twice."""

from __future__ import annotations

import mmap

from mlvc.model.ids import DIGEST_BYTES

__all__ = ["Claims"]

_SLOTS_A_RECORD = 2
_MAX_PROBES = 64
_FREE = bytes(DIGEST_BYTES)


class Claims:
    """A set of digests in memory that forked processes share.

    There is no lock: two that claim one digest at the same time may both get it, and store it twice, which only costs
    its bytes. The other error is not possible: a digest stands there only after somebody got it.
    Open addressing with linear probing; 64 bytes of memory for each expected record, touched only where used.
    """

    def __init__(self, records: int) -> None:
        """Makes room for so many records; some of many more are not remembered, and may be stored twice."""
        self._slots = records * _SLOTS_A_RECORD + _MAX_PROBES
        self._table = mmap.mmap(-1, self._slots * DIGEST_BYTES)

    def take(self, digest: bytes) -> bool:
        """Claims a digest for this process; returns whether nobody had it yet."""
        table, slots = self._table, self._slots
        first = int.from_bytes(digest[:8], "little")
        for probe in range(_MAX_PROBES):
            start = (first + probe) % slots * DIGEST_BYTES
            holder = table[start : start + DIGEST_BYTES]
            if holder == digest:
                return False
            if holder == _FREE:
                table[start : start + DIGEST_BYTES] = digest
                return True
        return True
