"""`mlvc clone`: a git clone that is ready for mlvc, with the records of the project's remote."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mlvc import fsio
from mlvc.code import cloning
from mlvc.errors import UsageError
from mlvc.model.names import encode_name
from mlvc.ports import Reporter
from mlvc.repo import HOOK_TOKEN, NotInitialisedError, Repo
from mlvc.verbs.checkout import checkout
from mlvc.verbs.fetch import FetchResult, fetch
from mlvc.verbs.merge import set_up_driver
from mlvc.verbs.pull import pull
from mlvc.verbs.remote import list_remotes, way_to_remote

__all__ = ["CloneResult", "Data", "clone"]


class Data(StrEnum):
    """Which data comes with a clone, besides all records."""

    NONE = "none"
    LOCK = "lock"
    """What `mlvc.lock` needs, and the files are written."""
    ALL = "all"
    """That of every revision and run, and the files are written."""


@dataclass(frozen=True, slots=True)
class CloneResult:
    """What was made.

    Attributes:
        root: The top of the new work tree.
        url: Where the code came from, without a password.
        fetched: What came from the project's remote; None where the project names none, or none that is trusted.
        files: How many data files were written.
        way: Where nothing could be fetched, the command after which there is a remote.
    """

    root: Path
    url: str
    fetched: FetchResult | None
    files: int = 0
    way: str = ""


def clone(
    url: str,
    directory: str | None,
    data: Data = Data.NONE,
    *,
    cwd: Path,
    reporter: Reporter,
    environment: Mapping[str, str],
) -> CloneResult:
    """Clones the code, sets up the merge driver and the store, and fetches the records of the project's remote.

    All of it happens under another name beside `directory`: that appears when everything is done, or not at all.

    Args:
        url: What git can clone.
        directory: Where to, from `cwd`; None for the name that git would choose.
        data: Which data to bring.
        cwd: What relative paths start from.
        reporter: As of `Repo.open`.
        environment: As of `Repo.open`.

    Raises:
        UsageError: The directory holds something.
        CloneRefusedError: Git could not clone.
        NotInitialisedError: The repository was never initialised for mlvc.
        MlvcError: The project's remote cannot be used, or is damaged.
    """
    target = Path(os.path.realpath(cwd / (directory or cloning.default_directory(url))))
    with fsio.translate_os_errors(f"make {encode_name(os.fsencode(target))}"):
        if os.path.lexists(target) and not (target.is_dir() and not os.listdir(target)):
            raise UsageError(
                f"{encode_name(os.fsencode(target))} is there already, and not an empty directory",
                hint="name another directory after the URL",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
    with _unfinished(target) as place:
        with reporter.task("cloning the code", unit="steps"):
            cloning.clone(url, place, cwd=cwd, environment=HOOK_TOKEN, tell=reporter.note)
        try:
            repo = Repo.open(place, reporter=reporter, environment=environment)
        except NotInitialisedError as exc:
            raise NotInitialisedError(
                f"{cloning.without_password(url)} has no mlvc.toml, so there is no data to get",
                hint="`git clone` it, and start with `mlvc init` there",
            ) from exc
        repo.read_lock()
        _ = repo.store  # Opening it makes it.
        set_up_driver(repo.code)
        has_remote = any(entry.is_default for entry in list_remotes(repo))
        fetched, files = _bring(repo, data) if has_remote else (None, 0)
        way = "" if has_remote else way_to_remote(repo)
    return CloneResult(target, cloning.without_password(url), fetched, files, way)


def _bring(repo: Repo, data: Data) -> tuple[FetchResult, int]:
    """Brings the records and the data of the project's remote; returns what was moved, and the files written."""
    if data is Data.LOCK:
        pulled = pull(repo)
        return FetchResult(pulled.url, pulled.packs, pulled.size_bytes), pulled.files.written
    fetched = fetch(repo, with_data=data is Data.ALL)
    return fetched, checkout(repo).files.written if data is Data.ALL else 0


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """Hands out a new path beside `target`, whose contents become those of `target` at the end, and only then."""
    place = target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
    try:
        yield place
        with fsio.translate_os_errors(f"make {encode_name(os.fsencode(target))}"):
            if target.is_dir():
                # Somebody may stand in it, as with `mlvc clone URL .`, so the directory itself stays.
                for name in sorted(os.listdir(place), key=lambda name: name == ".git"):
                    fsio.rename(place / name, target / name)
            else:
                fsio.rename(place, target)
    finally:
        shutil.rmtree(place, ignore_errors=True)
