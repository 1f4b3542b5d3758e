"""Git for data and models: content-addressed datasets and models, recorded runs, proven reproductions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlvc.client import log_metric, log_param, step

if TYPE_CHECKING:
    from mlvc.filesystem import open_tracked as open  # noqa: A004  # what a person expects it to be called
    from mlvc.repo import Repo

__all__ = ["Repo", "__version__", "log_metric", "log_param", "open", "step"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562: the type is that of whichever name is asked for
    """Loads `Repo` and `open` at their first use, so that a training script pays only for the client (PEP 562)."""
    if name == "Repo":
        from mlvc.repo import Repo  # noqa: PLC0415  # the reason is the docstring

        return Repo
    if name == "open":
        from mlvc.filesystem import open_tracked  # noqa: PLC0415  # likewise

        return open_tracked
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
