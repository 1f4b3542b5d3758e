"""`mlvc models`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import json_value, table
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.tag import Model, models

__all__ = ["command"]


@make_command("models", "mlvc models", "mlvc models --json")
def command(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only that model.", show_default=False)
    ] = None,
) -> None:
    """Lists named models and datasets.

    Every version and alias, with the commit, the data, the metrics of the run that made it, and the verdict of that
    run's latest reproduction.
    """
    session = session_of(context)
    found = models(open_repository(session), name)
    session.answer(
        lambda: {"models": [_json(model) for model in found]},
        table(
            ("name", "commit", "time", "path", "id", "verdict", "metrics"),
            [
                (
                    model.named.name,
                    model.named.tag.sha[:12],
                    model.named.tag.time[:10],
                    model.named.path or "-",
                    "-" if model.id is None else model.id.short,
                    model.verdict or "-",
                    " ".join(f"{key}={value}" for key, value in model.metrics.items()) or "-",
                )
                for model in found
            ],
        ),
    )


def _json(model: Model) -> dict[str, Any]:
    named = model.named
    return {
        "name": named.name,
        "model": named.model,
        "version": None if named.is_alias else named.label,
        "alias": named.label if named.is_alias else None,
        "code_sha": named.tag.sha,
        "tagger": named.tag.tagger,
        "time": named.tag.time,
        "path": named.path or None,
        "id": None if model.id is None else str(model.id),
        "run": None if model.run is None else str(model.run),
        "metrics": {key: json_value(value) for key, value in model.metrics.items()},
        "verdict": model.verdict,
        "history": [{"time": time, "code_sha": sha} for time, sha in named.history],
    }
