"""A reproduction as Markdown, for the summary of a CI job and for a comment on a pull request.

The verdict stands first, then a table of runs and outputs, then each finding with the line that fixes it.
Names and messages come from whoever wrote the branch. They stand in code spans and nowhere else, because there no
renderer sees markup, HTML, links, mentions or references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlvc.cli.change_tables import change_tables
from mlvc.cli.render import plural, visible
from mlvc.cli.reproduced import (
    by_gravity,
    cause_text,
    headline,
    measured,
    short_id,
    title_of,
    unproven_text,
)

__all__ = ["as_markdown"]

_SAME = "identical"
_LONGEST_DOCUMENT = 60_000  # GitHub takes 65,536 characters in a comment.
_MOST_PROBLEMS = 40
_MOST_ROWS = 80
_MOST_PLACES = 40
_LONGEST_CELL = 150
_LONGEST_LINE = 1000
_WORDS = re.compile(r"[a-z][a-z0-9-]*( \([a-z]+\))?")
_BACKTICKS = re.compile("`+")


def as_markdown(answer: Mapping[str, Any]) -> bytes:
    """Returns the answer of `mlvc repro` or `mlvc ci` as a document of bounded length."""
    kept, room = [], _LONGEST_DOCUMENT
    for line in _lines(answer):
        room -= len(line) + 1
        if room < 0:
            kept += ["", "Cut off here: the JSON report has the rest."]
            break
        kept.append(line)
    return ("\n".join(kept) + "\n").encode()


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    runs = answer["runs"]
    same = sum(run["verdict"] == _SAME for run in runs)
    whose, word, _ = headline(answer)
    yield f"## {whose}: {word}"
    yield ""
    yield f"{same} of {plural(len(runs), 'run')} gave identical outputs."
    yield ""
    yield from _checks(answer.get("checks", ()))
    yield from _warnings(answer)
    yield from _changes(answer.get("changes"))
    yield from _table(runs)
    yield from _places(runs)
    yield from _findings(runs)


def _checks(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not checks:
        return
    yield "| check | answer | of |"
    yield "|---|---|---|"
    for check in checks:
        answer = "ok" if check["ok"] else plural(len(check["problems"]), "problem")
        yield f"| {check['name']} | {answer} | {_cell(check['detail'])} |"
    yield ""
    problems = [problem for check in checks for problem in check["problems"]]
    for problem in problems[:_MOST_PROBLEMS]:
        yield f"- {problem['kind']}: {_span(problem['message'], _LONGEST_LINE)}"
        if problem["fix"] is not None:
            yield f"  - fix: {_span(problem['fix'], _LONGEST_LINE)}"
    if len(problems) > _MOST_PROBLEMS:
        yield f"- {plural(len(problems) - _MOST_PROBLEMS, 'problem')} more: the JSON report has them."
    if problems:
        yield ""


def _changes(changes: Mapping[str, Any] | None) -> Iterator[str]:
    """Yields what a pull request changed."""
    for table in change_tables(changes):
        yield f"### {table.title}"
        yield ""
        yield f"| {' | '.join(table.headings)} |"
        yield "|---" * len(table.headings) + "|"
        for row in table.rows[:_MOST_PLACES]:
            cells = (*map(_cell, row[: table.foreign]), *row[table.foreign :])
            yield f"| {' | '.join(cells)} |"
        if len(table.rows) > _MOST_PLACES:
            yield ""
            yield f"{plural(len(table.rows) - _MOST_PLACES, 'line')} more: the JSON report has them."
        yield ""


def _warnings(answer: Mapping[str, Any]) -> Iterator[str]:
    lines = [
        f"- {_name(item)} could not be executed: {_span(item['error']['message'], _LONGEST_LINE)}"
        for item in answer["not_executed"]
    ]
    lines += [
        f"- {_name(run)} stands on {_span(item['path'], _LONGEST_CELL)}, which was not reproduced:"
        f" {unproven_text(item['verdict'])}, run `{short_id(item['run'])}`"
        for run in answer["runs"]
        for item in run["unproven"]
    ]
    yield from lines
    if lines:
        yield ""


def _table(runs: list[Mapping[str, Any]]) -> Iterator[str]:
    rows = [(run, output) for run in runs for output in run["outputs"]]
    # What is wrong must not be what is cut off.
    rows.sort(key=lambda row: row[1]["verdict"] == _SAME)
    if not rows:
        return
    yield "| run | output | verdict | recorded | reproduced | what differs |"
    yield "|---|---|---|---|---|---|"
    for run, output in rows[:_MOST_ROWS]:
        cells = (
            _cell(title_of(run)),
            _cell(output["path"]),
            output["verdict"],
            _cell(short_id(output["recorded"])),
            _cell(short_id(output["reproduced"])),
            _cell(output["detail"]),
        )
        yield f"| {' | '.join(cells)} |"
    if len(rows) > _MOST_ROWS:
        yield ""
        yield f"{plural(len(rows) - _MOST_ROWS, 'output')} more: the JSON report has them."


def _places(runs: list[Mapping[str, Any]]) -> Iterator[str]:
    rows = [
        (run, output, place)
        for run in by_gravity(runs)
        for output in by_gravity(run["outputs"])
        for place in output["differences"]
    ]
    if not rows:
        return
    yield ""
    yield "### Where they differ"
    yield ""
    yield "| run | output | place | kind | recorded | reproduced | measured | ignored by |"
    yield "|---|---|---|---|---|---|---|---|"
    for run, output, place in rows[:_MOST_PLACES]:
        cells = (
            _cell(title_of(run)),
            _cell(output["path"]),
            _cell(place["where"] or "(the whole file)"),
            _word(place["nature"]),
            _cell(place["recorded"]),
            _cell(place["reproduced"]),
            _cell(measured(place)),
            _cell(place["rule"]),
        )
        yield f"| {' | '.join(cells)} |"
    if len(rows) > _MOST_PLACES:
        yield ""
        yield f"{plural(len(rows) - _MOST_PLACES, 'place')} more: the JSON report has them."


def _findings(runs: list[Mapping[str, Any]]) -> Iterator[str]:
    found = [(run, finding) for run in runs for finding in run["diagnosis"]]
    if not found:
        return
    yield ""
    yield "### What may explain it"
    yield ""
    for run, finding in found:
        yield f"- {_name(run)} {_word(cause_text(finding))}: {_span(finding['detail'], _LONGEST_LINE)}"
        if finding["fix"] is not None:
            yield f"  - fix: {_span(finding['fix'], _LONGEST_LINE)}"


def _name(run: Mapping[str, Any]) -> str:
    return _span(title_of(run), _LONGEST_CELL)


def _word(text: str) -> str:
    """Returns a word of ours as it is, and what a stranger's verdict has in its place as a code span."""
    return text if _WORDS.fullmatch(text) else _cell(text)


def _cell(text: str) -> str:
    """Returns a code span for a table. Renderers disagree about a backslash before `|`, so that is written `%7C`."""
    return _span(text.replace("|", "%7C"), _LONGEST_CELL)


def _span(text: str, longest: int) -> str:
    """Returns the text as one code span of one line, its fence longer than any in the text; nothing for no text."""
    if not text:
        return ""
    shown = visible(text, longest)
    fence = "`" * (1 + max(map(len, _BACKTICKS.findall(shown)), default=0))
    return f"{fence} {shown} {fence}" if len(fence) > 1 else f"`{shown}`"
