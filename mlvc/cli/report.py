"""Reports of a reproduction, or of a whole job: HTML, JSON, Markdown and JUnit XML."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlvc import fsio
from mlvc.cli.html_report import as_html
from mlvc.cli.junit import as_junit
from mlvc.cli.markdown import as_markdown
from mlvc.errors import UsageError
from mlvc.model.names import encode_name

__all__ = ["check_report_name", "write_report"]


def _as_json(answer: Mapping[str, Any]) -> bytes:
    return (json.dumps(answer, ensure_ascii=False, indent=2) + "\n").encode()


_WRITERS = {".html": as_html, ".json": _as_json, ".md": as_markdown, ".xml": as_junit}


def check_report_name(path: Path) -> None:
    """Refuses a report that could not be written, before anything has been executed.

    Raises:
        UsageError: The extension is none of those that are known, or there is no such directory.
    """
    name = encode_name(os.fsencode(path))
    if path.suffix not in _WRITERS:
        raise UsageError(f"--report {name}: unknown kind of report", hint=f"use one of {', '.join(_WRITERS)}")
    if not path.parent.is_dir():
        raise UsageError(f"--report {name}: its directory does not exist", hint="make it first")


def write_report(path: Path, answer: Mapping[str, Any]) -> None:
    """Writes the answer of `mlvc repro` or `mlvc ci` in the format that the file's extension names.

    Raises:
        FileUnreadableError: It cannot be written.
    """
    with fsio.translate_os_errors(f"write {encode_name(os.fsencode(path))}"):
        fsio.atomic_write(path, _WRITERS[path.suffix](answer))
