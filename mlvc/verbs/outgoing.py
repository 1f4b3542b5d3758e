"""What the pre-push hook asks: are the data and the records of the commits that git is about to send on a remote?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlvc.code.outgoing import OutgoingRef, outgoing_versions
from mlvc.errors import FormatError, MlvcError
from mlvc.model.ids import ObjectId
from mlvc.model.lock import Lock, decode_lock
from mlvc.repo import LOCK_NAME, Repo
from mlvc.store.layout import INDEX_SUFFIX
from mlvc.store.remote import Remote
from mlvc.store.remote_files import RemoteMissingError
from mlvc.store.remote_indexes import RemoteIndexes
from mlvc.verbs.closure import Closure, is_whole
from mlvc.verbs.remote import list_remotes
from mlvc.verbs.seen import remember_look, seen_packs
from mlvc.verbs.source import index_cache

if TYPE_CHECKING:
    from mlvc.verbs.push import PushResult

__all__ = [
    "DataNotPushedError",
    "check_blind_push",
    "check_push",
    "default_remotes",
    "find_unsent",
    "guard_push",
    "name_places",
]

_NAMED = 5
_WITHOUT = "`git push --no-verify` goes on without"


class DataNotPushedError(MlvcError):
    """Commits would be pushed whose data or records are on no remote."""

    code = "data-not-pushed"


def guard_push(repo: Repo, refs: Sequence[OutgoingRef], git_remote: str) -> PushResult | None:
    """Does about a git push what `hooks.push` says: checks it, sends first what is missing, or nothing.

    Args:
        repo: The repository.
        refs: What git is about to push.
        git_remote: The name of git's remote.

    Returns:
        What was sent; None where nothing had to be.

    Raises:
        MlvcError: As `check_push` raises it; or as `push`, where data had to be sent.
    """
    mode = repo.config.hooks_push
    if mode == "off":
        return None
    try:
        check_push(repo, refs, git_remote)
    except DataNotPushedError:
        if mode != "upload" or not list_remotes(repo):
            raise
        from mlvc.verbs.push import push  # noqa: PLC0415  # most pushes send nothing, and must not wait for it

        sent = push(repo)
        check_push(repo, refs, git_remote)
        return sent
    return None


def check_push(repo: Repo, refs: Sequence[OutgoingRef], git_remote: str) -> None:
    """Refuses a git push of commits whose data, or what made it, is on no remote.

    The default remote is asked, or all of them where none is the default. What the last `mlvc push` or question saw
    there answers without the network, for as long as it counts (`mlvc.store.seen`); only what that does not have costs
    one listing.

    Args:
        repo: The repository.
        refs: What git is about to push.
        git_remote: The name of git's remote.

    Raises:
        DataNotPushedError: It names some of what is missing.
        FormatError: A lock among those commits cannot be read.
        MlvcError: A remote cannot be used, so that there is no answer.
    """
    remotes = default_remotes(repo)
    locks = _outgoing_locks(repo, refs, git_remote)
    is_all_seen = _is_all_seen(repo, remotes)
    if is_all_seen and is_whole(repo, [lock for _, lock in locks]):
        # All that they need is here, and all that is here is there.
        return
    needed = _needed(repo, locks, with_commits=not is_all_seen)
    if not needed:
        return
    if not remotes:
        raise DataNotPushedError(
            f"data of these commits is in this clone alone: {name_places(needed)}",
            hint=f"`mlvc remote add NAME URL`, then `mlvc push`; {_WITHOUT}",
        )
    unsent = find_unsent(repo, remotes, needed)
    if unsent:
        raise DataNotPushedError(
            f"data of these commits is on no remote: {name_places(unsent)}",
            hint=f"`mlvc push`, then repeat; {_WITHOUT}",
        )


def default_remotes(repo: Repo) -> Sequence[Remote]:
    """Returns the default remote; all of them where none is the default."""
    known = list_remotes(repo)
    return [entry.open() for entry in known if entry.is_default] or [entry.open() for entry in known]


def find_unsent(
    repo: Repo, remotes: Iterable[Remote], needed: Mapping[ObjectId, str]
) -> Mapping[ObjectId, str]:
    """Returns what none of the remotes has; one is asked only if what was last seen of it lacks something.

    Raises:
        MlvcError: A remote cannot be used, so that there is no answer.
    """
    lacking = needed
    for remote in remotes:
        if lacking:
            lacking = _lacking_on(repo, remote, lacking)
    return lacking


def check_blind_push(
    root: Path, refs: Sequence[OutgoingRef], git_remote: str, *, has_work_tree: bool
) -> None:
    """Refuses a git push of commits that track data, where what is checked out does not say where the data belongs.

    Args:
        root: The top of a work tree without `mlvc.toml`, or a git directory.
        refs: What git is about to push.
        git_remote: The name of git's remote.
        has_work_tree: Which of the two `root` is.

    Raises:
        DataNotPushedError: They do.
    """
    texts = [text for _, text in outgoing_versions(root, refs, git_remote, LOCK_NAME)]
    if any(decode_lock(text) != Lock() for text in texts):
        reason, step = (
            (
                "what is checked out has no mlvc.toml that says where it belongs",
                "check out one of them, then repeat",
            )
            if has_work_tree
            else ("there is no work tree here whose mlvc.toml says where it belongs", "push from a work tree")
        )
        raise DataNotPushedError(f"these commits track data, and {reason}", hint=f"{step}; {_WITHOUT}")


def _is_all_seen(repo: Repo, remotes: Iterable[Remote]) -> bool:
    """Returns whether one remote had every pack of the store, which is so after `mlvc push`."""
    packs = {info.id for info in repo.store.packs()}
    return any(packs <= seen_packs(repo, remote).keys() for remote in remotes)


def _outgoing_locks(repo: Repo, refs: Sequence[OutgoingRef], git_remote: str) -> Sequence[tuple[str, Lock]]:
    """Returns the locks of the commits that are about to be pushed, each with its commit."""
    locks = []
    for sha, text in outgoing_versions(repo.root, refs, git_remote, LOCK_NAME):
        try:
            locks.append((sha, decode_lock(text)))
        except FormatError as exc:
            raise FormatError(
                f"mlvc.lock of the commit {sha[:12]} cannot be read: {exc.message}",
                hint=_WITHOUT,
            ) from exc
    return locks


def _needed(repo: Repo, locks: Sequence[tuple[str, Lock]], *, with_commits: bool) -> Mapping[ObjectId, str]:
    """Returns all that the locks of the pushed commits need, each with the place that needs it.

    Args:
        repo: The repository.
        locks: As `_outgoing_locks` returns them.
        with_commits: Whether to add the data commits. They are always in the store, and so on a remote that has all
            of it.
    """
    closure = Closure(repo)
    for _, lock in locks:
        closure.add_lock(lock)
    if closure.needed and with_commits:
        for sha, commit in repo.recorded_commits([sha for sha, _ in locks]).items():
            closure.add_object(commit, f"the git commit {sha[:12]}")
    return closure.needed


def _lacking_on(repo: Repo, remote: Remote, needed: Mapping[ObjectId, str]) -> Mapping[ObjectId, str]:
    """Returns what a remote lacks; it is asked only if what was seen of it lacks something."""
    # An index that is not here would cost a request, and gc may have put others in the place of the pack.
    places = (repo.store.layout.packs, index_cache(repo))
    seen = {
        pack: found
        for pack, found in seen_packs(repo, remote).items()
        if any((place / (pack.hex + INDEX_SUFFIX)).exists() for place in places)
    }
    lacking = _lacking(repo, RemoteIndexes(repo.store, remote, seen, index_cache(repo)), needed)
    if not lacking:
        return lacking
    now_s = repo.clock.now().timestamp()
    try:
        looked = remote.look()
    except RemoteMissingError:
        return lacking  # Nothing was ever pushed there.
    remember_look(repo, remote, looked, looked_at_s=now_s)
    standing = seen_packs(repo, remote)
    # Where packs are gone or others since, what was found in them may be lacking now.
    doubtful = lacking if seen.items() <= standing.items() else needed
    return _lacking(repo, RemoteIndexes(repo.store, remote, standing, index_cache(repo)), doubtful)


def _lacking(repo: Repo, indexes: RemoteIndexes, needed: Mapping[ObjectId, str]) -> Mapping[ObjectId, str]:
    doubtful = indexes.without_whole(needed)
    records = {object_id: tuple(repo.store.records_of(object_id)) for object_id in doubtful}
    held = indexes.holding([record for parts in records.values() for record in parts])
    return {
        object_id: place
        for object_id, place in needed.items()
        if object_id in doubtful and not held.issuperset(records[object_id])
    }


def name_places(lacking: Mapping[ObjectId, str]) -> str:
    """Returns the places that need objects, the first of them, for a person."""
    known = set(lacking.values())
    # A directory stands for all below it.
    places = [place for place in dict.fromkeys(lacking.values()) if place.rpartition("/")[0] not in known]
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return ", ".join(places[:_NAMED]) + more
