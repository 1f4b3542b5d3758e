"""Reports of a reproduction, or of a whole job: JSON, HTML, Markdown, and JUnit XML, which every CI system shows.

In JUnit each run is a test suite and each output a test case, which fails where the verdict is none that was accepted.
JUnit: https://github.com/testmoapp/junitxml
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mlvc import fsio
from mlvc.cli.html_report import as_html
from mlvc.cli.markdown import as_markdown
from mlvc.cli.reproduced import cause_text, headline, is_accepted, measured, unproven_text
from mlvc.errors import UsageError
from mlvc.model.names import encode_name

__all__ = ["check_report_name", "write_report"]

_SAME = "identical"
_COMMAND = "(command)"
_MOST_PLACES = 20
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _as_json(answer: Mapping[str, Any]) -> bytes:
    return (json.dumps(answer, ensure_ascii=False, indent=2) + "\n").encode()


def _as_junit(answer: Mapping[str, Any]) -> bytes:
    suites = ElementTree.Element("testsuites", name=headline(answer)[0])
    _add_checks(suites, answer)
    for run in answer["runs"]:
        cases = [(output["path"], output["verdict"], "\n".join(_told(output))) for output in run["outputs"]]
        if not is_accepted(answer, run["verdict"]) and all(
            is_accepted(answer, verdict) for _, verdict, _ in cases
        ):
            # The command failed after it had written everything, or it has no outputs.
            cases.append((_COMMAND, run["verdict"], f"exit {run['exit_code']}"))
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=_xml(run["name"] or run["id"]),
            tests=str(len(cases)),
            failures=str(sum(not is_accepted(answer, verdict) for _, verdict, _ in cases)),
            time=f"{run['duration_ms'] / 1000:.3f}",
        )
        for path, verdict, detail in cases:
            case = ElementTree.SubElement(suite, "testcase", classname=run["id"], name=_xml(path))
            if is_accepted(answer, verdict):
                if verdict != _SAME:
                    told = ElementTree.SubElement(case, "system-out")
                    told.text = _xml(f"{verdict}, as good as --accept asks: {detail}")
            else:
                failure = ElementTree.SubElement(case, "failure", message=verdict)
                failure.text = _xml("\n".join([detail, *_causes(run)]))
    for missed in answer["not_executed"]:
        name = _xml(missed["name"] or missed["id"])
        suite = ElementTree.SubElement(suites, "testsuite", name=name, tests="1", errors="1")
        case = ElementTree.SubElement(suite, "testcase", classname=missed["id"], name=_COMMAND)
        error = ElementTree.SubElement(case, "error", message=missed["error"]["code"])
        error.text = _xml(missed["error"]["message"])
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add_checks(suites: ElementTree.Element, answer: Mapping[str, Any]) -> None:
    """Adds a suite with a case for each check; that of the runs has suites of its own."""
    checks = [check for check in answer.get("checks", ()) if check["name"] != "runs"]
    if not checks:
        return
    failures = sum(not check["ok"] for check in checks)
    suite = ElementTree.SubElement(
        suites, "testsuite", name="mlvc ci", tests=str(len(checks)), failures=str(failures)
    )
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", classname="mlvc ci", name=check["name"])
        if not check["ok"]:
            kinds = dict.fromkeys(problem["kind"] for problem in check["problems"])
            failure = ElementTree.SubElement(case, "failure", message=", ".join(kinds))
            failure.text = _xml("\n".join(_problem_lines(check)))


def _problem_lines(check: Mapping[str, Any]) -> Iterator[str]:
    for problem in check["problems"][:_MOST_PLACES]:
        yield problem["message"]
        if problem["fix"] is not None:
            yield f"fix: {problem['fix']}"
    if len(check["problems"]) > _MOST_PLACES:
        yield f"{len(check['problems']) - _MOST_PLACES} more"


def _told(output: Mapping[str, Any]) -> Iterator[str]:
    """Yields what differs, and the gravest places."""
    yield output["detail"]
    for item in output["differences"][:_MOST_PLACES]:
        values = (
            f"{item['recorded']} -> {item['reproduced']}" if item["recorded"] or item["reproduced"] else ""
        )
        ignored = f"ignored by {item['rule']}" if item["rule"] else ""
        facts = (
            f"  {item['where'] or '(the whole file)'}: {item['nature']}",
            values,
            measured(item),
            ignored,
        )
        yield ", ".join(filter(None, facts))


def _causes(run: Mapping[str, Any]) -> Iterator[str]:
    for item in run["unproven"]:
        yield f"stands on {item['path']}, which was not reproduced: {unproven_text(item['verdict'])}"
    for finding in run["diagnosis"]:
        yield f"{cause_text(finding)}: {finding['detail']}"
        if finding["fix"] is not None:
            yield f"fix: {finding['fix']}"


def _xml(text: str) -> str:
    """Returns the text without the few characters that XML cannot hold in any form."""
    return _NOT_XML.sub("?", text)


_WRITERS = {".html": as_html, ".json": _as_json, ".md": as_markdown, ".xml": _as_junit}


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
