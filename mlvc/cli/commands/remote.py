"""`mlvc remote`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import typer

from mlvc.cli.framework import Group, make_command
from mlvc.cli.render import table
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.store.remote_s3 import BucketOptions
from mlvc.verbs import remote as verbs

__all__ = ["command"]


@make_command(
    "add",
    "mlvc remote add team s3://bucket/models",
    "mlvc remote add own s3://models --endpoint https://s3.example.org --profile lab",
    "mlvc remote add disk /mnt/disk/models",
)
def _add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.", show_default=False)],
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH, ssh://HOST/PATH or an absolute path.",
            show_default=False,
        ),
    ],
    *,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="The S3 server, if it is not Amazon's.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="The AWS profile whose credentials count.")
    ] = None,
    region: Annotated[str | None, typer.Option(metavar="NAME", help="The bucket's region.")] = None,
    encryption: Annotated[
        Literal["AES256", "aws:kms"] | None, typer.Option(help="How the server encrypts what is written.")
    ] = None,
    encryption_key: Annotated[
        str | None, typer.Option("--encryption-key", metavar="ID", help="The KMS key for aws:kms.")
    ] = None,
) -> None:
    """Adds a remote, or gives a known one another URL and other options.

    Credentials are found where the tools of each service find them, and are never written down. The options are for
    s3:// alone.
    """
    session = session_of(context)
    options = BucketOptions(endpoint, profile, region, encryption, encryption_key)
    entry = verbs.add(open_repository(session), name, url, options)
    session.answer(lambda: _json(entry), [f"added {entry.name}  {entry.url}"])


@make_command("list", "mlvc remote list", "mlvc remote list --json")
def _list(context: typer.Context) -> None:
    """Lists the remotes, and which one is used where none is named."""
    session = session_of(context)
    entries = verbs.list_remotes(open_repository(session))
    session.answer(lambda: {"remotes": [_json(entry) for entry in entries]}, _lines(entries))


@make_command("remove", "mlvc remote remove backup")
def _remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one.", show_default=False)],
) -> None:
    """Forgets a remote; what is on it stays."""
    session = session_of(context)
    verbs.remove(open_repository(session), name)
    session.answer(lambda: {"name": name}, [f"removed {name}"])


def _lines(entries: Sequence[verbs.RemoteEntry]) -> Iterator[str]:
    if not entries:
        yield "no remotes"
    yield from table(
        ("name", "url", ""),
        [
            (
                entry.name,
                entry.url,
                ", ".join(["default"] * entry.is_default + ["from the settings"] * entry.is_shared),
            )
            for entry in entries
        ],
    )


def _json(entry: verbs.RemoteEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "url": entry.url,
        "default": entry.is_default,
        "shared": entry.is_shared,
        "options": {
            name: value for name, value in dataclasses.asdict(entry.options).items() if value is not None
        },
    }


command = Group("remote", "Adds, lists and removes remotes.", [_add, _list, _remove])
