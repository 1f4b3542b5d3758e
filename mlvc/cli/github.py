"""What GitHub Actions shows by itself: annotations of a job, and its summary.

Workflow commands: https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from mlvc import fsio
from mlvc.cli.markdown import as_markdown
from mlvc.cli.render import visible
from mlvc.cli.reproduced import by_gravity, cause_text, headline, title_of, tone_of

__all__ = ["annotate", "tell_github"]

_SAME = "identical"
_MOST = 10
"""GitHub shows no more errors of one step."""
_LONGEST = 1000


def tell_github(environment: Mapping[str, str], answer: Mapping[str, Any], stream: TextIO) -> None:
    """Annotates the job and appends to its summary; outside GitHub Actions it does nothing.

    Args:
        environment: The process environment.
        answer: The answer of `mlvc repro` or `mlvc ci`.
        stream: Takes the annotations; the runner reads both standard streams.

    Raises:
        FileUnreadableError: The summary cannot be written.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return
    stream.writelines(line + "\n" for line in annotate(answer))
    summary = environment.get("GITHUB_STEP_SUMMARY")
    if summary:
        with (
            fsio.translate_os_errors("append to the job's summary"),
            Path(os.fspath(summary)).open("ab") as file,
        ):
            file.write(as_markdown(answer))


def annotate(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yields a workflow command for each output that is not identical, the worst first, as many as are shown.

    What has the same content, or is close, is a warning; what has not, an error.
    """
    found = [(run, output) for run in by_gravity(answer["runs"]) for output in _wrong(run)]
    for run, output in found[:_MOST]:
        level = "warning" if tone_of(output["verdict"]) == "fair" else "error"
        title = f"mlvc repro: {output['verdict']}"
        causes = [f"{cause_text(item)}: {item['detail']}" for item in run["diagnosis"]]
        told = "\n".join(
            visible(line, _LONGEST)
            for line in (
                f"{output['path']} of run {title_of(run)}: {output['detail'] or output['verdict']}",
                *causes,
            )
        )
        yield f"::{level} file={_property(output['path'])},title={_property(title)}::{_message(told)}"
    problems = [
        (check["name"], problem)
        for check in answer.get("checks", ())
        if check["name"] != "runs"
        for problem in check["problems"]
    ]
    for name, problem in problems[:_MOST]:
        told = visible(problem["message"], _LONGEST)
        if problem["fix"] is not None:
            told += "\n" + visible(f"fix: {problem['fix']}", _LONGEST)
        yield f"::error file=mlvc.lock,title={_property(f'mlvc ci: {name}')}::{_message(told)}"
    for missed in answer["not_executed"][:_MOST]:
        told = visible(
            f"run {title_of(missed)} could not be executed: {missed['error']['message']}", _LONGEST
        )
        yield f"::error title={headline(answer)[0]}::{_message(told)}"
    if len(found) > _MOST:
        yield f"::notice title=mlvc repro::{len(found) - _MOST} more are in the job's summary"


def _wrong(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    wrong = [output for output in by_gravity(run["outputs"]) if output["verdict"] != _SAME]
    if wrong or run["verdict"] == _SAME:
        return wrong
    # The command failed after it had written everything, or it has no outputs; the lock is what the job is about.
    return [{"path": "mlvc.lock", "verdict": run["verdict"], "detail": f"exit {run['exit_code']}"}]


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(visible(text, _LONGEST)).replace(":", "%3A").replace(",", "%2C")
