"""Who counts on what a store holds: while anybody does, gc deletes nothing (see `mlvc.store.gc`)."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from mlvc import fsio
from mlvc.fsio import translate_os_errors
from mlvc.store.condemned import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlvc.store.layout import Layout

__all__ = ["Use"]


class Use:
    """The use of one store by this process, from any of its threads."""

    def __init__(
        self, layout: Layout, refresh: Callable[[], object], on_wait: Callable[[str], None] | None
    ) -> None:
        """Begins unused.

        Args:
            layout: The store's.
            refresh: Called once each use has begun: looks at what is there now.
            on_wait: Told when a gc has to be waited for.
        """
        self._layout = layout
        self._refresh = refresh
        self._on_wait = on_wait
        self._lock = threading.Lock()
        self._held = contextlib.ExitStack()
        self._users = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Uses the store until the context is left; contexts may nest. See `LocalStore.in_use`."""
        with self._lock:
            if not self._users:
                with translate_os_errors(f"use the store {self._layout.directory}"):
                    self._begin_use()
                self._refresh()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._held.close()

    def _begin_use(self) -> None:
        lock, condemned = self._layout.use, self._layout.condemned
        while True:
            self._held.enter_context(fsio.file_lock(lock, shared=True, on_wait=self._say_gc))
            if not condemned.exists():
                return
            # A gc was killed while it deleted. What it had condemned must be gone before anything is published
            # here: the same bytes would get the name of a condemned pack.
            self._held.close()
            with fsio.file_lock(lock):
                execute(self._layout)

    def _say_gc(self) -> None:
        if self._on_wait is not None:
            self._on_wait("waiting for a gc that is deleting")
