"""The line that mends a run that did not reproduce: its own `mlvc run`, with the one option changed. Pure."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping, Sequence

from mlvc.model.objects import Cause, Run

__all__ = ["find_remedy"]

_CHANGES: Mapping[str, Sequence[str]] = {
    "cpu": ("--profile", "portable", "--threads", "1"),
    "hash-seed": ("--profile", "strict"),
    "illegal-instruction": ("--profile", "portable", "--threads", "1"),
    "input-changed": (),
    "nondeterminism": ("--seed", "0"),
    "nondeterministic-operation": ("--profile", "strict"),
    "numeric-libraries": ("--profile", "portable", "--threads", "1"),
    "threads": ("--threads", "1"),
    "unseeded-random": ("--seed", "0"),
    "unpinned": ("--profile", "strict"),
}
"""By cause, the options that the next recording needs. What is not here has its advice in the finding's detail."""


def find_remedy(run: Run, cause: Cause) -> str | None:
    """Returns the command that records the run again without the cause, to be typed at the top of the work tree.

    None where no single command does, and where a name in it could not be typed as it is shown.
    """
    if cause.cause == "undeclared-input":
        # A file outside the project can be no input.
        missed = [name for name in run.observed.undeclared if not name.startswith("/")]
        options: Sequence[str] = []
        if not missed:
            return None
    elif cause.cause in _CHANGES:
        missed, options = [], _CHANGES[cause.cause]
        if cause.cause == "nondeterministic-operation" and run.profile != "none":
            # It has no deterministic form, or is none of torch's.
            options = _CHANGES["threads"]
        if options and _is_held(run, options):
            return None
    else:
        return None
    argv = _recording(run, missed, options)
    return shlex.join(argv) if all(map(_can_be_typed, argv)) else None


def _is_held(run: Run, options: Sequence[str]) -> bool:
    """Whether the run was recorded with these options, or with what holds as much."""
    asked = dict(zip(options[::2], options[1::2], strict=True))
    profiles = {"portable": ("portable",), "strict": ("strict", "portable")}
    return (
        ("--profile" not in asked or run.profile in profiles[asked["--profile"]])
        and ("--threads" not in asked or str(run.threads) == asked["--threads"])
        and ("--seed" not in asked or run.seed is not None)
    )


def _recording(run: Run, missed: Sequence[str], changes: Sequence[str]) -> list[str]:
    def here(name: str) -> str:
        return posixpath.relpath(name, run.directory or ".")

    options = {"--profile": run.profile if run.profile != "strict" else None, "--seed": run.seed}
    argv = ["mlvc", *(["-C", run.directory] if run.directory else []), "run"]
    argv += [] if run.name is None else ["-n", run.name]
    for flag, names in (
        ("-i", [*(entry.name for entry in run.inputs), *missed]),
        ("-o", [*(entry.name for entry in run.outputs), *run.missing_outputs]),
        ("--params", run.params_files),
        ("--metrics", run.metrics_files),
    ):
        for name in names:
            argv += [flag, here(name)]
    for secret in run.secrets:
        argv += ["--secret", secret]
    argv += ["--engine", run.engine] if run.engine != "none" else []
    for option, value in options.items():
        argv += [] if value is None or option in changes else [option, str(value)]
    return [*argv, *changes, "--", *run.argv]


def _can_be_typed(word: str) -> bool:
    """A `%` may be an escape of the text form; what cannot be printed would be shown as something else."""
    return "%" not in word and word.isprintable()
