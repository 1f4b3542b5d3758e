"""`mlvc verify`: does everything that a revision needs exist, here or on the remote, and is it as it was sent?"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlvc.errors import IntegrityError
from mlvc.model.ids import ObjectId, PackId
from mlvc.repo import Repo
from mlvc.store.contents import object_of
from mlvc.store.fetch import BadRecord, check_records
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.transfer import in_parallel
from mlvc.verbs.closure import Closure
from mlvc.verbs.locate import lock_of
from mlvc.verbs.references import References
from mlvc.verbs.source import Source, open_source

__all__ = ["VerifyProblem", "VerifyResult", "verify"]


@dataclass(frozen=True, slots=True)
class VerifyProblem:
    """Something that is needed and not there, or a file of the remote that is damaged.

    Attributes:
        kind: `missing-object`, `damaged-object` or `remote-damaged`.
        message: A sentence for a person.
        object_id: What is missing or damaged, where that is known.
        reaches: Where a damaged object is needed, such as `data/x.csv in mlvc.lock`; the first fifty places.
    """

    kind: str
    message: str
    object_id: ObjectId | None = None
    reaches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What was found.

    Attributes:
        objects: How many objects the revision needs.
        problems: Nothing if all is well.
    """

    objects: int
    problems: tuple[VerifyProblem, ...]


def verify(repo: Repo, rev: str | None = None, *, remote: bool = False, deep: bool = False) -> VerifyResult:
    """Tells whether a revision's data, and all that made it, exists; reads indexes and records, and no data.

    Args:
        repo: The repository.
        rev: A git revision; None for the present `mlvc.lock`.
        remote: Ask the default remote instead of the store here; its records are fetched first.
        deep: Read every byte of the remote too, whatever needs it; keeps none. Implies `remote`.

    Raises:
        RevisionMissingError: Git knows no such revision.
        NoRemoteError: There is no remote.
        MlvcError: The remote cannot be used.
    """
    source = open_source(repo, None) if remote or deep else None
    damaged: set[tuple[str, str]] = set()
    if source is not None:
        damaged.update(source.indexes.damaged)
        try:
            with repo.store.in_use():
                source.bring_packs(repo, with_data=False)
        except RemoteDamagedError as exc:
            damaged.update(exc.found)
    closure = Closure(repo)
    closure.add_lock(lock_of(repo, rev))
    if source is not None and deep:
        problems = list(_read_remote(repo, source, closure))
    else:
        problems = [_problem(*found) for found in sorted(damaged)]
    where = "here" if source is None else "on the remote"
    for object_id in _lacking(repo, closure, source, problems):
        message = f"the {object_id.noun} {object_id} of {closure.needed[object_id]} is not {where}"
        problems.append(VerifyProblem("missing-object", message, object_id))
    return VerifyResult(len(closure.needed), tuple(problems))


def _problem(
    name: str, what: str, object_id: ObjectId | None = None, reaches: Sequence[str] = ()
) -> VerifyProblem:
    return VerifyProblem("remote-damaged", f"{name} is damaged: {what}", object_id, tuple(reaches))


def _lacking(
    repo: Repo, closure: Closure, source: Source | None, problems: list[VerifyProblem]
) -> Iterator[ObjectId]:
    """Yields each object of which a record is not there."""
    records = {}
    for object_id in closure.needed:
        try:
            records[object_id] = tuple(repo.store.records_of(object_id))
        except IntegrityError as exc:
            problems.append(VerifyProblem("damaged-object", exc.message, object_id))
    needed = {record for parts in records.values() for record in parts}
    held = needed - repo.store.lacking(needed) if source is None else source.indexes.holding(needed)
    for object_id, parts in records.items():
        if not held.issuperset(parts):
            yield object_id


# --------------------------------------------------------------------------------------- reading the remote


def _read_remote(repo: Repo, source: Source, closure: Closure) -> Iterator[VerifyProblem]:
    """Reads every file of the remote, and yields what is damaged, with what it reaches."""
    found, bad = _find_damage(repo, source)
    yield from (_problem(*item) for item in sorted(found))
    if not bad:
        return
    reached = _reached(repo, closure, {record.entry.digest for record in bad})
    for record in bad:
        name, what = record.found(source.remote, source.listed)
        object_id = object_of(record.entry.kind, record.entry.part, record.entry.digest)
        yield _problem(name, what, object_id, reached.get(object_id.digest, ()))


def _find_damage(repo: Repo, source: Source) -> tuple[set[tuple[str, str]], list[BadRecord]]:
    """Returns what is wrong with files, and which records are damaged where that can be told more exactly."""
    remote, listed = source.remote, source.listed
    found: set[tuple[str, str]] = set()
    bad: list[BadRecord] = []
    lock = threading.Lock()
    try:
        remote.check_marker()
    except RemoteDamagedError as exc:
        found.update(exc.found)
    total = sum(pack.size_bytes for pack in listed.values())
    with repo.reporter.task("reading the remote", total=total, unit="bytes") as task:

        def look(pack: PackId) -> None:
            wrong: list[tuple[str, str]] = []
            records: list[BadRecord] = []
            try:
                remote.read_index(pack, listed[pack])
            except RemoteDamagedError as exc:
                wrong += exc.found
            try:
                remote.check_pack(pack, listed[pack], task)
            except RemoteDamagedError as exc:
                if pack in source.indexes:
                    records = check_records(remote, listed, source.indexes[pack], task)
                if not records and remote.pack_name(pack, listed[pack]) not in dict(wrong):
                    wrong += exc.found
            with lock:
                found.update(wrong)
                bad.extend(records)

        in_parallel(look, sorted(listed), remote.jobs)
    return found, sorted(bad, key=lambda record: (record.pack, record.entry.offset))


def _reached(repo: Repo, closure: Closure, digests: set[bytes]) -> dict[bytes, list[str]]:
    """Returns, for each digest of a damaged record, where it is needed."""

    def parts(object_id: ObjectId) -> set[bytes]:
        try:
            return digests & {
                object_id.digest,
                *(record.digest for record in repo.store.records_of(object_id)),
            }
        except IntegrityError:
            return digests & {object_id.digest}

    references = References(repo, lambda object_id: bool(parts(object_id)))
    references.follow_all()
    reached: dict[bytes, list[str]] = {}
    for object_id, places in references.reached.items():
        for digest in parts(object_id):
            reached.setdefault(digest, []).extend(places)
    # What made the data is known by the lock alone where a run itself is damaged.
    for object_id, place in closure.needed.items():
        if object_id.digest in digests:
            reached.setdefault(object_id.digest, []).append(f"{place} in mlvc.lock")
    return {digest: list(dict.fromkeys(places)) for digest, places in reached.items()}
