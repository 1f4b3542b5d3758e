"""Writes JUnit XML, which every CI system shows.

Each run is a test suite and each output a test case, which fails where the verdict is none that was accepted; the
checks of a job are a suite of their own. Every attribute is there that the strictest of the readers asks for.
JUnit: https://github.com/testmoapp/junitxml
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

from mlvc.cli.reproduced import cause_text, headline, is_accepted, measured, unproven_text

__all__ = ["as_junit"]

_SAME = "identical"
_COMMAND = "(command)"
_MOST_PLACES = 20
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TO_SECONDS = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")


@dataclass(frozen=True, slots=True)
class _Case:
    """A test case.

    Attributes:
        name: What was tested.
        outcome: None where it passed.
        kind: Why it did not, in a word or a few.
        text: For a person.
    """

    name: str
    outcome: Literal["failure", "error"] | None = None
    kind: str = ""
    text: str = ""


def as_junit(answer: Mapping[str, Any]) -> bytes:
    """Returns the answer of `mlvc repro` or `mlvc ci` as a document."""
    suites = ElementTree.Element("testsuites", name=headline(answer)[0])
    # That of the runs has suites of its own.
    checks = [_check_case(check) for check in answer.get("checks", ()) if check["name"] != "runs"]
    if checks:
        _add_suite(suites, "mlvc ci", "mlvc ci", checks)
    for run in answer["runs"]:
        name = run["name"] or run["id"]
        cases = list(_run_cases(answer, run))
        _add_suite(suites, name, run["id"], cases, run["duration_ms"], run["started"])
    for missed in answer["not_executed"]:
        error = missed["error"]
        case = _Case(_COMMAND, "error", error["code"], error["message"])
        _add_suite(suites, missed["name"] or missed["id"], missed["id"], [case])
    for count in ("tests", "failures", "errors"):
        suites.set(count, str(sum(int(suite.get(count, 0)) for suite in suites)))
    suites.set("time", _seconds(sum(run["duration_ms"] for run in answer["runs"])))
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add_suite(
    suites: ElementTree.Element,
    name: str,
    class_name: str,
    cases: Sequence[_Case],
    duration_ms: int = 0,
    started: str = "",
) -> None:
    outcomes = [case.outcome for case in cases]
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name=_xml(name),
        tests=str(len(cases)),
        failures=str(outcomes.count("failure")),
        errors=str(outcomes.count("error")),
        skipped="0",
        time=_seconds(duration_ms),
    )
    # In UTC; readers refuse a zone. A record may be a stranger's, and say anything.
    if moment := _TO_SECONDS.match(started):
        suite.set("timestamp", moment[0])
    for case in cases:
        # One command made all of them, and readers add these up.
        element = ElementTree.SubElement(
            suite,
            "testcase",
            classname=class_name,
            name=_xml(case.name),
            time=_seconds(duration_ms / len(cases)),
        )
        if case.outcome is not None:
            problem = ElementTree.SubElement(element, case.outcome, message=case.kind, type=case.kind)
            problem.text = _xml(case.text)
        elif case.text:
            ElementTree.SubElement(element, "system-out").text = _xml(case.text)


def _check_case(check: Mapping[str, Any]) -> _Case:
    if check["ok"]:
        return _Case(check["name"])
    kinds = dict.fromkeys(problem["kind"] for problem in check["problems"])
    return _Case(check["name"], "failure", ", ".join(kinds), "\n".join(_problem_lines(check)))


def _run_cases(answer: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[_Case]:
    causes = "".join(f"\n{line}" for line in _causes(run))
    has_failed = False
    for output in run["outputs"]:
        verdict, detail = output["verdict"], "\n".join(_told(output))
        if not is_accepted(answer, verdict):
            has_failed = True
            yield _Case(output["path"], "failure", verdict, detail + causes)
        elif verdict != _SAME:
            yield _Case(output["path"], text=f"{verdict}, as good as --accept asks: {detail}")
        else:
            yield _Case(output["path"])
    if not has_failed and not is_accepted(answer, run["verdict"]):
        # The command failed after it had written everything, or it has no outputs.
        yield _Case(_COMMAND, "failure", run["verdict"], f"exit {run['exit_code']}{causes}")
    elif not run["outputs"]:
        # A reader takes a suite without cases for one that was not run.
        yield _Case(_COMMAND)


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


def _seconds(duration_ms: float) -> str:
    return f"{duration_ms / 1000:.3f}"


def _xml(text: str) -> str:
    """Returns the text without the few characters that XML cannot hold in any form."""
    return _NOT_XML.sub("?", text)
