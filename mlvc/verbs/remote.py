"""`mlvc remote`: which remotes there are, and which one is meant.

    [team]
    url = "s3://bucket/path"

Such a table for each, in `<git common dir>/mlvc/remotes.toml`: the user's own file, which git does not track.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlvc import fsio
from mlvc.errors import FormatError, NotFoundError, UsageError
from mlvc.repo import Repo
from mlvc.store.remote import Remote, check_url

__all__ = ["NoRemoteError", "RemoteEntry", "add", "list_remotes", "open_remote", "remove"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROJECT = "project"
"""What the remote of `mlvc.toml` is called where that gives it no name."""


class NoRemoteError(NotFoundError):
    """There is no remote, or none of that name."""

    code = "no-remote"


@dataclass(frozen=True, slots=True)
class RemoteEntry:
    """A remote that is known.

    Attributes:
        name: What it is called.
        url: Where it is.
        is_default: Whether it is used where none is named.
        is_shared: Whether it comes from the settings and not from `mlvc remote add`.
        endpoint: The S3 server that it is on; None for Amazon's, or the environment's.
    """

    name: str
    url: str
    is_default: bool
    is_shared: bool
    endpoint: str | None = None


def add(repo: Repo, name: str, url: str) -> RemoteEntry:
    """Remembers a remote, or gives a known one another URL; nothing is asked of it.

    Raises:
        UsageError: The name or the URL is none that a remote can have.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is no name for a remote", hint="use letters, digits, `-` and `_`, for example `team`"
        )
    _write(repo, {**_read(repo), name: check_url(url)})
    return next(entry for entry in list_remotes(repo) if entry.name == name)


def remove(repo: Repo, name: str) -> None:
    """Forgets a remote; what is on it stays.

    Raises:
        NoRemoteError: None of that name was added.
    """
    known = dict(_read(repo))
    if known.pop(name, None) is None:
        raise NoRemoteError(f"no remote {name!r} was added here", hint="see `mlvc remote list`")
    _write(repo, known)


def list_remotes(repo: Repo) -> tuple[RemoteEntry, ...]:
    """Returns the remotes that are known, sorted by name.

    What the user added goes before the settings: `mlvc.toml` may come from a stranger's branch, and must not send the
    data of somebody who chose a remote elsewhere.
    """
    own = _read(repo)
    config = repo.config
    default = config.remote_default
    if own and default not in own:
        default = next(iter(own)) if len(own) == 1 else None
    entries = [RemoteEntry(name, url, name == default, is_shared=False) for name, url in own.items()]
    shared = config.remote_default or _PROJECT
    if config.remote_url is not None and shared not in own:
        url, endpoint = check_url(config.remote_url), config.remote_endpoint
        entries.append(RemoteEntry(shared, url, not own, is_shared=True, endpoint=endpoint))
    return tuple(sorted(entries, key=lambda entry: entry.name))


def open_remote(repo: Repo, name: str | None = None) -> Remote:
    """Returns a remote by its name, or the default one.

    Raises:
        NoRemoteError: There is none of that name, or none at all.
        UsageError: There are several, and none is the default.
    """
    known = list_remotes(repo)
    found = [entry for entry in known if (entry.is_default if name is None else entry.name == name)]
    if found:
        return Remote.open(found[0].url, endpoint=found[0].endpoint)
    if name is not None:
        raise NoRemoteError(f"there is no remote {name!r}", hint="see `mlvc remote list`")
    if not known:
        raise NoRemoteError("there is no remote", hint="add one with `mlvc remote add NAME URL`")
    names = ", ".join(entry.name for entry in known)
    raise UsageError(
        f"there are several remotes: {names}",
        hint="name one with --remote, or set `remote.default` in mlvc.toml",
    )


def _path(repo: Repo) -> Path:
    return repo.common_dir / "remotes.toml"


def _read(repo: Repo) -> Mapping[str, str]:
    path = _path(repo)
    try:
        with fsio.translate_os_errors(f"read {path}"):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return {}
        document = tomllib.loads(data.decode())
        return {name: check_url(table["url"]) for name, table in document.items()}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as exc:
        raise FormatError(
            f"{path} cannot be read: {exc}", hint="mend it, or delete it and add the remotes"
        ) from exc


def _write(repo: Repo, remotes: Mapping[str, str]) -> None:
    path = _path(repo)
    # A URL has no control characters, so its JSON is TOML.
    lines = [
        f"[{name}]\nurl = {json.dumps(url, ensure_ascii=False)}\n" for name, url in sorted(remotes.items())
    ]
    with fsio.translate_os_errors(f"write {path}"):
        fsio.atomic_write(path, "\n".join(lines).encode())
