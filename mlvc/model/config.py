"""`mlvc.toml`: the settings of a project, tracked by git and therefore possibly written by a stranger.

    [project]
    id = "…"                 # random, from `mlvc init`

    [code]
    untracked = "safe"       # safe | all | none

    [env]
    python = ".venv/bin/python"   # takes effect only from the user's own configuration

    [image]
    base = "python:3.11-slim"

    [repro]
    memory_mb = 8192

    [run]
    tracer = "auto"          # auto | seccomp | strace | audit-hook

    [remote]
    url = "s3://bucket/path"
    default = "team"
    endpoint = "https://s3.example.org"   # this one, env.python, index.url and store.path need `mlvc trust`

    [compare]
    ignore = [{ path = "models/*", where = "*.created", reason = "the time of the export" }]
    tolerance = { float32 = 1e-5 }

    [ci]
    cpu_hour = 0.04          # prices, in whatever money
    gpu_hour = 2.5

    [hooks]
    add = "refuse"           # refuse | auto
    max_size = "10 MB"
    environment = "warn"     # warn | refuse | off
    push = "check"           # check | upload | off

    [index]
    url = "postgresql://me@db.example.org/mlvc"

    [store]
    path = "/srv/mlvc"
    shared = true                 # this one and the next take effect only from the user's own configuration

    [gc]
    keep_days = 30

    [checkout]
    verify = "always"             # always | once
    link = "none"                 # none | hardlink

Page: docs/reference/settings.md
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Literal, NamedTuple, cast, get_args

from mlvc.errors import FormatError

__all__ = ["NEEDS_TRUST", "TOLERATED", "Config", "Ignored", "decode_config"]

Untracked = Literal["safe", "all", "none"]
Verify = Literal["always", "once"]
Link = Literal["none", "hardlink"]
HooksAdd = Literal["refuse", "auto"]
HooksEnvironment = Literal["warn", "refuse", "off"]
HooksPush = Literal["check", "upload", "off"]
Tracer = Literal["auto", "seccomp", "strace", "audit-hook"]
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "code_untracked": get_args(Untracked),
    "checkout_verify": get_args(Verify),
    "checkout_link": get_args(Link),
    "hooks_add": get_args(HooksAdd),
    "hooks_environment": get_args(HooksEnvironment),
    "hooks_push": get_args(HooksPush),
    "run_tracer": get_args(Tracer),
}
TOLERATED = ("float64", "float32", "float16", "bfloat16")
"""The element types that have a bound."""
_REFERENCE = "see docs/reference/settings.md"
_MOST_KEEP_DAYS = 36_500
_SIZE = re.compile("([0-9]{1,9}) ?(B|kB|MB|GB)")
_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}


class Ignored(NamedTuple):
    """A kind of difference that does not count in this project.

    Attributes:
        path: A pattern for the path of the file, in which `*` stands for anything; empty for any.
        where: A pattern for the place in it.
        reason: Why it does not count.
    """

    path: str
    where: str
    reason: str


class Config(NamedTuple):
    """The settings that mlvc knows; unknown ones are an error, so that a typing mistake is found.

    Attributes:
        project_id: Random hexadecimal digits.
        code_untracked: Which untracked files belong to the code tree.
        env_python: The interpreter for `env`, `commit` and `status`.
        image_base: The Docker image that a reproduction runs on.
        repro_memory_mb: The memory limit of a reproduction; None sets none.
        run_tracer: Who watches a command that runs on this machine from outside: `seccomp` or `strace` always,
            nobody (`audit-hook`), or (the default) one of them where it is no Python.
        remote_url: Where the project's data is, for whoever has added no remote.
        remote_default: The name of the remote that is used where none is named.
        index_url: The PostgreSQL database of the index; None for a file of its own.
        remote_endpoint: The URL of the S3 server that `remote_url` is on; None for Amazon's, or the environment's.
        store_path: The store's directory; None for one inside the git directory.
        store_shared: Whether a store that is made is writable for its group.
        gc_keep_days: How long gc keeps what it found unreachable; None for the default.
        checkout_verify: Whether a large file that was found intact once is trusted until it changes.
        checkout_link: Whether large files that a remote has too become read-only hard links of the store's.
        ci_cpu_hour: What `mlvc ci` takes a CPU's hour to cost; None for 1.
        ci_gpu_hour: What it takes a GPU's hour to cost; None for 1.
        hooks_add: What the pre-commit hook does about edited data; None for `refuse`.
        hooks_max_size: The largest file that it lets into git, in bytes; None for its own bound.
        hooks_environment: What it does about an environment that is not the locked one; None for `warn`.
        hooks_push: What the pre-push hook does about data that is on no remote; None for `check`.
        compare_ignore: What does not count when two versions of a file are compared.
        compare_tolerance: The largest relative error that counts as rounding, by element type.
    """

    project_id: str = ""
    code_untracked: Untracked = "safe"
    env_python: str | None = None
    image_base: str | None = None
    repro_memory_mb: int | None = None
    run_tracer: Tracer | None = None
    remote_url: str | None = None
    remote_default: str | None = None
    index_url: str | None = None
    remote_endpoint: str | None = None
    store_path: str | None = None
    store_shared: bool | None = None
    gc_keep_days: int | None = None
    checkout_verify: Verify = "always"
    checkout_link: Link = "none"
    ci_cpu_hour: float | None = None
    ci_gpu_hour: float | None = None
    hooks_add: HooksAdd | None = None
    hooks_max_size: int | None = None
    hooks_environment: HooksEnvironment | None = None
    hooks_push: HooksPush | None = None
    compare_ignore: tuple[Ignored, ...] = ()
    compare_tolerance: Mapping[str, float] = MappingProxyType({})


_KEYS: Mapping[tuple[str, str], tuple[str, type]] = {
    ("project", "id"): ("project_id", str),
    ("code", "untracked"): ("code_untracked", str),
    ("env", "python"): ("env_python", str),
    ("image", "base"): ("image_base", str),
    ("repro", "memory_mb"): ("repro_memory_mb", int),
    ("run", "tracer"): ("run_tracer", str),
    ("remote", "url"): ("remote_url", str),
    ("remote", "default"): ("remote_default", str),
    ("index", "url"): ("index_url", str),
    ("remote", "endpoint"): ("remote_endpoint", str),
    ("store", "path"): ("store_path", str),
    ("store", "shared"): ("store_shared", bool),
    ("gc", "keep_days"): ("gc_keep_days", int),
    ("checkout", "verify"): ("checkout_verify", str),
    ("checkout", "link"): ("checkout_link", str),
    ("ci", "cpu_hour"): ("ci_cpu_hour", float),
    ("ci", "gpu_hour"): ("ci_gpu_hour", float),
    ("hooks", "add"): ("hooks_add", str),
    ("hooks", "max_size"): ("hooks_max_size", str),
    ("hooks", "environment"): ("hooks_environment", str),
    ("hooks", "push"): ("hooks_push", str),
    ("compare", "ignore"): ("compare_ignore", list),
    ("compare", "tolerance"): ("compare_tolerance", dict),
}


NEEDS_TRUST: Mapping[str, str] = {
    "env.python": "env_python",
    "index.url": "index_url",
    "remote.endpoint": "remote_endpoint",
    "store.path": "store_path",
}
"""Settings that decide what is executed and where bytes go, with their fields.

