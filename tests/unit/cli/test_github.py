"""What a job on GitHub shows by itself."""

import io
import re

import pytest

from mlvc.cli.github import annotate, tell_github
from mlvc.cli.markdown import as_markdown
from mlvc.fsio import FileUnreadableError
from tests.support.answers import HOSTILE, answer, finding, output, run

COMMAND = re.compile(r"::(error|warning|notice) (file=[^:,]*,)title=([^:,]*)::([^\r\n]*)")


def tell(environment, told):
    stream = io.StringIO()
    tell_github(environment, told, stream)
    return stream.getvalue()


def test_annotation_names_the_output_the_cause_and_the_verdict():
    """One for each output that is not identical; the same content in other bytes is a warning."""
    told = answer(
        run(
            output("a"),
            output("b,c: d%", "different", "3 of 5 lines"),
            output("e", "equivalent", "times"),
            diagnosis=[finding()],
        )
    )

    first, second = annotate(told)

    assert (
        "::error file=b%2Cc%3A d%25,title=mlvc repro%3A different::b,c: d%25 of run train:"
        " 3 of 5 lines%0Anondeterminism: two runs disagree"
    ) == first
    assert (
        "::warning file=e,title=mlvc repro%3A equivalent::e of run train: times%0Anondeterminism: two runs disagree"
    ) == second


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_or_message_leaves_its_annotation(text):
    """One line each, whose parts the runner tells apart as we meant."""
    told = answer(run(output(text, "different", text), name=text, diagnosis=[finding(text)]))

    (line,) = tell({"GITHUB_ACTIONS": "true"}, told).splitlines()
    level, _, title, _ = COMMAND.fullmatch(line).groups()
    assert ("error", "mlvc repro%3A different") == (level, title)
    assert line.isprintable()


def test_no_more_annotations_than_are_shown():
    """The rest is counted."""
    lines = list(annotate(answer(run(*[output(str(n), "different") for n in range(300)]))))

    assert 11 == len(lines)
    assert "::notice title=mlvc repro::290 more are in the job's summary" == lines[-1]


def test_failed_command_is_annotated_where_no_output_is():
    """At the file that the job is about."""
    (line,) = annotate(answer(run(output("a"), verdict="failed"), verdict="failed"))

    assert "::error file=mlvc.lock,title=mlvc repro%3A failed::mlvc.lock of run train: exit 1" == line


def test_summary_is_appended(tmp_path):
    """After what earlier steps wrote."""
    summary = tmp_path / "summary.md"
    summary.write_text("earlier\n")
    told = answer(run(output("a"), verdict="identical"), verdict="identical")

    assert "" == tell({"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}, told)

    assert b"earlier\n" + as_markdown(told) == summary.read_bytes()


@pytest.mark.parametrize("environment", [{}, {"GITHUB_ACTIONS": ""}, {"GITHUB_ACTIONS": "false"}])
def test_nothing_is_said_outside_github(tmp_path, environment):
    """A variable that a shell happens to have is no reason to write a file."""
    summary = tmp_path / "summary.md"

    assert "" == tell(
        {**environment, "GITHUB_STEP_SUMMARY": str(summary)}, answer(run(output("a", "different")))
    )
    assert not summary.exists()


def test_summary_that_cannot_be_written_is_one_error(tmp_path):
    """A directory stands in its place."""
    with pytest.raises(FileUnreadableError, match="the job's summary"):
        tell({"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)}, answer())
