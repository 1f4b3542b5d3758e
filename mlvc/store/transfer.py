"""What pushing and fetching share: several steps at once, and what they tell at the end."""

from __future__ import annotations

import collections
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mlvc.store.remote_files import RemoteDamagedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

__all__ = ["AT_ONCE", "LARGE_BYTES", "Transferred", "in_order", "in_parallel", "is_large"]

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")
AT_ONCE = 4
"""So many requests, where nobody says how many: one upload holds up to 64 MiB in memory."""
LARGE_BYTES = 64 << 20
"""No pack of many records is longer. What is, is moved in pieces, several at once, and alone."""


class Transferred(NamedTuple):
    """What was moved; nothing where the other side had it all."""

    packs: int
    size_bytes: int

    def __add__(self, other: object) -> Transferred:
        """Returns both together; a pack that was read in two steps counts twice."""
        if not isinstance(other, Transferred):
            return NotImplemented
        return Transferred(self.packs + other.packs, self.size_bytes + other.size_bytes)


def is_large(size_bytes: int) -> bool:
    """Returns whether a pack is moved alone, in pieces."""
    return size_bytes > LARGE_BYTES


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


def in_order(
    step: Callable[[_Item], _Done], items: Iterable[_Item], jobs: int
) -> Generator[_Done, None, None]:
    """Yields what a step returns for each item, in the order of the items, while it runs for the next, `jobs` at once.

    An item is taken when its turn comes: no more than `jobs` and one have begun, and were not yielded.

    Raises:
        MlvcError: That of the first item whose step failed; what had not begun is left out.
    """
    begun: collections.deque[Future[_Done]] = collections.deque()
    with ThreadPoolExecutor(jobs, thread_name_prefix="mlvc-transfer") as pool:
        try:
            for item in items:
                begun.append(pool.submit(step, item))
                if len(begun) > jobs:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
