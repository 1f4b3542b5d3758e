"""What can go wrong before a command runs, shared by the engines.

Once the command runs, whatever happens to it is its exit status and never an error of the engine.
"""

from __future__ import annotations

from mlvc.errors import MlvcError, NotFoundError

__all__ = ["BaseMissingError", "EngineError", "EngineUnavailableError"]


class EngineError(MlvcError):
    """The command could not be started, for a reason that is not the command's own."""

    code = "engine-failed"


class EngineUnavailableError(EngineError):
    """The engine is not installed, does not answer, or is not allowed to isolate anything here."""

    code = "no-engine"


class BaseMissingError(NotFoundError):
    """The base image is not local and cannot be pulled."""

    code = "base-missing"
