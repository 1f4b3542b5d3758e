"""Writes an environment as `pylock.toml`, so that other installers can read what mlvc recorded.

A wheel whose public twin was found is named by its URL; any other by the file name that mlvc gave it, in `wheels/`.

Format: https://packaging.python.org/en/latest/specifications/pylock-toml/
"""

from __future__ import annotations

import os
import re

from mlvc.env.distributions import normalise
from mlvc.model.names import decode_name
from mlvc.model.objects import Distribution, Environment

__all__ = ["encode"]

_SPECIAL = re.compile(r'["\\\x00-\x1f\x7f]')


def encode(environment: Environment) -> str:
    """Returns the text of `pylock.toml`; the same environment gives the same text."""
    series = ".".join(environment.interpreter.version.split(".")[:2])
    lines = [
        'lock-version = "1.0"',
        f"requires-python = {_quote(f'=={series}.*')}",
        'created-by = "mlvc"',
        # An environment without packages has an empty list, which the format demands to be there.
        *(line for item in environment.distributions for line in _package(item)),
        *([] if environment.distributions else ["packages = []"]),
        "",
        "[tool.mlvc]",
        f"environment = {_quote(str(environment.id))}",
        f"python = {_quote(environment.interpreter.build)}",
    ]
    return "\n".join(lines) + "\n"


def _package(item: Distribution) -> list[str]:
    lines = ["", "[[packages]]", f"name = {_quote(normalise(item.name))}"]
    if item.editable is not None:
        path = os.fsdecode(decode_name(item.editable))
        return [*lines, f"directory = {{ path = {_quote(path)}, editable = true }}"]
    lines.append(f"version = {_quote(item.version)}")
    if item.public_url:
        fields = [f"url = {_quote(item.public_url)}", f"hashes = {{ sha256 = {_quote(item.public_sha256)} }}"]
    else:
        fields = [
            f"path = {_quote(f'wheels/{item.wheel_name}')}",
            f"size = {item.wheel_bytes}",
            f"hashes = {{ sha256 = {_quote(item.wheel_sha256)} }}",
        ]
    return [*lines, f"wheels = [{{ {', '.join(fields)} }}]", f"tool.mlvc.wheel = {_quote(str(item.wheel))}"]


def _quote(text: str) -> str:
    return '"' + _SPECIAL.sub(lambda match: f"\\u{ord(match[0]):04X}", text) + '"'
