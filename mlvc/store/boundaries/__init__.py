"""Where known formats are cut besides where their bytes say so: at tensors, members of archives and pages.

A file in a container then has the chunks that it has by itself, wherever and in whichever container it stands. Cuts
are hints: a file that is damaged, or made to deceive, is cut in other places and costs room, and nothing else.
"""

from __future__ import annotations

from mlvc.store.boundaries.archives import is_tar, is_zip, tar, zip_
from mlvc.store.boundaries.parquet import is_parquet, parquet
from mlvc.store.boundaries.tensors import is_npy, is_safetensors, npy, safetensors
from mlvc.store.boundaries.window import RECOGNISED_BYTES, WHOLE_BYTES, Format, Window

__all__ = ["RECOGNISED_BYTES", "WHOLE_BYTES", "Boundaries", "recognise"]


def recognise(head: bytes) -> Format | None:
    """Returns the format of what begins with these bytes (`RECOGNISED_BYTES` of them), if it is known."""
    if is_zip(head):
        return zip_
    if is_npy(head):
        return npy
    if is_parquet(head):
        return parquet
    if is_safetensors(head):
        return safetensors
    if is_tar(head):
        return tar
    return None


class Boundaries:
    """Finds where a stream of a known format is cut, while it is read."""

    def __init__(self, format_: Format) -> None:
        self._window = Window(recognise)
        self._steps = format_(self._window)
        self._needed: int | None = 0

    def look(self, data: bytes, start: int, *, is_end: bool) -> tuple[list[int], int]:
        """Looks at a part of the stream, which must begin no later than the last answer said.

        Args:
            data: The part.
            start: Where it begins.
            is_end: Whether nothing follows.

        Returns:
            The offsets in `data` of cuts that were not known before, and up to which offset in it all are known now.
        """
        window, end = self._window, start + len(data)
        window.show(data, start)
        while self._needed is not None and (window.position + self._needed <= end or is_end):
            self._needed = None if window.is_wasteful else next(self._steps, None)
        cuts = []
        while window.cuts and window.cuts[0] <= end:
            cuts.append(window.cuts.popleft() - start)
        return cuts, len(data) if self._needed is None else min(window.position, end) - start
