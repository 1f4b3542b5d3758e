"""Reports of a reproduction for a machine: JSON, and JUnit XML, which every CI system shows.

Each run is a test suite and each output a test case.
JUnit: https://github.com/testmoapp/junitxml
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mlvc import fsio
from mlvc.errors import UsageError
from mlvc.model.names import encode_name

__all__ = ["check_report_name", "write_report"]

_SAME = "identical"


def _as_json(answer: Mapping[str, Any]) -> bytes:
    return (json.dumps(answer, ensure_ascii=False, indent=2) + "\n").encode()


def _as_junit(answer: Mapping[str, Any]) -> bytes:
    suites = ElementTree.Element("testsuites", name="mlvc repro")
    for run in answer["runs"]:
        outputs = run["outputs"]
        failures = sum(output["verdict"] != _SAME for output in outputs)
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=run["name"] or run["id"],
            tests=str(len(outputs)),
            failures=str(failures),
        )
        for output in outputs:
            case = ElementTree.SubElement(suite, "testcase", classname=run["id"], name=output["path"])
            if output["verdict"] != _SAME:
                failure = ElementTree.SubElement(case, "failure", message=output["verdict"])
                causes = [f"{cause['cause']}: {cause['detail']}" for cause in run["diagnosis"]]
                failure.text = "\n".join([output["detail"], *causes])
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


_WRITERS = {".json": _as_json, ".xml": _as_junit}


def check_report_name(path: Path) -> None:
    """Refuses a report whose name does not tell its format, before anything has been executed.

    Raises:
        UsageError: The extension is none of those that are known.
    """
    if path.suffix not in _WRITERS:
        name = encode_name(os.fsencode(path))
        raise UsageError(f"--report {name}: unknown kind of report", hint=f"use one of {', '.join(_WRITERS)}")


def write_report(path: Path, answer: Mapping[str, Any]) -> None:
    """Writes the answer of `mlvc repro` in the format that the file's extension names.

    Raises:
        FileUnreadableError: It cannot be written.
    """
    with fsio.translate_os_errors(f"write {encode_name(os.fsencode(path))}"):
        fsio.atomic_write(path, _WRITERS[path.suffix](answer))
