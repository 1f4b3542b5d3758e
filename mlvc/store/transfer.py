"""What pushing and fetching share: several steps at once, and what they tell at the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mlvc.store.remote_files import RemoteDamagedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["AT_ONCE", "Transferred", "in_parallel"]

_Item = TypeVar("_Item")
AT_ONCE = 4
"""So many requests, where nobody says how many: one upload holds up to 64 MiB in memory."""


class Transferred(NamedTuple):
    """What was moved; nothing where the other side had it all."""

    packs: int
    size_bytes: int

    def __add__(self, other: object) -> Transferred:
        """Returns both together; a pack that was read in two steps counts twice."""
        if not isinstance(other, Transferred):
            return NotImplemented
        return Transferred(self.packs + other.packs, self.size_bytes + other.size_bytes)


def in_parallel(step: Callable[[_Item], None], items: Iterable[_Item], jobs: int) -> None:
    """Runs a step for each item, `jobs` at once; damage is raised when the others are done.

    Raises:
        RemoteDamagedError: It names everything that is damaged.
        MlvcError: Another error of the first step that failed; steps that had not begun are left out.
    """
    damaged: list[tuple[str, str]] = []
    with ThreadPoolExecutor(jobs, thread_name_prefix="mlvc-transfer") as pool:
        try:
            for future in as_completed([pool.submit(step, item) for item in items]):
                error = future.exception()
                if isinstance(error, RemoteDamagedError):
                    damaged += error.found
                elif error is not None:
                    raise error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    if damaged:
        raise RemoteDamagedError(*sorted(damaged))
