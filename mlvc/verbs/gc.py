"""`mlvc gc`: deletes what nothing needs any more, in every repository that uses the store."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from mlvc.errors import MlvcError, NotFoundError
from mlvc.fsio import file_lock, translate_os_errors
from mlvc.model.config import decode_config
from mlvc.model.names import encode_name
from mlvc.repo import SETTINGS_NAME, Repo
from mlvc.store.gc import Collected, collect
from mlvc.store.registry import forget, read_registrations
from mlvc.verbs.roots import read_roots
from mlvc.verbs.undo import keep_days_of

__all__ = ["ForgetResult", "GcResult", "NotRegisteredError", "forget_repository", "gc"]


class NotRegisteredError(NotFoundError):
    """No repository or worktree of that path uses the store."""

    code = "not-registered"


@dataclass(frozen=True, slots=True)
class GcResult:
    """What was, or would be, deleted.

    Attributes:
        collected: As the store counts it.
        repositories: The tops of all work trees that use the store.
        keep_days: The keep period.
        is_dry_run: Whether nothing was changed.
    """

    collected: Collected
    repositories: tuple[Path, ...]
    keep_days: int
    is_dry_run: bool


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """How many work trees were taken out of the store's register."""

    path: Path
    worktrees: int


def gc(repo: Repo, *, dry_run: bool = False) -> GcResult:
    """Deletes what no repository that uses the store has needed for the keep period.

    Everything else stays, and can be had back as if gc had never run. Where commits, runs, environments or verdicts
    went, the indexes of all these repositories are made again; one that cannot be is told as a warning.

    Raises:
        RepositoryUnreadableError: One of the repositories cannot be read; nothing was deleted.
        IntegrityError: Something that has to be followed is damaged; nothing was deleted.
        DiskFullError: There is no room for copies of what remains in a pack; nothing was deleted.
    """
    store = repo.store
    keep_days = keep_days_of(repo)
    keep, now = datetime.timedelta(days=keep_days), repo.clock.now()
    collected = collect(
        store,
        lambda: read_roots(store.layout, now=now, keep=keep),
        repo.reporter,
        now_s=int(now.timestamp()),
        keep_s=int(keep.total_seconds()),
        dry_run=dry_run,
    )
    registered = read_registrations(store.layout)
    if collected.removed and not dry_run:
        for common, root in {item.common: item.root for item in registered}.items():
            try:
                _renew_index(repo, common, root)
            except MlvcError as exc:
                # It is a colleague's, perhaps: what was deleted is deleted, and each other index must still be right.
                repo.reporter.warn(
                    f"the index of {encode_name(bytes(root))} may still list what was deleted, until "
                    f"`mlvc index rebuild` there: {exc.message}"
                )
    roots = tuple(sorted(item.root for item in registered))
    return GcResult(collected, roots, keep_days, dry_run)


def _renew_index(repo: Repo, common: Path, root: Path) -> None:
    """Makes an index without what went; one that does not exist is made by the first command that needs it."""
    path = common / "mlvc" / "index.db"
    with translate_os_errors(f"look at {encode_name(bytes(path))}"):
        if not path.exists():
            return
    from mlvc.index.database import open_index  # noqa: PLC0415  # 150 ms that most calls need not pay

    with translate_os_errors(f"read the settings of {encode_name(bytes(root))}"):
        config = decode_config((root / SETTINGS_NAME.decode()).read_bytes())
    open_index(path, None, repo.store, config.project_id).rebuild(repo.reporter)


def forget_repository(repo: Repo, path: str) -> ForgetResult:
    """Takes a repository or worktree that is gone out of the store's register, so that it blocks no gc.

    What only it needed is kept for the keep period from the next gc on. If it still exists, its next mlvc command
    registers it again.

    Raises:
        NotRegisteredError: No such repository is registered.
    """
    layout = repo.store.layout
    place = repo.cwd / path
    with translate_os_errors(f"lock {layout.gc}"), file_lock(layout.gc):
        count = forget(layout, place)
    if not count:
        known = ", ".join(sorted({encode_name(bytes(item.root)) for item in read_registrations(layout)}))
        raise NotRegisteredError(
            f"{encode_name(bytes(place))} does not use this store", hint=f"these do: {known}"
        )
    return ForgetResult(place, count)
