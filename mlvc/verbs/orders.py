"""Reproductions that other processes do, here or on other machines: what they are told, and what they answer.

Both are JSON, so that neither side has to trust the other's objects. Who carries an order out and where is the
caller's choice; see `mlvc.cli.workers`.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from mlvc.errors import MlvcError
from mlvc.model.objects import Verdict

__all__ = ["Answer", "Order", "RelayedError", "Workers"]


class RelayedError(MlvcError):
    """An error that another process met; its code is that of the error there."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told.

    Attributes:
        root: The repository's work tree, in text form; a worker that sees it works on it.
        project_id: Whose repository it has to be.
        remote_url: Where a worker that does not see it finds the run's closure; None where there is no remote.
        run: The run's id.
        cpus: How many CPUs the command needs.
        options: Of `mlvc.verbs.repro.ReproOptions`, without targets.
        remote_options: Of `mlvc.store.remote_s3.BucketOptions`: how the remote is reached. No secret is among them;
            a worker has credentials of its own.
    """

    root: str
    project_id: str
    remote_url: str | None
    run: str
    cpus: int
    options: Mapping[str, Any]
    remote_options: Mapping[str, str | None] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Returns the order in one line."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Returns the order that `data` encodes; both sides are the same mlvc."""
        return cls(**json.loads(data))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker answers.

    Attributes:
        verdicts: Each with the bytes of its log, where that is not too large to be sent.
        warnings: What it would have told a person.
        error: Why the run could not be executed.
    """

    verdicts: tuple[tuple[Verdict, bytes | None], ...] = ()
    warnings: tuple[str, ...] = field(default=())
    error: MlvcError | None = None

    def encode(self) -> bytes:
        """Returns the answer in one line."""
        error = self.error
        document = {
            "verdicts": [
                [verdict.encode().decode(), None if log is None else base64.b64encode(log).decode()]
                for verdict, log in self.verdicts
            ],
            "warnings": list(self.warnings),
            "error": None if error is None else [error.code, error.message, error.hint],
        }
        return json.dumps(document).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Returns the answer that `data` encodes; a verdict is checked as one that is read from a store."""
        document = json.loads(data)
        error = document["error"]
        return cls(
            tuple(
                (Verdict.decode(text.encode()), None if log is None else base64.b64decode(log))
                for text, log in document["verdicts"]
            ),
            tuple(document["warnings"]),
            None if error is None else RelayedError(error[0], error[1], hint=error[2]),
        )


class Workers(Protocol):
    """Whoever carries orders out, several at a time."""

    def submit(self, order: bytes) -> Future[bytes]:
        """Returns at once; the future has the answer, or a MlvcError where the worker itself was lost."""

    def stop(self) -> None:
        """Interrupts what is being done and forgets what is not begun; returns when nothing runs any more here."""