In `mlvc.toml`, which may come from a stranger's branch, they take effect only after `mlvc trust`.
"""


def decode_config(data: bytes, *, source: str = "mlvc.toml") -> Config:
    """Returns the settings that a TOML text holds.

    Args:
        data: The text.
        source: What to call it in an error.

    Raises:
        FormatError: It is no TOML, or holds an unknown setting or a value of the wrong type; it has a hint.
    """
    try:
        return _decode(data, source)
    except FormatError as exc:
        if exc.hint is not None:
            raise
        raise FormatError(exc.message, hint=_REFERENCE) from exc


def _decode(data: bytes, source: str) -> Config:
    try:
        document = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise FormatError(f"{source} cannot be read: {exc}", hint=f"mend that place in {source}") from None
    values: dict[str, object] = {}
    for section, settings in document.items():
        if not isinstance(settings, dict):
            raise FormatError(f"{source}: `{section}` is not a section")
        for key, value in cast("dict[str, object]", settings).items():
            known = _KEYS.get((section, key))
            if known is None:
                raise FormatError(f"{source}: unknown setting `{section}.{key}`")
            field_name, expected = known
            if expected is float and type(value) is int:
                value = float(value)  # noqa: PLW2901  # TOML has two kinds of number, and people have one
            if type(value) is not expected:
                raise FormatError(f"{source}: `{section}.{key}` must be a {expected.__name__}")
            if isinstance(value, float) and not 0 <= value < inf:
                raise FormatError(f"{source}: `{section}.{key}` must be 0 or more")
            choices = _CHOICES.get(field_name)
            if choices is not None and value not in choices:
                allowed = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise FormatError(f"{source}: `{section}.{key}` must be {allowed}")
            values[field_name] = value
    keep_days = values.get("gc_keep_days", 0)
    if not isinstance(keep_days, int) or not 0 <= keep_days <= _MOST_KEEP_DAYS:
        raise FormatError(f"{source}: `gc.keep_days` must be between 0 and {_MOST_KEEP_DAYS}")
    if "hooks_max_size" in values:
        values["hooks_max_size"] = _decode_size(str(values["hooks_max_size"]), source)
    values |= _decode_compare(values, source)
    return Config(**values)  # type: ignore[arg-type]  # every value was checked against the field's type above


def _decode_size(text: str, source: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise FormatError(f"{source}: `hooks.max_size` must be a size such as 500 kB, 25 MB or 1 GB")
    return int(match[1]) * _UNITS[match[2]]


def _decode_compare(values: Mapping[str, object], source: str) -> dict[str, object]:
    """Returns the settings of `[compare]`, which are no plain values."""
    found: dict[str, object] = {}
    if "compare_ignore" in values:
        rules = []
        for item in cast("list[object]", values["compare_ignore"]):
            match item:
                case {"where": str(where), "reason": str(reason), **others} if where and reason:
                    path = others.pop("path", "")
                    if isinstance(path, str) and not others:
                        rules.append(Ignored(path, where, reason))
                        continue
                case _:
                    pass
            raise FormatError(
                f"{source}: each of `compare.ignore` needs `where` and `reason`, may have `path`, and no more"
            )
        found["compare_ignore"] = tuple(rules)
    if "compare_tolerance" in values:
        bounds = cast("dict[str, object]", values["compare_tolerance"])
        for name, bound in bounds.items():
            if name not in TOLERATED or not isinstance(bound, float) or not 0 <= bound < 1:
                raise FormatError(
                    f"{source}: `compare.tolerance` takes numbers such as 1e-6 for {', '.join(TOLERATED)}"
                )
        found["compare_tolerance"] = bounds
    return found
