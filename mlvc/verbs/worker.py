"""Carries out one order: in the repository itself where it is seen, else in a private copy of what the run needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlvc import fsio
from mlvc.errors import MlvcError, NotFoundError
from mlvc.model.ids import BlobId, RunId
from mlvc.model.names import decode_name
from mlvc.ports import ProgressTask
from mlvc.repo import SETTINGS_NAME, Repo
from mlvc.store.remote_s3 import BucketOptions
from mlvc.verbs import remote
from mlvc.verbs.closure import Closure
from mlvc.verbs.init import init
from mlvc.verbs.orders import Answer, Order
from mlvc.verbs.repro import ReproOptions, reproduce
from mlvc.verbs.source import open_source

__all__ = ["carry_out"]

_LARGEST_LOG = 4 << 20
_REMOTE = "origin"


class UnreachableRunError(NotFoundError):
    """A worker sees neither the repository nor a remote that has the run."""

    code = "unreachable-run"


class _Quiet:
    """A reporter that keeps the warnings, for whoever gave the order."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "files") -> Iterator[ProgressTask]:  # noqa: ARG002  # the port's names
        yield self

    def advance(self, amount: int = 1) -> None:
        """Counts nothing."""

    def set_total(self, total: int) -> None:
        """Likewise."""

    def note(self, message: str) -> None:
        """A note is for a person who watches."""

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def carry_out(data: bytes, environment: Mapping[str, str], *, cache: Path) -> bytes:
    """Reproduces the run of an encoded order and returns the encoded answer; an error is an answer too.

    Args:
        data: The order.
        environment: This process's variables: credentials of a remote, and the user's own settings.
        cache: Where a copy is made, and kept for the next order, if the repository is not seen from here.
    """
    order, reporter = Order.decode(data), _Quiet()
    try:
        repo = _open(order, reporter, environment, cache)
        options = ReproOptions(**{**order.options, "targets": (order.run,)})
        result = reproduce(repo, options, _drop)
        told = [(item.verdict, _log(repo, item.verdict.log, item.verdict.log_bytes)) for item in result.runs]
        return Answer(tuple(told), tuple(reporter.warnings)).encode()
    except MlvcError as exc:
        return Answer(warnings=tuple(reporter.warnings), error=exc).encode()


def _drop(data: bytes, *, is_error: bool) -> None:
    """The verdict has the log."""


def _log(repo: Repo, log: BlobId | None, size_bytes: int) -> bytes | None:
    return repo.store.read_blob(log) if log is not None and size_bytes <= _LARGEST_LOG else None


def _open(order: Order, reporter: _Quiet, environment: Mapping[str, str], cache: Path) -> Repo:
    run_id = RunId.parse(order.run)
    root = Path(os.fsdecode(decode_name(order.root)))
    with contextlib.suppress(MlvcError):
        repo = Repo.open(root, reporter=reporter, environment=environment)
        if repo.config.project_id == order.project_id and repo.store.has_object(run_id):
            return repo
    if order.remote_url is None:
        raise UnreachableRunError(
            f"a worker does not see {order.root}, and there is no remote to bring the run from",
            hint="add a remote and `mlvc push`, or give the workers a directory that all of them share",
        )
    repo = _copy(order, reporter, environment, cache / order.project_id)
    _bring(repo, run_id)
    return repo


def _copy(order: Order, reporter: _Quiet, environment: Mapping[str, str], directory: Path) -> Repo:
    """Returns the private repository of this machine's workers for the project.

    The first worker makes it and the others wait: two `git init` of one directory at once fail.
    """
    with fsio.translate_os_errors(f"make {directory}"):
        directory.mkdir(parents=True, exist_ok=True)
        with fsio.file_lock(directory.with_name(f"{directory.name}.lock")):
            settings = directory / os.fsdecode(SETTINGS_NAME)
            if not settings.exists():
                fsio.atomic_write(settings, f'[project]\nid = "{order.project_id}"\n'.encode())
            init(directory, git=True, reporter=reporter, environment=environment)
            repo = Repo.open(directory, reporter=reporter, environment=environment)
            assert order.remote_url is not None  # noqa: S101  # `_open` has looked
            remote.add(repo, _REMOTE, order.remote_url, BucketOptions(**order.remote_options))
    return repo


def _bring(repo: Repo, run_id: RunId) -> None:
    """Brings what the run was made of, where it is not here yet."""
    with repo.store.in_use():
        source = open_source(repo, _REMOTE)
        source.bring_packs(repo, with_data=False)
        if not repo.store.has_object(run_id):
            raise UnreachableRunError(
                f"the run {run_id.short} is not on the remote {source.remote.url}", hint="run `mlvc push`"
            )
        closure = Closure(repo)
        closure.add_object(run_id, "the run")
        source.bring(
            repo,
            repo.store.lacking(
                record for object_id in closure.needed for record in repo.store.records_of(object_id)
            ),
        )
