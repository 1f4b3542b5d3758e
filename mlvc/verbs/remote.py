"""`mlvc remote`: which remotes there are, and which one is meant.

    [team]
    url = "s3://bucket/path"
    endpoint = "https://s3.example.org"

Such a table for each, with `profile`, `region`, `encryption` and `encryption_key` where they were given, in
`<git common dir>/mlvc/remotes.toml`: the user's own file, which git does not track.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from mlvc import fsio
from mlvc.errors import FormatError, NotFoundError, UsageError
from mlvc.repo import Repo
from mlvc.store.remote import Remote, check_url
from mlvc.store.remote_s3 import BucketOptions
from mlvc.store.transfer import AT_ONCE

__all__ = ["NoRemoteError", "RemoteEntry", "add", "list_remotes", "open_remote", "remove", "way_to_remote"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ENCRYPTIONS = ("AES256", "aws:kms")
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
        options: How its server is reached.
    """

    name: str
    url: str
    is_default: bool
    is_shared: bool
    options: BucketOptions = field(default_factory=BucketOptions)

    def open(self, jobs: int = AT_ONCE) -> Remote:
        """Returns the remote, of which `jobs` things will be asked at once; nothing is yet."""
        return Remote.open(self.url, self.options, jobs=jobs)


def add(repo: Repo, name: str, url: str, options: BucketOptions | None = None) -> RemoteEntry:
    """Remembers a remote, or gives a known one another URL and other options; nothing is asked of it.

    Raises:
        UsageError: The name, the URL or the options are none that a remote can have.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is no name for a remote", hint="use letters, digits, `-` and `_`, for example `team`"
        )
    new = _Known(check_url(url), options or BucketOptions())
    _check(new)
    _write(repo, {**_read(repo), name: new})
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
    entries = [
        RemoteEntry(name, known.url, name == default, is_shared=False, options=known.options)
        for name, known in own.items()
    ]
    shared = config.remote_default or _PROJECT
    if config.remote_url is not None and shared not in own:
        _check_endpoint(config.remote_endpoint)
        options = BucketOptions(endpoint=config.remote_endpoint)
        entries.append(
            RemoteEntry(shared, check_url(config.remote_url), not own, is_shared=True, options=options)
        )
    return tuple(sorted(entries, key=lambda entry: entry.name))


def open_remote(repo: Repo, name: str | None = None, *, jobs: int = AT_ONCE) -> Remote:
    """Returns a remote by its name, or the default one.

    Raises:
        NoRemoteError: There is none of that name, or none at all.
        UsageError: There are several, and none is the default.
    """
    known = list_remotes(repo)
    found = [entry for entry in known if (entry.is_default if name is None else entry.name == name)]
    if found:
        return found[0].open(jobs)
    if name is not None:
        raise NoRemoteError(f"there is no remote {name!r}", hint="see `mlvc remote list`")
    if not known:
        raise NoRemoteError("there is no remote", hint=f"say {way_to_remote(repo)} first")
    names = ", ".join(entry.name for entry in known)
    raise UsageError(
        f"there are several remotes: {names}",
        hint="name one with --remote, or set `remote.default` in mlvc.toml",
    )


def way_to_remote(repo: Repo) -> str:
    """Returns the command after which a repository that has no remote has one."""
    return "`mlvc trust`" if repo.ignores_remote else "`mlvc remote add NAME URL`"


def _path(repo: Repo) -> Path:
    return repo.common_dir / "remotes.toml"


class _Known(NamedTuple):
    """What the file says of one remote."""

    url: str
    options: BucketOptions


def _check(known: _Known) -> None:
    options = known.options
    if options != BucketOptions() and not known.url.startswith("s3://"):
        raise UsageError(f"{known.url} is no bucket on S3, and takes no options")
    if options.encryption not in {None, *_ENCRYPTIONS}:
        raise UsageError(
            f"{options.encryption!r} is no way to encrypt", hint=f"one of {', '.join(_ENCRYPTIONS)}"
        )
    if options.encryption_key is not None and options.encryption != "aws:kms":
        raise UsageError("a key needs --encryption aws:kms")
    _check_endpoint(options.endpoint)
    for text in dataclasses.astuple(options):
        if text is not None and not (text and text.isprintable()):
            raise UsageError("an option of a remote is empty, or no text")


def _check_endpoint(endpoint: str | None) -> None:
    if endpoint is None:
        return
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        # Such as a bracket that is not closed.
        parts = urlsplit("")
    is_url = parts.scheme in {"http", "https"} and parts.hostname
    # Where a password stands, or a token: an `@` in a path is neither, and no server needs one.
    if not is_url or "@" in endpoint or parts.query or parts.fragment:
        # The URL is left out of the message: it may hold one.
        raise UsageError(
            "the endpoint is no URL of a server",
            hint="for example https://s3.example.org, without a password",
        )


def _read(repo: Repo) -> Mapping[str, _Known]:
    path = _path(repo)
    try:
        with fsio.translate_os_errors(f"read {path}"):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return {}
        found = {}
        for name, table in tomllib.loads(data.decode()).items():
            options = {key: str(value) for key, value in table.items() if key != "url"}
            found[name] = _Known(check_url(table["url"]), BucketOptions(**options))
            _check(found[name])
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as exc:
        raise FormatError(
            f"{path} cannot be read: {exc}", hint="mend it, or delete it and add the remotes"
        ) from exc
    return found


def _write(repo: Repo, remotes: Mapping[str, _Known]) -> None:
    path = _path(repo)
    # Neither a URL nor an option has control characters, so its JSON is TOML.
    text = "\n".join(
        "".join(
            [f"[{name}]\n"]
            + [
                f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
                for key, value in {"url": known.url, **dataclasses.asdict(known.options)}.items()
                if value is not None
            ]
        )
        for name, known in sorted(remotes.items())
    )
    with fsio.translate_os_errors(f"write {path}"):
        fsio.atomic_write(path, text.encode())
